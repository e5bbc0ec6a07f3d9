"""A key hashes alike in every form that frames and tables give it; other types are refused."""

import datetime as dt
import uuid
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import adbc_driver_postgresql.dbapi as adbc
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from data_pipeline.errors import ConfigurationError, UnsupportedDataError
from data_pipeline.sampling.engine.source_tables import hash_alike
from data_pipeline.sampling.key_hash import key_hash, key_hash_sql
from data_pipeline.sampling.plan.schema_graph import Relationship

DAY = dt.datetime(1969, 7, 20, 20, 17, 40)
UUIDS = [uuid.UUID(int=n) for n in (0, 2**127 + 5)]


def same(arrays: Sequence[pa.Array | pa.ChunkedArray]) -> bool:
    hashes = [key_hash([array], 3).tolist() for array in arrays]
    return all(hashed == hashes[0] for hashed in hashes)


@pytest.mark.parametrize(
    ("values", "types"),
    [
        ([0, 1, None], [pa.int64(), pa.int8(), pa.uint8(), pa.uint64(), pa.int16(), pa.uint32()]),
        (["a", "", None], [pa.string(), pa.large_string(), pa.string_view()]),
        (["b", None, "b"], [pa.string(), pa.dictionary(pa.int8(), pa.string())]),
        ([b"\0a", None], [pa.binary(), pa.large_binary(), pa.binary_view(), pa.binary(2)]),
        ([1.5, -0.0, None], [pa.float64(), pa.float32(), pa.float16()]),
        ([DAY, None], [pa.timestamp(unit) for unit in ("s", "ms", "us", "ns")]),
        ([DAY.date(), None], [pa.date32(), pa.date64()]),
        ([DAY.time(), None], [pa.time32("s"), pa.time32("ms"), pa.time64("us"), pa.time64("ns")]),
        ([dt.timedelta(1), None], [pa.duration(unit) for unit in ("s", "ms", "us", "ns")]),
        ([Decimal("1.5"), None], [pa.decimal32(5, 1), pa.decimal64(9, 2), pa.decimal256(50, 9)]),
        ([None, None], [pa.null(), pa.string()]),
    ],
    ids=lambda argument: str(argument[0]),
)
def test_the_arrow_type_does_not_matter(values: list[Any], types: list[pa.DataType]) -> None:
    assert same([pa.array(values, type_) for type_ in types])


def test_booleans_hash_as_numbers_and_dates_as_their_midnight() -> None:
    flags, days = pa.array([True, False, None]), pa.array([DAY.date(), None])
    assert same([flags, pa.array([1, 0, None])])
    assert same([days, days.cast(pa.timestamp("ms"))])


def test_uuids_may_be_held_as_text() -> None:
    assert same([pa.array(UUIDS), pa.array([str(value) for value in UUIDS])])


def test_missing_floats_and_nan_hash_alike_since_frames_mix_them_up() -> None:
    assert same([pa.array([1.0, None]), pa.array([1.0, np.nan])])


@pytest.mark.parametrize(
    "array",
    [
        pa.array(["one", None, "three", "", "a longer text of several blocks"]),
        pa.array([b"one", None, b"three", b"", b"\xff" * 30]),
        pa.array([1, None, 3, 4, 5]),
        pa.array([1.5, None, 3, 4, 5]),
        pa.array([Decimal("1.5"), None, Decimal("-0.5"), Decimal(0), Decimal(10)]),
        pa.array([Decimal(number) for number in range(5)], pa.decimal256(76, 2)),
        pa.array([*UUIDS, None, *UUIDS]),
        pa.array([DAY, None, DAY, DAY, DAY]),
        pa.array([DAY.date(), None, DAY.date(), None, DAY.date()]),
        pa.array([True, None, False, True, True]),
        pa.array(["x", None, "y", "x", "z"]).dictionary_encode(),
    ],
    ids=lambda array: str(array.type),
)
def test_chunks_and_slices_do_not_matter(array: pa.Array) -> None:
    whole = key_hash([array], 5).tolist()
    chunked = pa.chunked_array([array[:2], array[2:2], array[2:]])
    assert key_hash([chunked], 5).tolist() == whole
    assert key_hash([array[2:4]], 5).tolist() == whole[2:4]
    numbers = pa.array(range(5))
    expected = key_hash([array, numbers], 5).tolist()
    assert key_hash([chunked, numbers], 5).tolist() == expected


