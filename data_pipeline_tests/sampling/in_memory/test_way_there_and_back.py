"""Frames go to PostgreSQL to be sampled, and their rows come back as they were."""

import datetime as dt
import uuid
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import sqlalchemy as sa

from data_pipeline.errors import DataPipelineError
from data_pipeline_tests.sampling.in_memory.samples import sample_of

ROWS = 60
NUMBERS = range(ROWS)


def of_numbers(give: Callable[[int], Any], every: int = 7) -> list[Any]:
    """Gives a value for each number, None for some."""
    return [None if number % every == 3 else give(number) for number in NUMBERS]


DAY = dt.datetime(2024, 3, 30, 22, 15)
PANDAS: dict[str, Any] = {
    "int64": pd.Series(NUMBERS, dtype="int64"),
    "int8": pd.Series([number % 100 for number in NUMBERS], dtype="int8"),
    "uint32": pd.Series(NUMBERS, dtype="uint32"),
    "Int64": pd.array(of_numbers(int), dtype="Int64"),
    "Int16": pd.array(of_numbers(int), dtype="Int16"),
    "float": pd.Series(of_numbers(lambda n: n / 7), dtype="float64"),
    "Float32": pd.array(of_numbers(lambda n: n / 8), dtype="Float32"),
    "bool": pd.Series([number % 2 == 0 for number in NUMBERS]),
    "boolean": pd.array(of_numbers(lambda n: n % 2 == 0), dtype="boolean"),
    "object_text": pd.Series(of_numbers(lambda n: f"ü{n}"), dtype=object),
    "string": pd.array(of_numbers(str), dtype="string"),
    "category": pd.Categorical(of_numbers(lambda n: f"c{n % 3}"), categories=["c2", "c1", "c0"]),
    "decimal": pd.Series(of_numbers(lambda n: Decimal(n) / 100), dtype=object),
    "date": pd.Series(of_numbers(lambda n: DAY.date() + dt.timedelta(n)), dtype=object),
    "ns": pd.Series(pd.date_range("2024-01-01", periods=ROWS, freq="h", unit="ns")),
    "seconds": pd.Series(pd.date_range("2024-01-01", periods=ROWS, freq="h", unit="s")),
    "zone": pd.Series(
        pd.date_range("2024-03-30", periods=ROWS, freq="h", tz="Europe/Berlin", unit="us")
    ),
    "timedelta": pd.Series(pd.to_timedelta(np.arange(ROWS), unit="min")),
    "bytes": pd.Series(of_numbers(lambda n: bytes([n, 0, 255])), dtype=object),
    "list": pd.Series(of_numbers(lambda n: [n, 1]), dtype=object),
    "dict": pd.Series(of_numbers(lambda n: {"n": n}), dtype=object),
    "uuid": pd.Series(of_numbers(lambda n: uuid.UUID(int=n)), dtype=object),
    "arrow": pd.Series(pd.array(of_numbers(str), dtype=pd.ArrowDtype(pa.large_string()))),
    "nothing": pd.Series([None] * ROWS, dtype=object),
    "missing": pd.Series([np.nan] * ROWS),
}
POLARS: dict[str, pl.Series] = {
    "Int8": pl.Series(of_numbers(lambda n: n), dtype=pl.Int8),
    "UInt16": pl.Series(of_numbers(lambda n: n), dtype=pl.UInt16),
    "Float32": pl.Series(of_numbers(lambda n: n / 8), dtype=pl.Float32),
    "String": pl.Series(of_numbers(lambda n: f"ü{n}")),
    "Categorical": pl.Series(of_numbers(lambda n: f"c{n % 3}"), dtype=pl.Categorical),
    "Enum": pl.Series(of_numbers(lambda n: "ab"[n % 2]), dtype=pl.Enum(["b", "a"])),
    "Decimal": pl.Series(of_numbers(lambda n: Decimal(n) / 4), dtype=pl.Decimal(12, 3)),
    "Date": pl.Series(of_numbers(lambda n: DAY.date() + dt.timedelta(n))),
    "Time": pl.Series(of_numbers(lambda n: dt.time(n % 24, 5))),
    "Datetime_ms": pl.Series(
        of_numbers(lambda n: DAY + dt.timedelta(hours=n)), dtype=pl.Datetime("ms")
    ),
    "Zone": pl.Series(
        of_numbers(lambda n: DAY + dt.timedelta(hours=n)), dtype=pl.Datetime("us")
    ).dt.replace_time_zone("UTC"),
    "Duration": pl.Series(of_numbers(lambda n: dt.timedelta(minutes=n))),
    "Binary": pl.Series(of_numbers(lambda n: bytes([n]))),
    "List": pl.Series(of_numbers(lambda n: [n])),
    "Struct": pl.Series(of_numbers(lambda n: {"n": n}, 99)),
    "Null": pl.Series([None] * ROWS),
}
ARROW: dict[str, pa.Array] = {
    "int8": pa.array(of_numbers(int), pa.int8()),
    "uint64": pa.array(of_numbers(int), pa.uint64()),
    "half": pa.array(of_numbers(float), pa.float16()),
    "text": pa.array(of_numbers(str), pa.string_view()),
    "bytes": pa.array(of_numbers(lambda n: bytes([n])), pa.binary_view()),
    "dictionary": pa.array(of_numbers(lambda n: f"c{n % 3}")).dictionary_encode(),
    "decimal": pa.array(of_numbers(Decimal), pa.decimal256(45, 3)),
    "date64": pa.array(of_numbers(lambda n: DAY.date() + dt.timedelta(n)), pa.date64()),
    "time": pa.array(of_numbers(lambda n: dt.time(n % 24)), pa.time32("s")),
    "ns": pa.array(of_numbers(lambda n: n * 1000), pa.timestamp("ns", "Asia/Tokyo")),
    "duration": pa.array(of_numbers(int), pa.duration("s")),
    "fixed": pa.array(of_numbers(lambda n: bytes([n, n])), pa.binary(2)),
    "list": pa.array(of_numbers(lambda n: [n, None]), pa.large_list(pa.int16())),
    "struct": pa.array(of_numbers(lambda n: {"a": n})),
    "uuid": pa.array(of_numbers(lambda n: uuid.UUID(int=n).bytes), pa.uuid()),
    "null": pa.nulls(ROWS),
}


