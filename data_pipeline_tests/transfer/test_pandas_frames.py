"""pandas frames: what is stored for each dtype, and the dtypes that come back."""

import datetime as dt
import math
import os
import uuid
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from data_pipeline.transfer.pandas_frames import from_pandas, to_pandas
from data_pipeline_tests.transfer.conftest import Transfer

ALL_TYPES = {
    "si": ("smallint", "7", "Int16"),
    "i": ("integer", "7", "Int32"),
    "bi": ("bigint", "7", "Int64"),
    "r": ("real", "1.5", "Float32"),
    "d": ("double precision", "1.5", "Float64"),
    "b": ("boolean", "true", "boolean"),
    "t": ("text", "'x'", "string"),
    "v": ("varchar(9)", "'x'", "string"),
    "n": ("numeric(9,2)", "1.20", "decimal128(9, 2)[pyarrow]"),
    "bare": ("numeric", "1.20", "Float64"),
    "da": ("date", "'2020-01-01'", "date32[day][pyarrow]"),
    "ti": ("time", "'10:00'", "time64[us][pyarrow]"),
    "ts": ("timestamp", "'2020-01-01'", "datetime64[us]"),
    "tz": ("timestamptz", "'2020-01-01'", "datetime64[us, UTC]"),
    "iv": ("interval", "'1 day'", "timedelta64[us]"),
    "by": ("bytea", "'x'", "binary[pyarrow]"),
    "u": ("uuid", "gen_random_uuid()", "object"),
    "j": ("jsonb", "'{}'", "object"),
    "ia": ("integer[]", "'{1}'", "list<item: int32>[pyarrow]"),
    "inet": ("inet", "'1.2.3.4'", "string"),
}


@pytest.mark.parametrize("rows", ["none", "all NULL", "one", "mixed"])
def test_dtypes_follow_from_the_column_types_alone(transfer: Transfer, rows: str) -> None:
    columns = ", ".join(f"{name} {kind}" for name, (kind, _, _) in ALL_TYPES.items())
    transfer.execute(f"CREATE TABLE t ({columns})")
    if rows in ("all NULL", "mixed"):
        transfer.execute("INSERT INTO t DEFAULT VALUES")
    if rows in ("one", "mixed"):
        values = ", ".join(value for _, value, _ in ALL_TYPES.values())
        transfer.execute(f"INSERT INTO t VALUES ({values})")

    frame = transfer.read(pd.DataFrame)

    assert {n: str(d) for n, d in frame.dtypes.items()} == {
        name: dtype for name, (_, _, dtype) in ALL_TYPES.items()
    }
    assert frame["t"].dtype.na_value is pd.NA
    assert frame.isna().to_numpy().sum() == (len(ALL_TYPES) if rows in ("all NULL", "mixed") else 0)


def test_dtypes_survive_a_round_trip(transfer: Transfer) -> None:
    columns = ", ".join(f"{name} {kind}" for name, (kind, _, _) in ALL_TYPES.items())
    values = ", ".join(value for _, value, _ in ALL_TYPES.values())
    transfer.execute(f"CREATE TABLE t ({columns})")
    transfer.execute(f"INSERT INTO t VALUES ({values})")
    transfer.execute("INSERT INTO t DEFAULT VALUES")
    frame = transfer.read(pd.DataFrame)
    transfer.execute("DROP TABLE t")
    pd.testing.assert_frame_equal(transfer.round_trip(frame, pd.DataFrame), frame)


def test_columns_can_be_assigned_to(transfer: Transfer) -> None:
    index = pd.date_range("2020", periods=2, tz="UTC")
    frame = pd.DataFrame({"i": [1, 2], "f": [1.0, 2.0], "t": index, "d": index - index})
    result = transfer.round_trip(frame, pd.DataFrame)
    for name in result.columns:
        result.loc[0, name] = result.loc[1, name]
        assert result[name].nunique() == 1


def test_nan_is_kept_apart_from_missing(transfer: Transfer) -> None:
    values, missing = np.array([1.0, math.nan, math.inf, 0.0]), np.array([0, 0, 0, 1], bool)
    frame = pd.DataFrame({"x": pd.arrays.FloatingArray(values, missing)})

    result = transfer.round_trip(frame, pd.DataFrame)

    assert transfer.execute("SELECT x::text FROM t") == [("1",), ("NaN",), ("Infinity",), (None,)]
    assert result["x"].isna().tolist() == [False, False, False, True]
    assert repr(result["x"].tolist()) == "[1.0, nan, inf, <NA>]"


def test_nan_in_a_numpy_column_is_missing(transfer: Transfer) -> None:
    transfer.write(pd.DataFrame({"x": [1.0, np.nan], "o": pd.Series([1, np.nan], dtype=object)}))
    assert transfer.execute("SELECT x::text, o::text FROM t") == [("1", "1"), (None, None)]


