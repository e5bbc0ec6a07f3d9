"""For all data: what is written comes back, with the dtypes that the columns have."""

import datetime as dt
import math
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data_pipeline_tests.transfer.conftest import Transfer

# PostgreSQL text is any Unicode without NUL; surrogates are not Unicode text.
TEXT = st.one_of(
    st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])),
    st.sampled_from(["", "\\N", "\\.", "NULL", "NaN", '"', "'", "\n", "\r", "\r\n", "\t", "{}"]),
)
DATETIMES = st.datetimes(dt.datetime.min, dt.datetime.max)
SCALARS: list[tuple[pa.DataType, st.SearchStrategy[Any]]] = [
    (pa.int16(), st.integers(-(2**15), 2**15 - 1)),
    (pa.int32(), st.integers(-(2**31), 2**31 - 1)),
    (pa.int64(), st.integers(-(2**63), 2**63 - 1)),
    (pa.float32(), st.floats(width=32)),
    (pa.float64(), st.floats()),
    (pa.bool_(), st.booleans()),
    (pa.string(), TEXT),
    (pa.binary(), st.binary()),
    (pa.date32(), st.dates()),
    (pa.time64("us"), st.times()),
    (pa.timestamp("us"), DATETIMES),
    (pa.timestamp("us", "UTC"), DATETIMES.map(lambda value: value.replace(tzinfo=dt.UTC))),
    (pa.duration("us"), st.timedeltas(dt.timedelta(days=-(10**8)), dt.timedelta(days=10**8))),
    (pa.decimal128(38, 9), st.decimals(-(10**28), 10**28, places=9)),
    (pa.decimal256(60, 30), st.decimals(-(10**20), 10**20, places=30)),
    (pa.uuid(), st.uuids().map(lambda value: value.bytes)),
]
LISTS = [
    (pa.list_(kind), st.lists(st.none() | values, max_size=4))
    for kind, values in SCALARS
    if kind not in (pa.duration("us"), pa.uuid())
]
# A column of Python objects without any value carries no type.
PANDAS = [(kind, values) for kind, values in SCALARS + LISTS if kind != pa.uuid()]


@st.composite
def tables(draw: st.DrawFn, *, kinds: list[Any]) -> pa.Table:
    rows = draw(st.integers(0, 5))
    chosen = draw(st.lists(st.sampled_from(kinds), min_size=1, max_size=8))
    names = draw(
        st.lists(TEXT.filter(_is_name), min_size=len(chosen), max_size=len(chosen), unique=True)
    )
    arrays = [
        pa.array(draw(st.lists(st.none() | values, min_size=rows, max_size=rows)), kind)
        for kind, values in chosen
    ]
    return pa.Table.from_arrays(arrays, names=names)


def _is_name(text: str) -> bool:
    reserved = {"tableoid", "xmin", "cmin", "xmax", "cmax", "ctid"}
    return 0 < len(text.encode()) <= 63 and text not in reserved


def plain(value: Any) -> Any:
    """NaN equal to itself, -0.0 unlike 0.0, a list compared by its items."""
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, float):
        return (math.isnan(value), math.copysign(1, value) if value == 0 else 1, str(value))
    return value


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(table=tables(kinds=SCALARS + LISTS))
def test_arrow(transfer: Transfer, table: pa.Table) -> None:
    with transfer.undone():
        result = transfer.round_trip(table)
        assert result.schema == table.schema
        assert plain(columns(result)) == plain(columns(table))


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(table=tables(kinds=PANDAS))
def test_pandas(transfer: Transfer, table: pa.Table) -> None:
    with transfer.undone():
        first = transfer.round_trip(table, pd.DataFrame)
        transfer.execute("DROP TABLE t")
        second = transfer.round_trip(first, pd.DataFrame)
        pd.testing.assert_frame_equal(second, first)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(texts=st.lists(st.none() | TEXT))
@pytest.mark.parametrize("dtype", ["object", "str", "string", "category"])
def test_pandas_text(transfer: Transfer, texts: list[str | None], dtype: str) -> None:
    with transfer.undone():
        frame = pd.DataFrame({"x": pd.Series(texts, dtype="object").astype(dtype)})
        result = transfer.round_trip(frame, pd.DataFrame)["x"]
        assert [None if value is pd.NA else value for value in result] == texts


def columns(table: pa.Table) -> list[list[Any]]:
    return [column.to_pylist() for column in table.columns]
