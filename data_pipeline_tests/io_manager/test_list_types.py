"""Lists of every layout, structs and maps come back as they were, or are refused by column."""

import json
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from data_pipeline_tests.io_manager.runs import from_inputs, refusal, run, table_asset

PAIRS = [[1, 2], None, [3, 4], [None, 5]]
VARIED = [[1], None, [], [2, 3]]
NESTED = [[[1, 2]], None, [[3, 4]]]
POINTS = [{"at": [1, 2], "name": "a"}, None]


def arrow(values: list[Any], kind: pa.DataType) -> pa.Table:
    return pa.table({"k": list(range(len(values))), "v": pa.array(values, kind)})


def polars(values: list[Any], kind: Any) -> pl.DataFrame:
    return pl.DataFrame({"k": range(len(values)), "v": pl.Series(values, dtype=kind)})


def as_pandas(values: list[Any], kind: pa.DataType) -> pd.DataFrame:
    return pd.DataFrame({"k": range(len(values)), "v": pd.array(values, dtype=pd.ArrowDtype(kind))})


int32 = pa.int32()
FRAMES: dict[str, tuple[Any, list[Any]]] = {
    "fixed": (arrow(PAIRS, pa.list_(int32, 2)), PAIRS),
    "fixed, cut": (arrow([[9, 9], *PAIRS], pa.list_(int32, 2)).slice(1), PAIRS),
    "fixed, all NULL": (arrow([None, None], pa.list_(int32, 2)), [None, None]),
    "fixed, of text": (arrow([["a", None]], pa.list_(pa.string(), 2)), [["a", None]]),
    "fixed, of nothing": (arrow([[], None], pa.list_(int32, 0)), [[], None]),
    "view": (arrow(VARIED, pa.list_view(int32)), VARIED),
    "large view, cut": (arrow([[9], *VARIED], pa.large_list_view(int32)).slice(1), VARIED),
    "fixed of fixed": (arrow(NESTED, pa.list_(pa.list_(int32, 2), 1)), NESTED),
    "view of fixed": (arrow(NESTED, pa.list_view(pa.list_(int32, 2))), NESTED),
    "fixed in struct": (
        arrow(POINTS, pa.struct({"at": pa.list_(int32, 2), "name": pa.string()})),
        POINTS,
    ),
    "struct in fixed": (
        arrow([[{"a": 1}], None], pa.list_(pa.struct({"a": int32}), 1)),
        [[{"a": 1}], None],
    ),
    "map": (arrow([[("a", 1)], None, []], pa.map_(pa.string(), int32)), [{"a": 1}, None, {}]),
    "map of fixed": (
        arrow([[("a", [1, 2])], None], pa.map_(pa.string(), pa.list_(int32, 2))),
        [{"a": [1, 2]}, None],
    ),
    "polars": (polars(PAIRS, pl.Array(pl.Int32, 2)), PAIRS),
    "polars, of text": (polars([["a", "b"], None], pl.Array(pl.String, 2)), [["a", "b"], None]),
    "polars, 2 by 1": (polars(NESTED, pl.Array(pl.Int32, (1, 2))), NESTED),
    "numpy": (pl.DataFrame({"k": [0, 1], "v": np.ones((2, 3))}), [[1.0] * 3] * 2),
    "pandas": (as_pandas(PAIRS, pa.list_(int32, 2)), PAIRS),
    "pandas, view": (as_pandas(VARIED, pa.list_view(int32)), VARIED),
}


def parsed(value: Any) -> Any:
    return json.loads(value) if isinstance(value, str) else value


@pytest.mark.usefixtures("pipeline_database")
def test_they_come_back() -> None:
    names = {label: f"t{number}" for number, label in enumerate(FRAMES)}
    arrived: dict[str, list[Any]] = {}

    def reader(label: str) -> Any:
        def read(t):  # type: ignore[no-untyped-def]
            arrived[label] = [parsed(value) for value in t.sort_by("k")["v"].to_pylist()]

        read.__annotations__ |= {"t": pa.Table, "return": None}
        return from_inputs(f"of_{names[label]}", read, t=names[label])

    tables = [table_asset(names[label], lambda f=frame: f) for label, (frame, _) in FRAMES.items()]
    run(*tables, *map(reader, FRAMES))
    assert arrived == {label: values for label, (_, values) in FRAMES.items()}


@pytest.mark.usefixtures("pipeline_database")
@pytest.mark.parametrize(
    "frame",
    [
        arrow([[(1, "a")]], pa.map_(int32, pa.string())),
        arrow([[{"a": b"x"}]], pa.list_(pa.struct({"a": pa.binary()}), 1)),
    ],
    ids=["keys that are no text", "bytes in JSON"],
)
def test_what_json_cannot_hold_is_refused(frame: pa.Table) -> None:
    error = str(refusal(table_asset("t", lambda: frame)))
    assert "`s/t`" in error
    assert "Column `v`, row 0" in error