OBJECTS: list[tuple[str, list[Any], str]] = [
    ("str", ["a", "\\N", "\\.", "", "'\"", "\n", "\r", "é\U0001f600"], "text"),
    ("bool", [True, False], "boolean"),
    ("int", [1, -(2**63)], "bigint"),
    ("float", [1.5, math.inf], "double precision"),
    ("Decimal", [Decimal("1.20"), Decimal("-3")], "numeric(38,2)"),
    ("bytes", [b"\0", b""], "bytea"),
    ("date", [dt.date.min, dt.date.max], "date"),
    ("datetime", [dt.datetime.min, dt.datetime.max], "timestamp without time zone"),
    ("aware", [dt.datetime(2020, 1, 1, tzinfo=dt.UTC)], "timestamp with time zone"),
    ("time", [dt.time.min, dt.time.max], "time without time zone"),
    ("timedelta", [dt.timedelta(days=-1, microseconds=1)], "interval"),
    ("uuid", [uuid.uuid4()], "uuid"),
    ("dict", [{"a": [1, None, {"é": 1.5}]}, {}], "jsonb"),
    ("dict or list", [{"a": 1}, [1, "b"]], "jsonb"),
    ("list of mixed", [[1, "a"], [None, {}]], "jsonb"),
    ("list of int", [[1, None], []], "bigint[]"),
    ("list of str", [["a", None], []], "text[]"),
    ("list of Decimal", [[Decimal("1.20")], [Decimal("3.00")]], "numeric(38,2)[]"),
]


@pytest.mark.parametrize(
    ("values", "stored"), [c[1:] for c in OBJECTS], ids=[c[0] for c in OBJECTS]
)
def test_python_objects(transfer: Transfer, values: list[Any], stored: str) -> None:
    frame = pd.DataFrame({"x": pd.Series([*values, None], dtype=object)})
    result = transfer.round_trip(frame, pd.DataFrame)
    assert transfer.types() == {"x": stored}
    assert result["x"].tolist()[:-1] == values
    assert pd.isna(result["x"].iloc[-1])


def test_categories_are_stored_as_their_values(transfer: Transfer) -> None:
    frame = pd.DataFrame({"t": pd.Categorical(["b", None, "a"]), "i": pd.Categorical([2, 1, 2])})
    result = transfer.round_trip(frame, pd.DataFrame)
    assert transfer.types() == {"t": "text", "i": "bigint"}
    assert result["t"].tolist() == ["b", pd.NA, "a"]
    assert result["i"].tolist() == [2, 1, 2]


def test_a_column_of_none_is_text(transfer: Transfer) -> None:
    transfer.write(pd.DataFrame({"x": [None, None]}))
    assert transfer.types() == {"x": "text"}


def test_rows_without_columns_keep_their_number(transfer: Transfer) -> None:
    assert transfer.round_trip(pd.DataFrame(index=range(3)), pd.DataFrame).shape == (3, 0)


def test_a_filtered_frame_needs_no_reset_index(transfer: Transfer) -> None:
    frame = pd.DataFrame({"x": [1, 2, 3]})
    assert transfer.round_trip(frame[frame["x"] > 1], pd.DataFrame)["x"].tolist() == [2, 3]


def test_an_arrow_backed_frame(transfer: Transfer) -> None:
    frame = pd.DataFrame({"x": pd.Series([1, None], dtype=pd.ArrowDtype(pa.int32()))})
    assert transfer.round_trip(frame, pd.DataFrame)["x"].tolist() == [1, pd.NA]
    assert transfer.types() == {"x": "integer"}


def test_time_zones_count_whatever_other_libraries_ask_of_arrow(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PYARROW_IGNORE_TIMEZONE", "1")  # as pandera does when it is imported
    east = dt.timezone(dt.timedelta(hours=5, minutes=45))
    frame = pd.DataFrame({"at": pd.Series([dt.datetime(2000, 1, 1, tzinfo=east)], dtype=object)})
    [found] = from_pandas(frame)["at"].cast(pa.timestamp("us", "UTC")).to_pylist()
    assert found == dt.datetime(1999, 12, 31, 18, 15, tzinfo=dt.UTC)
    assert os.environ["PYARROW_IGNORE_TIMEZONE"] == "1"


def test_a_batch_is_freed_before_the_next_one_comes() -> None:
    size = 100_000
    allocated = []

    def batches() -> Iterator[pa.RecordBatch]:
        for number in range(4):
            allocated.append(pa.total_allocated_bytes())
            values = pa.array(range(number, number + size), pa.int64())
            times = values.cast(pa.timestamp("us"))
            columns = [values, values.cast(pa.float64()), times, pc.equal(values, 1)]
            yield pa.RecordBatch.from_arrays(columns, names=["i", "f", "t", "b"])

    schema = pa.schema({"i": "int64", "f": "double", "t": pa.timestamp("us"), "b": "bool"})
    frame = to_pandas(pa.RecordBatchReader.from_batches(schema, batches()))
    assert max(allocated) - allocated[0] < 2 * 3 * 8 * size
    assert frame["i"].tolist()[:: 2 * size] == [0, 2]
    assert frame["f"].iloc[-1] == frame["i"].iloc[-1] == size + 2
    assert frame.dtypes.astype(str).tolist() == ["Int64", "Float64", "datetime64[us]", "boolean"]
    assert frame["b"].sum() == 2


def test_several_batches_give_what_one_gives() -> None:
    columns = {
        "i": pa.array([1, None, 3], pa.int16()),
        "f": pa.array([1.5, float("nan"), None], pa.float32()),
        "b": pa.array([True, None, False]),
        "s": pa.array(["a", None, ""]),
        "z": pa.array([1, None, 3], pa.timestamp("us", "UTC")),
        "d": pa.array([None, 1, 2], pa.duration("us")),
        "l": pa.array([[1], None, []], pa.list_(pa.int32())),
        "u": pa.array([uuid.UUID(int=1).bytes, None, uuid.UUID(int=2).bytes], pa.uuid()),
    }
    table = pa.table(columns)
    once = to_pandas(table.to_reader())
    pd.testing.assert_frame_equal(to_pandas(table.to_reader(max_chunksize=1)), once)
    pd.testing.assert_frame_equal(to_pandas(table[:0].to_reader()), once[:0])
