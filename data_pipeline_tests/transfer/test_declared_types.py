"""`types=` and `nullable=` decide how a column is stored, whatever its Arrow type."""

import datetime as dt
from decimal import Decimal
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

from data_pipeline.errors import ConfigurationError, UnsupportedDataError
from data_pipeline_tests.transfer.conftest import Transfer

UUID = "12345678-1234-5678-1234-567812345678"

CASES: list[tuple[str, pa.Array, list[str | None]]] = [
    ("smallint", pa.array([1, None], pa.int64()), ["1", None]),
    ("bigint", pa.array([1.0, None]), ["1", None]),
    ("bigint", pa.array(["1", None]), ["1", None]),
    ("real", pa.array([0.1, None]), ["0.1", None]),
    ("double precision", pa.array([Decimal("1.5"), None]), ["1.5", None]),
    ("numeric(12,2)", pa.array([1, None], pa.int64()), ["1.00", None]),
    ("numeric(12,2)", pa.array([1.25, None]), ["1.25", None]),
    ("numeric(12,2)", pa.array([Decimal("1.2"), None]), ["1.20", None]),
    ("numeric", pa.array([Decimal("1.2"), None]), ["1.2", None]),
    ("numeric", pa.array([0.1, None]), ["0.1", None]),
    ("text", pa.array([1, None]), ["1", None]),
    ("character varying(3)", pa.array(["abc", None]), ["abc", None]),
    ("uuid", pa.array([UUID, None]), [UUID, None]),
    ("uuid", pa.array([bytes(16), None]), ["00000000-0000-0000-0000-000000000000", None]),
    ("jsonb", pa.array(['{"a":1}', None]), ['{"a": 1}', None]),
    ("json", pa.array(['{"a":1}', None]), ['{"a":1}', None]),
    ("jsonb", pa.array([[1, None], None]), ["[1, null]", None]),
    ("date", pa.array([dt.datetime(2020, 1, 1), None]), ["2020-01-01", None]),
    ("timestamp with time zone", pa.array([dt.datetime(2020, 1, 1)]), ["2020-01-01 00:00:00+00"]),
    ("inet", pa.array(["1.2.3.4", None]), ["1.2.3.4/32", None]),
    ("int4range", pa.array(["[1,3)", None]), ["[1,3)", None]),
    ("smallint[]", pa.array([[1, None], None]), ["{1,NULL}", None]),
    ("uuid", pa.nulls(1), [None]),
]


@pytest.mark.parametrize(("declared", "array", "stored"), CASES, ids=str)
def test_declared_type(
    transfer: Transfer, declared: str, array: pa.Array, stored: list[str | None]
) -> None:
    transfer.execute("SET TIME ZONE 'UTC'")
    transfer.write(pa.table({"a": pa.nulls(len(array)), "x": array}), types={"x": declared})
    assert transfer.types() == {"a": "text", "x": declared}
    assert transfer.execute("SELECT x::text FROM t") == [(value,) for value in stored]


def test_a_type_of_the_users_own(transfer: Transfer) -> None:
    transfer.execute("CREATE TYPE mood AS ENUM ('sad', 'glad')")
    transfer.execute("CREATE DOMAIN small AS integer CHECK (VALUE < 10)")
    table = pa.table({"m": ["glad", None], "s": pa.array([1, 2], pa.int64())})
    transfer.write(table, types={"m": "mood", "s": "small"})
    assert transfer.types() == {"m": "mood", "s": "small"}
    assert transfer.read().to_pylist() == [{"m": "glad", "s": 1}, {"m": None, "s": 2}]


REFUSED: list[tuple[str, pa.Array, str]] = [
    ("smallint", pa.array([1, 40_000]), r"Column `x`, row 1 .*40000.*smallint"),
    ("integer", pa.array([1.0, 1.5]), r"Column `x`, row 1 .*1\.5.*integer"),
    ("numeric(3,2)", pa.array([Decimal("1.20"), Decimal("99.99")]), r"Column `x`, row 1 .*99\.99"),
    ("date", pa.array([dt.datetime(2020, 1, 1, 12)]), r"Column `x`, row 0 .*lose"),
    ("boolean", pa.array([0, 2]), r"Column `x`, row 1 .*lose"),
    ("character varying(2)", pa.array(["abc"]), r"value too long.*x"),
    ("uuid", pa.array(["no"]), r'invalid input syntax for type uuid: "no"'),
    ("jsonb", pa.array(["{"]), r"invalid input syntax for type json"),
    ("inet", pa.array(["no"]), r'invalid input syntax for type inet: "no"'),
    ("point", pa.array([[1]]), r"Column `x`: the Arrow type .* cannot be converted to point"),
]


@pytest.mark.parametrize(("declared", "array", "message"), REFUSED, ids=[r[0] for r in REFUSED])
def test_values_that_do_not_fit(
    transfer: Transfer, declared: str, array: pa.Array, message: str
) -> None:
    with pytest.raises(UnsupportedDataError, match=r"(?s)" + message):
        transfer.write(pa.table({"x": array}), types={"x": declared})
    assert not transfer.exists()


@pytest.mark.parametrize("declared", ["smalint", "serial", "int; DROP TABLE t", "int)", ""])
def test_a_type_that_does_not_exist(transfer: Transfer, declared: str) -> None:
    with pytest.raises(ConfigurationError, match="has no type `"):
        transfer.write(pa.table({"x": [1]}), types={"x": declared})
    assert not transfer.exists()


@pytest.mark.parametrize("options", [{"types": {"y": "text"}}, {"nullable": {"y": False}}])
def test_a_column_that_does_not_exist(transfer: Transfer, options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=r"names the column `y`.*Its columns are: x"):
        transfer.write(pa.table({"x": [1]}), **options)


def test_not_null(transfer: Transfer) -> None:
    transfer.write(pa.table({"x": [1], "y": [1]}), nullable={"x": False, "y": True})
    found = transfer.execute(
        "SELECT attname::text FROM pg_attribute WHERE attrelid = 't'::regclass "
        "AND attnotnull AND attnum > 0"
    )
    assert found == [("x",)]


def test_a_null_that_is_not_allowed(transfer: Transfer) -> None:
    with pytest.raises(UnsupportedDataError, match=r"Column `x`, row 1 .*NULL is not allowed"):
        transfer.write(pd.DataFrame({"x": [1.0, None]}), nullable={"x": False})
    assert not transfer.exists()


@pytest.mark.parametrize(("unlogged", "persistence"), [(True, "u"), (False, "p")])
def test_unlogged(transfer: Transfer, unlogged: bool, persistence: str) -> None:
    transfer.write(pa.table({"x": [1]}), unlogged=unlogged)
    query = "SELECT relpersistence::text FROM pg_class WHERE oid = 't'::regclass"
    assert transfer.execute(query) == [(persistence,)]