def test_empty_columns_have_no_hashes() -> None:
    for type_ in (pa.int64(), pa.string(), pa.uuid(), pa.decimal128(5, 2), pa.float64()):
        assert key_hash([pa.array([], type_)], 5).tolist() == []
    assert key_hash([pa.chunked_array([], pa.string())], 5).tolist() == []


def test_pandas_and_polars_frames_hash_like_the_table_they_are_loaded_into(
    database_url: sa.URL, database_dsn: str
) -> None:
    days = [DAY, dt.datetime(2024, 2, 29), dt.datetime(2000, 1, 1)]
    data = {
        "Id": [3, -1, 2],
        'a "Name" %': ["x", "", "Ω"],
        "When": days,
        "FLAG": [True, None, False],
    }
    dtypes = {"Id": "Int64", "FLAG": "boolean", "When": "datetime64[ns]"}
    pandas_table = pa.Table.from_pandas(pd.DataFrame(data).astype(dtypes))
    polars_table = pl.DataFrame(data).to_arrow()
    with adbc.connect(database_dsn) as connection, connection.cursor() as cursor:
        cursor.adbc_ingest("Keys", polars_table, mode="create")
        connection.commit()
    table = sa.Table(
        "Keys", sa.MetaData(), autoload_with=(engine := sa.create_engine(database_url))
    )
    with engine.connect() as connection:
        stored = connection.execute(sa.select(key_hash_sql(list(table.c), 1))).scalars().all()
    engine.dispose()
    for frame in (pandas_table, polars_table):
        assert sorted(key_hash(frame.columns, 1).tolist()) == sorted(stored)


def test_infinite_dates_and_timestamps_read_from_postgresql(database_dsn: str) -> None:
    moments = "SELECT 'infinity'::timestamp AS key UNION ALL SELECT '-infinity'::timestamp"
    days = "SELECT 'infinity'::date AS key UNION ALL SELECT '-infinity'::date"
    for query, type_ in ((moments, sa.DateTime()), (days, sa.Date())):
        hashed = key_hash_sql([sa.column("key", type_)], 9).compile(
            dialect=postgresql.dialect(), compile_kwargs={"literal_binds": True}
        )
        with adbc.connect(database_dsn) as connection, connection.cursor() as cursor:
            cursor.execute(f"SELECT key, {hashed} AS hashed FROM ({query}) AS keys")
            keys, expected = cursor.fetch_arrow_table().columns
        assert key_hash([keys], 9).tolist() == expected.to_pylist()


class UuidText(sa.types.TypeDecorator[uuid.UUID]):
    """A type that a project defines for itself: uuid in PostgreSQL, text elsewhere."""

    impl = sa.CHAR
    cache_ok = True

    def load_dialect_impl(self, dialect: sa.Dialect) -> sa.types.TypeEngine[Any]:
        return dialect.type_descriptor(sa.Uuid() if dialect.name == "postgresql" else sa.CHAR(32))


@pytest.mark.parametrize(
    ("sql_type", "values"),
    [
        (sa.Enum("low", "high", name="Level"), ["high", "low", None]),
        (postgresql.DOMAIN("Positive", sa.Integer, check="VALUE > 0"), [7, None]),
        (sa.CHAR(5), ["ab", ""]),
        (sa.String(9, collation="C"), ["ab", "Ä"]),
        (UuidText(), [*UUIDS, None]),
        (sa.Interval(), [dt.timedelta(40, 3), dt.timedelta(microseconds=-1), None]),
    ],
    ids=lambda argument: type(argument).__name__,
)
def test_types_made_of_others(
    database_url: sa.URL, sql_type: sa.types.TypeEngine[Any], values: list[Any]
) -> None:
    row_number = sa.Column("row", sa.Integer)
    table = sa.Table("keys", sa.MetaData(), row_number, sa.Column("Select", sql_type))
    engine = sa.create_engine(database_url, poolclass=sa.NullPool)
    with engine.begin() as connection:
        table.metadata.create_all(connection)
        rows = [{"row": number, "Select": value} for number, value in enumerate(values)]
        connection.execute(sa.insert(table), rows)
        query = sa.select(key_hash_sql([table.c.Select], 5)).order_by(table.c.row)
        stored = list(connection.execute(query).scalars())
    assert key_hash([pa.array(values)], 5).tolist() == stored


