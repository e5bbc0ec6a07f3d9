"""What PostgreSQL cannot hold is an error that names it, and nothing of the table remains."""

import datetime as dt
import re
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from data_pipeline.errors import UnsupportedDataError
from data_pipeline.transfer.frames import to_reader
from data_pipeline_tests.transfer.conftest import Transfer

NAMES: list[tuple[Any, str]] = [
    (["a", "a"], "Column 'a' (number 2) appears more than once"),
    (["x" * 64], "has a name of 64 bytes, but PostgreSQL allows 63"),
    (["é" * 32], "has a name of 64 bytes"),
    ([""], "Column '' (number 1) has an empty name"),
    (["a\0b"], "Column 'a\\x00b' (number 1) has a NUL character in its name"),
    (["ctid"], "Column 'ctid' (number 1) has the name of one of PostgreSQL's own columns"),
    ([f"c{n}" for n in range(1601)], "has 1601 columns, but PostgreSQL allows 1600"),
]


@pytest.mark.parametrize(("names", "message"), NAMES, ids=[name[1][:40] for name in NAMES])
def test_column_name(transfer: Transfer, names: list[str], message: str) -> None:
    table = pa.Table.from_arrays([pa.array([1])] * len(names), names=names)
    with pytest.raises(UnsupportedDataError, match=re.escape(message)):
        transfer.write(table)
    assert not transfer.exists()


def test_a_column_name_that_is_no_string() -> None:
    with pytest.raises(UnsupportedDataError, match=r"Column 7 .*type int.*Rename"):
        to_reader(pd.DataFrame({7: [1]}))


def test_duplicate_columns_of_a_pandas_frame() -> None:
    with pytest.raises(UnsupportedDataError, match=r"'a'.*more than once"):
        to_reader(pd.DataFrame([[1, 2]], columns=["a", "a"]))


def test_names_that_differ_only_by_case_are_two_columns(transfer: Transfer) -> None:
    transfer.write(pa.table({"a": [1], "A": [2]}))
    assert transfer.execute('SELECT a, "A" FROM t') == [(1, 2)]


VALUES: list[tuple[pa.Array, str]] = [
    (pa.array(["ok", None, "a\0b"]), r"row 2 .*'a\\x00b' of type string.*as text: .*NUL"),
    (pa.array(["ok", "a\0b"]).cast(pa.string_view()), r"row 1 .*'a\\x00b'.*NUL"),
    (pa.array(["ok", "a\0b"]).dictionary_encode(), r"row 1 .*'a\\x00b'.*NUL"),
    (pa.array([["ok"], ["ok", "a\0b"]]), r"row 1 .*\['ok', 'a\\x00b'\].*NUL"),
    (pa.array([1, 2**63], pa.uint64()), r"row 1 .*9223372036854775808 of type uint64.*as bigint"),
    (pa.array([1, 1001], pa.timestamp("ns")), r"row 0 .*below the microsecond"),
    (pa.array([1000, 1001], pa.duration("ns")), r"row 1 .*below the microsecond"),
    (pa.array([1000, 1001], pa.time64("ns")), r"row 1 .*below the microsecond"),
    (pa.array([None, 253402300800], pa.timestamp("s")), r"row 1 .*outside the years 1 to 9999"),
    (pa.array([-62135596801], pa.timestamp("s", "UTC")), r"row 0 .*outside the years"),
    (pa.array([2**62], pa.timestamp("s")), r"row 0 .*out of bounds"),
    (pa.array([0, 2932897], pa.date32()), r"row 1 .*outside the years"),
    (pa.array([86_400_000_000], pa.time64("us")), r"row 0 .*outside 00:00"),
    (pa.array([2**62], pa.duration("s")), r"row 0 .*out of bounds"),
    (pa.array([{"a": float("nan")}]), r"row 0 .*no JSON form"),
    (pa.array([{"a": "\0"}]), r"row 0 .*NUL"),
    (pa.array([{"a": b"x"}]), r"row 0 .*no JSON form"),
    (pa.array([[("k", 1), ("k", 2)]], pa.map_(pa.string(), pa.int8())), r"row 0 .*duplicate"),
]


@pytest.mark.parametrize(("array", "message"), VALUES, ids=[v[1] for v in VALUES])
def test_value(transfer: Transfer, array: pa.Array, message: str) -> None:
    with pytest.raises(UnsupportedDataError, match=r"Column `bad`, " + message):
        transfer.write(pa.table({"good": pa.nulls(len(array)), "bad": array}))
    assert not transfer.exists()


