"""`stable_hash`: the same in every process, different where code could see a difference."""

import datetime
import decimal
import enum
import itertools
import json
import os
import pathlib
import re
import subprocess
import sys
import uuid
import zoneinfo
from collections import OrderedDict
from dataclasses import dataclass
from http import HTTPStatus
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_pipeline.errors import UnstableValueError
from data_pipeline.transfer.stable_hash import stable_hash


class Colour(enum.Enum):
    RED = 1
    CRIMSON = 1  # noqa: PIE796  # an alias on purpose
    BLUE = 2


class Level(enum.IntEnum):
    LOW = 1


class Name(enum.StrEnum):
    LOW = "low"


class Access(enum.Flag):
    READ = 1
    WRITE = 2


@dataclass
class Point:
    x: Any
    y: Any = 0


@dataclass
class OtherPoint:
    x: Any
    y: Any = 0


class Pair(NamedTuple):
    x: Any
    y: Any


class Settings(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="allow")
    rate: Any
    names: list[str] = []


UTC = datetime.UTC
BERLIN = zoneinfo.ZoneInfo("Europe/Berlin")
NOON = datetime.datetime(2024, 10, 27, 12, 30, 1, 5)
TWICE = datetime.datetime(2024, 10, 27, 2, 30, tzinfo=BERLIN)

# No two of them are the same to code that looks closely.
DISTINCT: list[Any] = [
    *(None, ..., True, False, 0, 1, -1, 10**400, 0.0, -0.0, 1.0, float("nan"), float("inf")),
    *(float("-inf"), 5e-324, 1j, complex(0, -0.0), "", "1", "None", "\ud800", "ä", b"", b"1"),
    *(bytearray(b"1"), decimal.Decimal("1.0"), decimal.Decimal("1.00"), decimal.Decimal("-0")),
    *(decimal.Decimal("NaN"), decimal.Decimal("sNaN"), decimal.Decimal("Infinity")),
    *(NOON, NOON.replace(fold=1), NOON.replace(tzinfo=UTC), NOON.date(), NOON.time()),
    *(NOON.replace(tzinfo=BERLIN), TWICE, TWICE.replace(fold=1), NOON.timetz().replace(tzinfo=UTC)),
    NOON.replace(tzinfo=datetime.timezone(datetime.timedelta(hours=1))),
    *(datetime.timedelta(1), datetime.timedelta(seconds=1), datetime.timedelta(microseconds=-1)),
    *(Colour.RED, Colour.BLUE, Level.LOW, Name.LOW, Access.READ, Access.READ | Access.WRITE),
    *(uuid.UUID(int=1), pathlib.Path("a/b"), pathlib.PurePosixPath("a")),
    *([], (), set(), frozenset(), {}, OrderedDict(), MappingProxyType({})),
    *([1, 2], [2, 1], [[1], 2], [[1, 2]], (1, 2), {1, 2}, frozenset({1, 2}), ["12"], ["1", "2"]),
    *({"a", "b", "c", "d", "e"}, frozenset({Colour.RED, Colour.BLUE, None})),
    *({"a": 1}, {"a": "1"}, {1: "a"}, {1.0: "a"}, {True: "a"}, {"a": {"b": 1}}, {"a": {}, "b": 1}),
    *(OrderedDict(a=1, b=2), OrderedDict(b=2, a=1), {(1, "a"): None, None: 2}),
    *(Point(1), Point(1.0), OtherPoint(1), Pair(1, 0), Settings(rate=1), Settings(rate=1.0)),
    *(Settings(rate=1, extra=2), Settings(rate=1, names=["a"])),
    *(range(3), range(0, 3, 2), slice(3), slice(0, 3), re.compile("a"), re.compile("a", re.I)),
    *(re.compile(b"a"), np.int64(1), np.int32(1), np.uint8(1), np.float64(1), np.float32(1)),
    *(np.float64("nan"), np.bool_(True), np.str_("1"), np.bytes_(b"1"), np.dtype("i4")),
    *(np.datetime64("2024", "Y"), np.datetime64("2024", "D"), np.timedelta64(1, "s")),
    *(np.array([1, 2]), np.array([[1, 2]]), np.array([1.0, 2.0]), np.array([], "f8")),
    *(np.array([], "i8"), np.array(1), np.array([1, "a"], object), np.array(["a", "b"])),
    *(np.array([(1, 2.0)], "i4,f8"), np.array([(1, 2.5)], "i4,f8"), np.float64("-0.0")),
    *(pd.Timestamp("2024"), pd.Timestamp("2024").as_unit("s"), pd.Timestamp("2024", tz="UTC")),
    *(pd.Timestamp("2024", tz="Europe/Berlin"), pd.Timestamp("2024-01-01 00:00:00.000000001")),
    *(pd.NaT, pd.NA, pd.Timedelta(1, "s"), pd.Timestamp("9999-12-31").as_unit("s")),
]


@pytest.mark.parametrize("number", range(len(DISTINCT)))
def test_values_that_code_can_tell_apart_differ(number: int) -> None:
    own = stable_hash(DISTINCT[number])
    same = [value for value in DISTINCT[number + 1 :] if stable_hash(value) == own]
    assert same == []


