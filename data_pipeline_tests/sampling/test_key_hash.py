"""A primary key hashes to the same number in PostgreSQL and on frames in memory."""

import datetime as dt
import uuid
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.dialects import postgresql

from data_pipeline.sampling.key_hash import key_hash, key_hash_sql

INT64 = st.integers(-(2**63), 2**63 - 1)
TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=60)
DECIMALS = st.builds(
    lambda digits, scale: Decimal(digits).scaleb(-scale, context=None),
    st.integers(-(10**26) + 1, 10**26 - 1),
    st.integers(0, 12),
)
EAST = dt.timezone(dt.timedelta(hours=5, minutes=45))


class Kind:
    """A type of key: in PostgreSQL, in Arrow, its values, and their spelling in SQL."""

    def __init__(
        self,
        name: str,
        sql_type: sa.types.TypeEngine[Any],
        arrow_type: pa.DataType,
        values: st.SearchStrategy[Any],
        edges: Sequence[Any],
        spell: Callable[[Any], str] = str,
    ) -> None:
        self.name, self.sql_type, self.arrow_type = name, sql_type, arrow_type
        self.values, self.edges, self.spell = values, list(edges), spell

    def __repr__(self) -> str:
        return self.name


KINDS = [
    Kind("smallint", sa.SmallInteger(), pa.int16(), st.integers(-(2**15), 2**15 - 1), [0, -1]),
    Kind("integer", sa.Integer(), pa.int32(), st.integers(-(2**31), 2**31 - 1), [0, -1, -(2**31)]),
    Kind("bigint", sa.BigInteger(), pa.int64(), INT64, [0, -1, 2**32, 2**63 - 1, -(2**63)]),
    Kind("boolean", sa.Boolean(), pa.bool_(), st.booleans(), [True, False]),
    Kind(
        "text", sa.Text(), pa.string(), TEXT, ["", " ", "é", "日本" * 999, "a\\N\n'\"", "😀 %s :x"]
    ),
    Kind("varchar", sa.String(5000), pa.large_string(), TEXT, ["", *("x" * n for n in range(40))]),
    Kind("numeric", sa.Numeric(), pa.decimal128(38, 12), DECIMALS, [Decimal(0), Decimal("1e-12")]),
    Kind("double", sa.Double(), pa.float64(), st.floats(), [0.0, -0.0, np.nan, np.inf, -5e-324]),
    Kind("real", sa.REAL(), pa.float32(), st.floats(width=32), [0.0, -0.0, np.nan, -np.inf, 0.5]),
    Kind(
        "date", sa.Date(), pa.date32(), st.dates(), [dt.date.min, dt.date.max, dt.date(2000, 1, 1)]
    ),
    Kind("time", sa.Time(), pa.time64("us"), st.times(), [dt.time.min, dt.time.max]),
    Kind(
        "timestamp",
        sa.DateTime(),
        pa.timestamp("us"),
        st.datetimes(),
        [dt.datetime.min, dt.datetime.max, dt.datetime(1999, 12, 31, 23, 59, 59, 999999)],
    ),
    Kind(
        "timestamptz",
        sa.DateTime(timezone=True),
        pa.timestamp("us", tz="Asia/Kathmandu"),
        st.datetimes(dt.datetime(1, 1, 3), dt.datetime(9999, 12, 29), timezones=st.just(EAST)),
        [dt.datetime(2000, 1, 1, tzinfo=dt.UTC)],
    ),
    Kind("uuid", sa.Uuid(), pa.uuid(), st.uuids(), [uuid.UUID(int=0), uuid.UUID(int=2**128 - 1)]),
    Kind(
        "bytea", sa.LargeBinary(), pa.binary(), st.binary(), [b"", b"\0"], lambda v: f"\\x{v.hex()}"
    ),
]
by_name = {kind.name: kind for kind in KINDS}


@pytest.fixture(scope="module")
def connection(server_url: sa.URL) -> Iterator[sa.Connection]:
    """A connection in another time zone than UTC, which must not matter."""
    engine = sa.create_engine(server_url, poolclass=sa.NullPool)
    with engine.connect() as opened:
        opened.execute(sa.text("SET TIME ZONE 'America/St_Johns'"))
        yield opened


def hashed_by_postgres(
    connection: sa.Connection, kinds: Sequence[Kind], rows: Sequence[Sequence[Any]], salt: int
) -> list[int]:
    """Hash rows of values in one query, which casts them from their spelling."""
    names = [f"key {number}" for number in range(len(kinds))]
    spelled = [
        sa.literal([None if row[i] is None else kind.spell(row[i]) for row in rows], TEXT_ARRAY)
        for i, kind in enumerate(kinds)
    ]
    unnested = sa.func.unnest(*(sa.cast(column, TEXT_ARRAY) for column in spelled))
    values = unnested.table_valued(*names, with_ordinality="row", name="v").render_derived()
    columns = [sa.cast(values.c[name], k.sql_type) for name, k in zip(names, kinds, strict=True)]
    query = sa.select(key_hash_sql(columns, salt)).order_by(values.c.row)
    return list(connection.execute(query).scalars())


