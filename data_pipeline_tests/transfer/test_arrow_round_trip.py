"""Every Arrow type is stored in PostgreSQL's own type, and its values come back."""

import datetime as dt
import math
import uuid
import zoneinfo
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from data_pipeline_tests.transfer.conftest import Transfer

NAN, INF = math.nan, math.inf
ID = uuid.UUID("12345678-1234-5678-1234-567812345678")
UTC = zoneinfo.ZoneInfo("UTC")

# Arrow type, PostgreSQL type, Arrow type when read, values.
CASES: list[tuple[pa.DataType, str, pa.DataType, list[Any]]] = [
    (pa.int8(), "smallint", pa.int16(), [-128, 127]),
    (pa.uint8(), "smallint", pa.int16(), [0, 255]),
    (pa.int16(), "smallint", pa.int16(), [-(2**15), 2**15 - 1]),
    (pa.uint16(), "integer", pa.int32(), [0, 2**16 - 1]),
    (pa.int32(), "integer", pa.int32(), [-(2**31), 2**31 - 1]),
    (pa.uint32(), "bigint", pa.int64(), [0, 2**32 - 1]),
    (pa.int64(), "bigint", pa.int64(), [-(2**63), 2**63 - 1]),
    (pa.uint64(), "bigint", pa.int64(), [0, 2**63 - 1]),
    (pa.float16(), "real", pa.float32(), [1.5, NAN, INF, -INF]),
    (pa.float32(), "real", pa.float32(), [1.5, NAN, INF, -INF]),
    (pa.float64(), "double precision", pa.float64(), [5e-324, 1.7e308, NAN, INF, -INF]),
    (pa.bool_(), "boolean", pa.bool_(), [True, False]),
    (pa.decimal128(10, 2), "numeric(10,2)", pa.decimal128(10, 2), ["1.20", "-99999999.99"]),
    (pa.decimal128(38, 38), "numeric(38,38)", pa.decimal128(38, 38), ["0." + "9" * 38]),
    (pa.decimal128(5, -2), "numeric(7,0)", pa.decimal128(7, 0), ["99900"]),
    (pa.decimal256(76, 3), "numeric(76,3)", pa.decimal256(76, 3), ["9" * 73 + ".001"]),
    (pa.decimal32(5, 2), "numeric(5,2)", pa.decimal128(5, 2), ["-1.20"]),
    (pa.decimal64(15, 0), "numeric(15,0)", pa.decimal128(15, 0), ["9" * 15]),
    (pa.date32(), "date", pa.date32(), [dt.date.min, dt.date.max]),
    (pa.date64(), "date", pa.date32(), [dt.date.min, dt.date.max]),
    (pa.time32("s"), "time without time zone", pa.time64("us"), [dt.time(23, 59, 59)]),
    (pa.time32("ms"), "time without time zone", pa.time64("us"), [dt.time(1, 2, 3, 4000)]),
    (pa.time64("us"), "time without time zone", pa.time64("us"), [dt.time.min, dt.time.max]),
    (pa.time64("ns"), "time without time zone", pa.time64("us"), [dt.time(1, 2, 3, 456789)]),
    (pa.null(), "text", pa.string(), []),
    (pa.string(), "text", pa.string(), ["", "a", "é\U0001f600"]),
    (pa.large_string(), "text", pa.string(), ["", "a"]),
    (pa.string_view(), "text", pa.string(), ["", "a", "longer than twelve bytes"]),
    (pa.dictionary(pa.int8(), pa.string()), "text", pa.string(), ["a", "b", "a"]),
    (pa.dictionary(pa.int8(), pa.int32()), "integer", pa.int32(), [1, 2, 1]),
    (pa.binary(), "bytea", pa.binary(), [b"", b"\0\xff"]),
    (pa.large_binary(), "bytea", pa.binary(), [b"\0\xff"]),
    (pa.binary_view(), "bytea", pa.binary(), [b"longer than twelve bytes"]),
    (pa.binary(2), "bytea", pa.binary(), [b"\0\xff"]),
    (pa.list_(pa.int64()), "bigint[]", pa.list_(pa.int64()), [[1, None, 2**63 - 1], []]),
    (pa.list_(pa.string()), "text[]", pa.list_(pa.string()), [['a"b\\', None, "", "NULL"], []]),
    (pa.large_list(pa.uint8()), "smallint[]", pa.list_(pa.int16()), [[255, None]]),
    (pa.list_(pa.int32(), 2), "integer[]", pa.list_(pa.int32()), [[1, None]]),
    (pa.list_view(pa.int32()), "integer[]", pa.list_(pa.int32()), [[1], [2, 3]]),
    (pa.list_(pa.date32()), "date[]", pa.list_(pa.date32()), [[dt.date.max, None]]),
    (pa.list_(pa.binary()), "bytea[]", pa.list_(pa.binary()), [[b"\0", None]]),
    (
        pa.list_(pa.decimal128(9, 2)),
        "numeric(9,2)[]",
        pa.list_(pa.decimal128(9, 2)),
        [[Decimal("1.20"), None], [], [Decimal("-0.01")]],
    ),
    (
        pa.list_(pa.duration("s")),
        "interval[]",
        pa.list_(pa.duration("us")),
        [[dt.timedelta(seconds=5), None]],
    ),
]
CASES += [
    (pa.timestamp(unit), "timestamp without time zone", pa.timestamp("us"), values)
    for unit, values in (
        ("s", [dt.datetime.min, dt.datetime(9999, 12, 31, 23, 59, 59)]),
        ("ms", [dt.datetime.min, dt.datetime(9999, 12, 31, 23, 59, 59, 999000)]),
        ("us", [dt.datetime.min, dt.datetime.max]),
        ("ns", [dt.datetime(1900, 1, 1), dt.datetime(2200, 1, 1, 0, 0, 0, 1)]),
    )
]
CASES += [
    (
        pa.timestamp(unit, "Asia/Kathmandu"),
        "timestamp with time zone",
        pa.timestamp("us", "UTC"),
        [dt.datetime(1999, 12, 31, 23, 59, 59, tzinfo=UTC)],
    )
    for unit in ("s", "ms", "us", "ns")
]
CASES += [
    (pa.duration(unit), "interval", pa.duration("us"), [dt.timedelta(days=-9, seconds=1)])
    for unit in ("s", "ms", "us", "ns")
]