def test_values_of_one_meaning_agree() -> None:
    groups: list[list[Any]] = [
        [{"a": 1, "b": [2]}, {"b": [2], "a": 1}],
        [{0, 8, 16, 24}, {24, 16, 8, 0}],
        [float("nan"), -float("nan"), float("inf") - float("inf")],
        [np.float64("nan"), np.array([np.nan]).view("u8").__or__(1).view("f8")[0]],
        [Colour.RED, Colour.CRIMSON],
        [np.arange(4, dtype=">i4"), np.arange(4, dtype="<i4")],
        [np.arange(6).reshape(2, 3).T, np.arange(6).reshape(2, 3).T.copy()],
        [pathlib.PurePosixPath("a/b"), pathlib.PureWindowsPath("a\\b")],
        [Point([1, {2}]), Point([1, {2}])],
    ]
    for group in groups:
        assert len({stable_hash(value) for value in group}) == 1


def test_changing_any_value_within_a_container_changes_the_hash() -> None:
    def nested(leaf: Any) -> Any:
        return {"a": [1, (2, {"b": Point(Pair(leaf, None))})], "c": Settings(rate={"d": leaf})}

    hashes = {stable_hash(nested(leaf)) for leaf in DISTINCT if not isinstance(leaf, list)}
    assert len(hashes) == sum(not isinstance(leaf, list) for leaf in DISTINCT)


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(st.characters(codec="utf-8"))
)
JSON = st.recursive(
    SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=10
)


@given(JSON, JSON)
def test_json_values_agree_exactly_when_their_text_does(left: Any, right: Any) -> None:
    texts = [json.dumps(value, sort_keys=True) for value in (left, right)]
    assert (stable_hash(left) == stable_hash(right)) == (texts[0] == texts[1])


@given(st.dictionaries(st.text() | st.integers() | st.none(), SCALARS), st.randoms())
def test_the_order_of_a_dictionary_does_not_count(value: dict[Any, Any], random: Any) -> None:
    pairs = list(value.items())
    random.shuffle(pairs)
    assert stable_hash(dict(pairs)) == stable_hash(value)


@given(st.lists(st.lists(st.text())), st.lists(st.lists(st.text())))
def test_parts_cannot_run_together(left: list[list[str]], right: list[list[str]]) -> None:
    assert (stable_hash(left) == stable_hash(right)) == (left == right)


SCRIPT = f"""
import {__name__} as values
print("\\n".join(values.stable_hash(value) for value in values.DISTINCT))
"""


def test_processes_with_different_string_hashes_agree() -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", SCRIPT],
            env={**os.environ, "PYTHONHASHSEED": seed},
            stdout=subprocess.PIPE,
            text=True,
        )
        for seed in ("1", "2")
    ]
    outputs = [process.communicate()[0].split() for process in processes]
    assert outputs[0] == outputs[1] == [stable_hash(value) for value in DISTINCT]


def test_the_hash_is_the_same_on_every_machine() -> None:
    value = {"a": [1, 2.5, "ä", None], "b": {np.int64(3), HTTPStatus.OK}, "c": NOON}
    expected = "9d0b6673bc45a8a82e7636426edadd252987ebca4c5dfbbe6d1a4fd0ed049c8f"
    assert stable_hash(value) == expected


class Plain:
    pass


@pytest.mark.parametrize(
    "value",
    [
        object(),
        Plain(),
        Plain,
        len,
        lambda: None,
        iter([]),
        (item for item in []),
        pd.DataFrame(),
        np.random.default_rng(),
        np.array([object()]),
        type("Text", (str,), {})("a"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_anything_else_is_refused(value: Any) -> None:
    with pytest.raises(UnstableValueError, match="no content that is the same in every process"):
        stable_hash(value)


def test_the_error_names_type_and_place() -> None:
    with pytest.raises(UnstableValueError) as error:
        stable_hash({"rates": [1, Point(2, {"deep": Plain()})]})
    assert f"`{__name__}.Plain`" in str(error.value)
    assert "`value['rates'][1].y['deep']`" in str(error.value)


def test_the_error_shows_no_content() -> None:
    with pytest.raises(UnstableValueError) as error:
        stable_hash({"password": [pydantic.SecretStr("geheim"), "geheim"]})
    assert "geheim" not in str(error.value)


def test_a_dtype_that_differs_between_machines_is_refused() -> None:
    with pytest.raises(UnstableValueError, match="float64"):
        stable_hash(np.longdouble(1))


def test_a_value_that_contains_itself_is_refused() -> None:
    value: list[Any] = [1]
    value.append({"again": value})
    with pytest.raises(UnstableValueError, match=re.escape("value[1]['again']")):
        stable_hash(value)
    shared = [1]
    assert stable_hash([shared, shared]) == stable_hash([[1], [1]])


def test_nesting_beyond_what_python_can_follow_is_refused() -> None:
    value: list[Any] = []
    for _ in range(sys.getrecursionlimit()):
        value = [value]
    with pytest.raises(UnstableValueError, match="nested too deeply"):
        stable_hash(value)


def test_a_substitute_stands_for_a_value_and_differs_from_it() -> None:
    def by_name(value: Any) -> Any:
        return value.__name__ if isinstance(value, type) else NotImplemented

    hashes = [
        stable_hash(value, substitute=by_name)
        for value in ([Plain], [Point], ["Plain"], [Point(1)])
    ]
    assert all(left != right for left, right in itertools.combinations(hashes, 2))