@pytest.mark.parametrize("kind", [sa.Text, postgresql.CITEXT])
def test_references_do_not_hash_alike_where_case_does_not_count(kind: type[sa.Text]) -> None:
    child, parent = (
        sa.Table(name, sa.MetaData(), sa.Column("email", kind())) for name in ("orders", "accounts")
    )
    item = Relationship(0, "orders", ("email",), "accounts", ("email",))
    assert hash_alike(item, child, parent) is (kind is sa.Text)


def test_collations_do_not_matter(database_url: sa.URL) -> None:
    """Without a rule of its own, hashing text of two mixed collations is an error."""
    columns = [sa.Column(name, sa.Text(collation=name)) for name in ("C", "POSIX")]
    table = sa.Table("keys", sa.MetaData(), *columns)
    engine = sa.create_engine(database_url, poolclass=sa.NullPool)
    with engine.begin() as connection:
        table.metadata.create_all(connection)
        connection.execute(sa.insert(table), {"C": "Zür", "POSIX": "ich"})
        mixed = table.c.C + table.c.POSIX
        stored = connection.execute(sa.select(key_hash_sql([mixed], 5))).scalar_one()
    assert key_hash([pa.array(["Zürich"])], 5).tolist() == [stored]


@pytest.mark.parametrize(
    "sql_type",
    [
        sa.ARRAY(sa.types.NullType),
        postgresql.TSVECTOR(),
        sa.Uuid(native_uuid=False),
        sa.types.NullType(),
    ],
    ids=lambda sql_type: type(sql_type).__name__,
)
def test_other_sql_types_are_refused_by_name(sql_type: sa.types.TypeEngine[Any]) -> None:
    with pytest.raises(ConfigurationError) as error:
        key_hash_sql([sa.column("Odd", sql_type)], 0)
    assert str(error.value).startswith(f'Column "Odd" of type {sql_type!r} cannot be hashed')
    assert "cast the column" in str(error.value)


@pytest.mark.parametrize(
    "array",
    [pa.array([[1]]), pa.array([{"a": 1}]), pa.array([(1, 2, 3)], pa.month_day_nano_interval())],
    ids=lambda array: str(array.type),
)
def test_other_arrow_types_are_refused(array: pa.Array) -> None:
    with pytest.raises(UnsupportedDataError) as error:
        key_hash([pa.array([1]), array], 0)
    assert f"type {array.type} cannot be hashed" in str(error.value)


@pytest.mark.parametrize(
    "array",
    [
        pa.array([2**63], pa.uint64()),
        pa.array([2**62], pa.timestamp("s")),
        pa.array([2**31 - 1], pa.int32()).cast(pa.date32()),
    ],
    ids=lambda array: str(array.type),
)
def test_values_outside_of_postgresqls_range_are_refused(array: pa.Array) -> None:
    with pytest.raises(UnsupportedDataError, match="a value that PostgreSQL cannot hold"):
        key_hash([array], 0)


def test_a_key_needs_columns_of_one_length_and_a_salt_in_range() -> None:
    with pytest.raises(ConfigurationError, match="A key without columns"):
        key_hash_sql([], 0)
    with pytest.raises(ConfigurationError, match="A key without columns"):
        key_hash([], 0)
    with pytest.raises(ConfigurationError, match=f"The salt {2**63} does not fit"):
        key_hash([pa.array([1])], 2**63)
    with pytest.raises(UnsupportedDataError, match=r"different lengths: \[1, 2\]"):
        key_hash([pa.array([1]), pa.array([1, 2])], 0)