def test_the_row_is_counted_through_all_batches(transfer: Transfer) -> None:
    texts = ["ok"] * 200_000
    texts[123_456] = "not\0ok"
    with pytest.raises(UnsupportedDataError, match="row 123456 "):
        transfer.write(pa.table({"bad": texts}))
    assert not transfer.exists()


def test_a_zero_byte_under_a_null_is_no_value(transfer: Transfer) -> None:
    text = pa.py_buffer(b"a\0b")
    offsets = pa.py_buffer(np.array([0, 1, 2, 3], dtype=np.int32))
    validity = pa.py_buffer(bytes([0b101]))
    array = pa.StringArray.from_buffers(3, offsets, text, validity)
    assert transfer.round_trip(pa.table({"x": array}))["x"].to_pylist() == ["a", None, "b"]


def test_a_long_value_is_shortened_in_the_message(transfer: Transfer) -> None:
    with pytest.raises(UnsupportedDataError) as caught:
        transfer.write(pa.table({"bad": ["\0" + "x" * 10_000]}))
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    "kind", [pa.list_(pa.month_day_nano_interval()), pa.dense_union([pa.field("a", pa.int8())])]
)
def test_a_type_without_a_counterpart(transfer: Transfer, kind: pa.DataType) -> None:
    if pa.types.is_list(kind):
        transfer.write(pa.table({"x": pa.nulls(1, kind)}))
        assert transfer.types() == {"x": "interval[]"}
        return
    array = pa.UnionArray.from_dense(
        pa.array([0], pa.int8()), pa.array([0], pa.int32()), [pa.array([1], pa.int8())]
    )
    with pytest.raises(UnsupportedDataError, match=r"Column `bad`: .*no type for the Arrow type"):
        transfer.write(pa.table({"bad": array}))
    assert not transfer.exists()


MIXED: list[tuple[list[Any], str]] = [
    ([1, None, "x"], r"Column `bad` mixes the types int \(row 0: 1\) and str \(row 2: 'x'\)"),
    ([1, 2.5], r"mixes the types int .* and float"),
    ([dt.date(2020, 1, 1), dt.datetime(2020, 1, 1)], r"mixes the types date .* and datetime"),
    ([None, object], r"holds objects of the type type \(row 1"),
    ([1, 2**63], r"row 1 .*9223372036854775808.*integer"),
    (["a", "\ud800"], r"row 1 .*surrogates"),
    ([dt.time(1, tzinfo=dt.UTC)], r"row 0 .*time zone"),
    ([dt.datetime(2020, 1, 1), dt.datetime(2020, 1, 1, tzinfo=dt.UTC)], r"mixed"),
    ([pd.Timestamp("2020-01-01 00:00:00.000000001")], r"row 0 .*below the microsecond"),
    ([{1: "a"}], r"row 0 .*key 1 is not a string"),
    ([{"a": {1, 2}}], r"row 0 .*no JSON form"),
    ([Decimal("1E+80")], r"row 0"),
]


@pytest.mark.parametrize(("values", "message"), MIXED, ids=[case[1] for case in MIXED])
def test_python_objects(values: list[Any], message: str) -> None:
    with pytest.raises(UnsupportedDataError, match=r"Column `bad`.*" + message.split("`bad` ")[-1]):
        to_reader(pd.DataFrame({"bad": pd.Series(values, dtype=object)}))


@pytest.mark.parametrize(
    "column", [pd.Series([1j]), pd.Series(pd.period_range("2020", periods=1, freq="M"))]
)
def test_a_pandas_dtype_without_a_counterpart(transfer: Transfer, column: Any) -> None:
    with pytest.raises(UnsupportedDataError, match="Column `bad`"):
        transfer.write(pd.DataFrame({"bad": column}))


@pytest.mark.parametrize(
    "frame",
    [
        pd.DataFrame({"x": [1, 2]}, index=pd.Index([1, 2], name="id")),
        pd.DataFrame({"x": [1, 2]}, index=["a", "b"]),
        pd.DataFrame({"x": [1, 2]}, index=pd.MultiIndex.from_tuples([(1, 2), (3, 4)])),
    ],
    ids=["named", "labels", "several levels"],
)
def test_a_pandas_index_that_carries_data(frame: pd.DataFrame) -> None:
    with pytest.raises(UnsupportedDataError, match=r"reset_index\(\)"):
        to_reader(frame)


def test_a_row_that_is_too_wide_for_postgresql(transfer: Transfer) -> None:
    table = pa.table({f"c{n}": ["x" * 100] for n in range(1000)})
    with pytest.raises(UnsupportedDataError, match="row is too big"):
        transfer.write(table)
    assert not transfer.exists()


def test_no_frame_at_all() -> None:
    with pytest.raises(UnsupportedDataError, match=r"builtins\.list is no frame"):
        to_reader([1, 2])