@pytest.mark.parametrize(("sent", "stored", "received", "values"), CASES, ids=str)
def test_arrow_type(
    transfer: Transfer,
    sent: pa.DataType,
    stored: str,
    received: pa.DataType,
    values: list[Any],
) -> None:
    if pa.types.is_decimal(sent):
        values = [Decimal(value) for value in values]
    column = pa.array([*values, None], sent)

    table = transfer.round_trip(pa.table({"x": column}))

    assert transfer.types() == {"x": stored}
    assert table.schema == pa.schema([("x", received)])
    assert repr(table["x"].to_pylist()) == repr([*values, None])


def test_uuid_and_json_keep_their_types(transfer: Transfer) -> None:
    table = pa.table(
        {
            "u": pa.array([ID.bytes, None], pa.uuid()),
            "j": pa.array(['{"a": [1, null]}', None], pa.json_()),
        }
    )
    assert transfer.round_trip(table).equals(table)
    assert transfer.types() == {"u": "uuid", "j": "jsonb"}


@pytest.mark.parametrize(
    ("kind", "value", "stored"),
    [
        (pa.struct([("a", pa.int8()), ("d", pa.date32())]), {"a": 1, "d": dt.date(2020, 1, 2)},
         '{"a": 1, "d": "2020-01-02"}'),
        (pa.map_(pa.string(), pa.int8()), [("k", 1)], '{"k": 1}'),
        (pa.list_(pa.list_(pa.int8())), [[1, None], []], "[[1, null], []]"),
        (pa.list_(pa.struct([("a", pa.string())])), [{"a": 'é"'}], '[{"a": "é\\""}]'),
    ],
    ids=["struct", "map", "list of lists", "list of structs"],
)  # fmt: skip
def test_nested_values_become_json(
    transfer: Transfer, kind: pa.DataType, value: Any, stored: str
) -> None:
    table = transfer.round_trip(pa.table({"x": pa.array([value, None], kind)}))
    assert transfer.types() == {"x": "jsonb"}
    assert table["x"].to_pylist() == [stored, None]


def test_a_month_day_nano_interval_is_stored_with_its_months(transfer: Transfer) -> None:
    months = pa.array([pa.MonthDayNano([14, 3, 5000]), None])
    transfer.write(pa.table({"x": months}))
    assert transfer.execute("SELECT x::text FROM t") == [
        ("1 year 2 mons 3 days 00:00:00.000005",),
        (None,),
    ]


def test_a_duration_of_centuries_comes_back(transfer: Transfer) -> None:
    longest = dt.timedelta(days=106_000_000, microseconds=1)
    column = pa.array([longest, -longest], pa.duration("us"))
    assert transfer.round_trip(pa.table({"x": column}))["x"].to_pylist() == [longest, -longest]


def test_a_thousand_columns(transfer: Transfer) -> None:
    table = pa.table({f"column {n} %s \"'": pa.array([n, None]) for n in range(1000)})
    assert transfer.round_trip(table).equals(table)


def test_wide_text(transfer: Transfer) -> None:
    table = pa.table({"x": ["é" * 5_000_000, ""]})
    assert transfer.round_trip(table).equals(table)


@pytest.mark.parametrize("rows", [0, 3])
def test_rows_without_columns(transfer: Transfer, rows: int) -> None:
    table = transfer.round_trip(pa.table({"x": pa.nulls(rows)}).select([]))
    assert (table.num_rows, table.num_columns) == (rows, 0)


def test_no_rows(transfer: Transfer) -> None:
    schema = pa.schema([("x", pa.int32()), ("y", pa.string())])
    result = transfer.write(schema.empty_table())
    assert result.rows == 0
    assert transfer.read().equals(schema.empty_table())


def test_slices_and_many_batches_keep_their_rows(transfer: Transfer) -> None:
    whole = pa.table({"x": pa.array(range(200_000)), "s": [f"s{n}" for n in range(200_000)]})
    table = pa.concat_tables([whole.slice(3, 5), whole.slice(7, 150_000), whole.slice(199_999)])
    assert transfer.round_trip(table).equals(table)


def test_the_last_list_of_a_list_view_is_kept(transfer: Transfer) -> None:
    column = pa.array([[1], [2, 3]], pa.list_view(pa.int32()))
    assert transfer.round_trip(pa.table({"x": column}))["x"].to_pylist() == [[1], [2, 3]]