def hashed_in_memory(kinds: Sequence[Kind], rows: Sequence[Sequence[Any]], salt: int) -> list[int]:
    columns = [arrow([row[i] for row in rows], kind) for i, kind in enumerate(kinds)]
    return [int(value) for value in key_hash(columns, salt)]


def arrow(values: Sequence[Any], kind: Kind) -> pa.Array:
    if kind.arrow_type == pa.float32():
        values = [None if value is None else np.float32(value) for value in values]
    return pa.array(values, kind.arrow_type)


@pytest.fixture(autouse=True)
def time_zones(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets Arrow heed them, though pandera may be imported."""
    monkeypatch.delenv("PYARROW_IGNORE_TIMEZONE", raising=False)


TEXT_ARRAY = postgresql.ARRAY(sa.Text)
quick = settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.mark.parametrize("kind", KINDS, ids=repr)
@quick
@given(data=st.data(), salt=INT64)
def test_a_key_of_one_column(
    connection: sa.Connection, kind: Kind, data: st.DataObject, salt: int
) -> None:
    drawn = data.draw(st.lists(st.none() | kind.values, min_size=20, max_size=50))
    rows = [[value] for value in [*kind.edges, None, *drawn]]
    expected = hashed_by_postgres(connection, [kind], rows, salt)
    assert hashed_in_memory([kind], rows, salt) == expected


@settings(quick, max_examples=25)
@given(data=st.data(), salt=INT64 | st.just(0))
def test_a_key_of_several_columns(
    connection: sa.Connection, data: st.DataObject, salt: int
) -> None:
    kinds = data.draw(st.lists(st.sampled_from(KINDS), min_size=2, max_size=5))
    row = st.tuples(*(st.none() | st.sampled_from(k.edges) | k.values for k in kinds))
    rows = data.draw(st.lists(row, min_size=5, max_size=20))
    expected = hashed_by_postgres(connection, kinds, rows, salt)
    assert hashed_in_memory(kinds, rows, salt) == expected


@pytest.mark.parametrize("salt", [0, 42, -1, 2**63 - 1, -(2**63)])
def test_a_single_integer_key_is_hashed_by_hashint8extended_itself(
    connection: sa.Connection, salt: int
) -> None:
    query = sa.text(
        "SELECT hashint8extended(i, CAST(:salt AS bigint)) FROM generate_series(1, 9) i"
    )
    expected = list(connection.execute(query, {"salt": str(salt)}).scalars())
    assert key_hash([pa.array(range(1, 10))], salt).tolist() == expected


def test_the_order_of_columns_matters() -> None:
    first, second = pa.array([1, 2, 3]), pa.array([4, 5, 6])
    assert not (key_hash([first, second], 0) == key_hash([second, first], 0)).any()


def test_numbers_of_equal_value_hash_alike_whatever_their_scale(connection: sa.Connection) -> None:
    def in_postgres(value: str, scale: int) -> int:
        column = sa.cast(sa.literal(value, sa.Text), sa.Numeric(38, scale))
        return connection.execute(sa.select(key_hash_sql([column], 7))).scalar_one()

    def in_memory(value: str, type_: pa.DataType) -> int:
        return int(key_hash([pa.array([Decimal(value)], type_)], 7)[0])

    hundred = {in_postgres("100", scale) for scale in (0, 1, 30)}
    hundred |= {in_memory("100", pa.decimal128(38, scale)) for scale in (0, 2, 20)}
    hundred |= {in_memory("100", type_) for type_ in (pa.decimal256(76, 60), pa.decimal32(9, 3))}
    hundred |= {in_memory("100", pa.decimal128(9, -2))}
    assert len(hundred) == 1


# These hashes decide which rows every existing sample holds: they must never change.
KNOWN: dict[str, dict[Any, int]] = {
    "bigint": {0: -8162688053457160230, 1: 2207685931686633351, 2**40: 583321005372805026},
    "boolean": {True: 2207685931686633351},
    "text": {"": 6158832220375811857, "Grüße aus Köln": -3428221945719023520},
    "numeric": {Decimal("1.50"): 2949353849907782230, Decimal(-3): 8030894070264825638},
    "double": {0.5: -4708604478364734423, float("nan"): -4570345281452345396, -0.0: 42},
    "date": {dt.date(2024, 2, 29): -7167796337859039065},
    "timestamp": {dt.datetime(2024, 2, 29): -7167796337859039065},
    "time": {dt.time(12, 30): -1986648784814683172},
    "uuid": {uuid.UUID(int=1): -1577782181478541141},
    "bytea": {b"\x00\xff": -4107327179325787715},
}


def test_the_rule_never_changes() -> None:
    for name, known in KNOWN.items():
        keys = arrow(list(known), by_name[name])
        assert key_hash([keys], 42).tolist() == list(known.values()), name
    composite = [pa.array([1, 2]), pa.array(["EWR", None])]
    assert key_hash(composite, 42).tolist() == [5610739497604829384, 1847052184840471165]