NAMES = [
    "select",
    "user",
    "Größe",
    'a"b',
    "it's",
    "%(x)s %",
    "a:b",
    "with space",
    "ctid ",
    "K",
    "row",
]


def frames() -> dict[str, Any]:
    """Gives a frame of each library, with columns of all kinds that can be stored."""
    keys = list(NUMBERS)
    return {
        "pandas": pd.DataFrame({"k": keys, **PANDAS}),
        "pandas with an index": pd.DataFrame({"k": keys, **PANDAS}).set_index(
            pd.Index([number // 2 for number in NUMBERS])
        ),
        "polars": pl.DataFrame({"k": keys, **POLARS}),
        "arrow": pa.table({"k": keys, **ARROW}),
        "odd names": pd.DataFrame({"k": keys, **dict.fromkeys(NAMES, keys)}),
        "odd names in polars": pl.DataFrame({"k": keys, **dict.fromkeys(NAMES, keys)}),
    }


def taken(frame: Any, keys: list[Any]) -> Any:
    """Gives the rows of a frame whose key `k` is among some, by its own library."""
    if isinstance(frame, pd.DataFrame):
        return frame[frame["k"].isin(keys)].reset_index(drop=True)
    if isinstance(frame, pl.DataFrame):
        return frame.filter(pl.col("k").is_in(keys))
    # Arrow filters no columns of views.
    places = [place for place, key in enumerate(frame["k"].to_pylist()) if key in keys]
    return pa.concat_tables([frame[:0], *(frame.slice(place, 1) for place in places)])


def assert_same(found: Any, expected: Any) -> None:
    assert type(found) is type(expected)
    if isinstance(found, pd.DataFrame):
        pd.testing.assert_frame_equal(found, expected)
    else:
        assert found.schema == expected.schema
        assert found.equals(expected)


def listed(frame: Any, column: str) -> list[Any]:
    values = frame[column]
    return values.to_pylist() if isinstance(frame, pa.Table) else values.to_list()


@pytest.mark.parametrize("kind", frames())
@pytest.mark.parametrize("cover", [{"category_limit": 3}, "off"], ids=["auto", "off"])
def test_the_rows_are_those_of_the_frame(
    pipeline_database: sa.Engine, tmp_path: Path, kind: str, cover: Any
) -> None:
    frame = frames()[kind]
    found = sample_of(frame, tmp_path, primary_key="k", specification={"cover": cover})
    keys = listed(found["roles"], "k")
    assert 0 < len(keys) < ROWS
    assert listed(found["rows"], "k") == keys
    assert_same(found["rows"], taken(frame, keys))
    columns = list(frame.columns if kind != "arrow" else frame.column_names)
    weighted = found["weighted"]
    own = weighted[columns] if isinstance(frame, pd.DataFrame) else weighted.select(columns)
    assert_same(own, taken(frame, keys))
    assert listed(weighted, "role") == listed(found["roles"], "role")


@pytest.mark.parametrize("kind", ["pandas", "polars", "arrow"])
def test_an_empty_frame_stays_what_it_is(
    pipeline_database: sa.Engine, tmp_path: Path, kind: str
) -> None:
    frame = frames()[kind][:0]
    found = sample_of(frame, tmp_path, primary_key="k")
    assert_same(found["rows"], frame)
    assert len(found["weighted"]) == len(found["roles"]) == 0


def test_rows_without_a_key_are_told_by_all_columns(
    pipeline_database: sa.Engine, tmp_path: Path
) -> None:
    frame = pd.DataFrame({"k": [number // 3 for number in NUMBERS], "v": [None] * ROWS})
    found = sample_of(frame, tmp_path)
    rows, sampled = found["rows"], found["weighted"]["role"] == "sampled"
    keys = list(rows.loc[sampled, "k"])
    assert 0 < len(keys) < ROWS
    # Equal rows come together, but for the witness that every table has.
    assert_same(rows[sampled].reset_index(drop=True), taken(frame, keys))
    assert len(found["roles"]) == rows["k"].nunique()


def test_types_are_those_that_are_declared(pipeline_database: sa.Engine, tmp_path: Path) -> None:
    key = [str(uuid.UUID(int=number)) for number in NUMBERS]
    frame = pd.DataFrame({"k": key, "v": [f"10.0.0.{number}" for number in NUMBERS]})
    found = sample_of(
        frame,
        tmp_path,
        primary_key="k",
        root={"rate": 0.01},
        types={"k": "uuid", "v": "inet"},
        specification={"cover": {"predicates": {"t": {"near": "v << inet '10.0.0.8/29'"}}}},
    )
    assert "predicate: near" in set(found["roles"]["reason"].dropna())
    assert_same(found["rows"], taken(frame, [str(told) for told in found["roles"]["k"]]))


def test_rows_of_any_length_keep_their_places(pipeline_database: sa.Engine, tmp_path: Path) -> None:
    # The texts fill pages to different degrees, and the uuid has the table rewritten.
    count = 20_000
    widths = np.random.default_rng(1).integers(0, 7_000, count)
    key = [str(uuid.uuid5(uuid.NAMESPACE_OID, str(number))) for number in range(count)]
    frame = pl.DataFrame({"k": key, "v": [key[n][:8] * (widths[n] // 8) for n in range(count)]})
    found = sample_of(frame, tmp_path, primary_key="k", types={"k": "uuid"})
    keys = [str(told) for told in found["roles"]["k"]]
    assert found["rows"]["k"].to_list() == keys
    assert found["rows"].equals(taken(frame, keys))


@pytest.mark.parametrize("wrap", [pl.LazyFrame, lambda data: pa.table(data).to_reader()])
def test_what_can_be_read_once_is_read_once(
    pipeline_database: sa.Engine, tmp_path: Path, wrap: Callable[[Any], Any]
) -> None:
    data = {"k": list(NUMBERS), "v": of_numbers(str)}
    found = sample_of(wrap(data), tmp_path, primary_key="k")
    rows = pl.DataFrame(found["rows"])
    assert rows.equals(taken(pl.DataFrame(data), listed(found["roles"], "k")))


@pytest.mark.parametrize("table", ["user", "select", "Orders", "n" * 40])
def test_tables_may_have_any_name(pipeline_database: sa.Engine, tmp_path: Path, table: str) -> None:
    frame = pd.DataFrame({"k": NUMBERS})
    found = sample_of(frame, tmp_path, table=table, primary_key="k")
    assert 0 < len(found["rows"]) < ROWS


@pytest.mark.parametrize(
    ("frame", "declared", "message"),
    [
        ({"k": [1, 1]}, {"primary_key": "k"}, "`inputs/t`.*Key .k.=.1. is duplicated"),
        ({"k": [1, None]}, {"primary_key": "k"}, "`inputs/t`.*null values"),
        ({"k": ["a\0"]}, {"primary_key": "k"}, "Table `inputs/t`: Column `k`, row 0"),
        ({"k": [1]}, {"types": {"k": "mood"}}, "PostgreSQL has no type `mood`"),
        ({"k": [1]}, {"primary_key": "id"}, "Table `inputs/t`: its properties name `id`"),
    ],
)
def test_what_the_raw_table_could_not_be_is_refused(
    pipeline_database: sa.Engine,
    tmp_path: Path,
    frame: dict[str, Any],
    declared: dict[str, Any],
    message: str,
) -> None:
    with pytest.raises(DataPipelineError, match=f"(?s){message}"):
        sample_of(pd.DataFrame(frame), tmp_path, **declared)
