"""Tables that SQL made: each PostgreSQL type reads as one Arrow type, without a silent change."""

import datetime as dt
import uuid
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from data_pipeline.errors import TableNotFoundError, UnsupportedDataError
from data_pipeline_tests.transfer.conftest import Transfer

UUID = "12345678-1234-5678-1234-567812345678"

CASES: list[tuple[str, pa.DataType, Any]] = [
    ("sum(1::bigint)", pa.float64(), 1.0),
    ("avg(1::integer)", pa.float64(), 1.0),
    ("9007199254740993::numeric - 1", pa.float64(), 9007199254740992.0),
    ("'Infinity'::numeric", pa.float64(), float("inf")),
    ("1.5::numeric(60,2)", pa.decimal256(60, 2), Decimal("1.50")),
    ("1.5::numeric(100,2)", pa.float64(), 1.5),
    ("12345::numeric(3,-2)", pa.decimal128(5, 0), Decimal(12300)),
    ("0.00012::numeric(3,5)", pa.decimal128(5, 5), Decimal("0.00012")),
    ("'x'::varchar(3)", pa.string(), "x"),
    ("'x'::name", pa.string(), "x"),
    ("4000000000::oid", pa.int64(), 4_000_000_000),
    ("'10:00:00+02'::timetz", pa.string(), "10:00:00+02"),
    ("'1.2.3.4'::inet", pa.string(), "1.2.3.4/32"),
    ("int4range(1, 3)", pa.string(), "[1,3)"),
    ("B'101'", pa.string(), "101"),
    ("'(1,2)'::point", pa.string(), "(1,2)"),
    ("ROW(1, 'a')::pair", pa.string(), "(1,a)"),
    ("'glad'::mood", pa.string(), "glad"),
    ("ARRAY['glad', NULL]::mood[]", pa.list_(pa.string()), ["glad", None]),
    ("5::smaller", pa.int32(), 5),
    ("1.5::price", pa.decimal128(9, 2), Decimal("1.50")),
    ("ARRAY[1.5, NULL]::price[]", pa.list_(pa.decimal128(9, 2)), [Decimal("1.50"), None]),
    ("'{1,2}'::smalls", pa.list_(pa.int32()), [1, 2]),
    ("'{}'::integer[]", pa.list_(pa.int32()), []),
    ("ARRAY[1.5, NULL]", pa.list_(pa.float64()), [1.5, None]),
    (f"ARRAY['{UUID}', NULL]::uuid[]", pa.list_(pa.uuid()), [uuid.UUID(UUID), None]),
    ("ARRAY['{}', NULL]::jsonb[]", pa.list_(pa.string()), ["{}", None]),
    ("ARRAY['1 day']::interval[]", pa.list_(pa.duration("us")), [dt.timedelta(days=1)]),
    ("'1 day 25:00'::interval", pa.duration("us"), dt.timedelta(days=2, hours=1)),
    ("'-3000000 hours'::interval", pa.duration("us"), dt.timedelta(hours=-3_000_000)),
]


@pytest.fixture
def own_types(transfer: Transfer) -> Transfer:
    for statement in (
        "CREATE TYPE mood AS ENUM ('sad', 'glad')",
        "CREATE TYPE pair AS (a integer, b text)",
        "CREATE DOMAIN small AS integer",
        "CREATE DOMAIN smaller AS small",
        "CREATE DOMAIN smalls AS integer[]",
        "CREATE DOMAIN price AS numeric(9,2)",
    ):
        transfer.execute(statement)
    return transfer


@pytest.mark.parametrize(("sql", "kind", "value"), CASES, ids=[case[0] for case in CASES])
def test_type(own_types: Transfer, sql: str, kind: pa.DataType, value: Any) -> None:
    version = own_types.execute("SELECT current_setting('server_version_num')::integer")[0][0]
    if version < 150000 and ("(3,-2)" in sql or "(3,5)" in sql):
        pytest.skip("needs PostgreSQL 15: a numeric scale outside 0 to the precision")
    own_types.execute(f"CREATE TABLE t AS SELECT {sql} AS x")
    own_types.execute("INSERT INTO t VALUES (NULL)")
    table = own_types.read()
    assert table.schema == pa.schema([("x", kind)])
    assert table["x"].to_pylist() == [value, None]


REFUSED: list[tuple[str, str]] = [
    ("9007199254740993::numeric", "float64"),
    ("'1e400'::numeric", "float64"),
    ("'NaN'::numeric(9,2)", "'nan'"),
    ("'infinity'::date", "infinite"),
    ("'-infinity'::date", "infinite"),
    ("'infinity'::timestamp", "infinite"),
    ("'-infinity'::timestamptz", "infinite"),
    ("'0044-03-15 BC'::timestamp", "outside the years"),
    ("'10000-01-01'::date", "outside the years"),
    ("'24:00'::time", "outside 00:00"),
    ("'1 month'::interval", "months or years"),
    ("make_interval(days => 2000000000)", "longer than 64 bits"),
    ("ARRAY[[1, 2], [3, 4]]", "several dimensions"),
    ("ARRAY['infinity'::date]", "infinite"),
]


@pytest.mark.parametrize(("sql", "message"), REFUSED, ids=[case[0] for case in REFUSED])
def test_a_value_that_arrow_or_python_cannot_hold(
    transfer: Transfer, sql: str, message: str
) -> None:
    transfer.execute(f"CREATE TABLE t AS SELECT NULL::integer AS a, {sql} AS x")
    transfer.execute("TRUNCATE t")
    transfer.execute("INSERT INTO t DEFAULT VALUES")
    transfer.execute(f"INSERT INTO t (x) SELECT {sql}")
    with pytest.raises(UnsupportedDataError, match=rf"`public.t`, column `x`, row 1 .*{message}"):
        transfer.read()


def test_a_view(transfer: Transfer) -> None:
    transfer.execute("CREATE VIEW t AS SELECT 1::smallint AS x")
    assert transfer.read().equals(pa.table({"x": pa.array([1], pa.int16())}))


def test_dropped_columns_are_left_out(transfer: Transfer) -> None:
    transfer.execute('CREATE TABLE t (a integer, b integer, "C c" integer)')
    transfer.execute("ALTER TABLE t DROP COLUMN b")
    assert transfer.read().schema.names == ["a", "C c"]


def test_a_relation_that_is_not_there(transfer: Transfer) -> None:
    with pytest.raises(TableNotFoundError, match=r"no table or view `public\.t`"):
        transfer.read()
