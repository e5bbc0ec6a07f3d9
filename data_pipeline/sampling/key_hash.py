"""A hash of the primary key that is the same in PostgreSQL and on frames in memory.

The rule, for a key of one or more columns: start with the salt, and let each column in turn give
`hash(column, seed = the hash so far)`, where `hash` is one of PostgreSQL's extended hash functions.
Every type is first brought into one of five canonical forms:

| column                    | canonical form                         | hash function           |
|---------------------------|----------------------------------------|-------------------------|
| integers, boolean         | bigint                                 | hashint8extended        |
| date, time, timestamp(tz) | timestamp (UTC; times: on 2000-01-01)  | timestamp_hash_extended |
| real, double precision    | double precision                       | hashfloat8extended      |
| text, varchar, char, enum | text COLLATE "C"                       | hashtextextended        |
| uuid, numeric, bytea      | text (trimmed numerals, bytes as hex)  | hashtextextended        |
| interval                  | itself (its length: days of 24 hours)  | interval_hash_extended  |
| json, inet, bits, arrays  | text, as PostgreSQL shows them         | hashtextextended        |
| ranges, other arrays,     | PostgreSQL's own hash of them, with    | hashint8extended        |
| time with zone, macaddr   | the seed 0                             |                         |

All of these exist from PostgreSQL 14 on. The database must be encoded in UTF8. A NULL hashes as a
fixed value of its form. Arrays are text if their elements look the same in all sessions. Frames
hold json, arrays and ranges in many ways, so copy filters in memory choose no rows by them. Sampled
rows depend on these rules, so they never change.

Rows are chosen by the lower half of the hash: in lookup3 it is the better mixed one. With the upper
half, consecutive integers would make samples visibly different from simple random ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from data_pipeline.errors import ConfigurationError, UnsupportedDataError
from data_pipeline.store.table_properties import KEY_DECLARATION

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa


NULL_INT8 = -(2**63)
"""What a NULL in a number, boolean, date or time is hashed as (as a timestamp: -infinity)."""
NULL_TEXT = "NULL"
"""What a NULL in a text, numeric, uuid or bytea is hashed as."""
NULL_INTERVAL_DAYS = -106_751_991
"""What a NULL in an interval is hashed as: about the shortest one in microseconds of 64 bits."""

_DIALECT = postgresql.dialect()  # type: ignore[no-untyped-call] # SQLAlchemy leaves it untyped
_WITHOUT_KEY = (
    " The table has no primary key, so its rows are told by all columns: declare one, "
    f"{KEY_DECLARATION}, and other columns do not matter."
)
_BATCH_ROWS = 65_536  # keeps the intermediate arrays of one batch in the processor's cache


@dataclass(frozen=True)
class _Form:
    """A canonical form in SQL: its hash function, and the constant that stands for NULL."""

    function: str
    null: str


_INT8 = _Form("hashint8extended", f"CAST('{NULL_INT8}' AS BIGINT)")
_TIMESTAMP = _Form("timestamp_hash_extended", "TIMESTAMP '-infinity'")
_FLOAT8 = _Form("hashfloat8extended", "CAST('NaN' AS DOUBLE PRECISION)")
_TEXT = _Form("hashtextextended", f"'{NULL_TEXT}'")
_INTERVAL = _Form("interval_hash_extended", f"INTERVAL '{NULL_INTERVAL_DAYS} days'")

_SHOWN_ALIKE = (sa.Integer, sa.Boolean, sa.String, sa.Uuid, sa.JSON)
"""Elements of arrays whose text no setting of a session changes."""

_HASHES = (
    (sa.ARRAY, "hash_array_extended"),
    (postgresql.ranges.AbstractSingleRange, "hash_range_extended"),
    (postgresql.ranges.AbstractMultiRange, "hash_multirange_extended"),
    (sa.Time, "timetz_hash_extended"),  # without a time zone they have a form of their own
    (postgresql.MACADDR, "hashmacaddrextended"),
    (postgresql.MACADDR8, "hashmacaddr8extended"),
)
"""Types that PostgreSQL hashes as it compares them, whatever the session. (Some of these hashes
forget their seed, as those of empty arrays do, so it comes in afterwards.)"""


def key_hash_sql(columns: Sequence[sa.ColumnElement[Any]], salt: int) -> sa.ColumnElement[int]:
    """Return an SQL expression for the hash of a key; it is never NULL, and is parallel safe.

    Args:
        columns: The columns of the key, in the key's order. Their types choose the rule.
        salt: Makes independent samples; within the range of bigint.

    Returns:
        A bigint, equal to what `key_hash` gives for the same values.

    Raises:
        ConfigurationError: There is no column, a column's type has no rule, or the salt is out of
            range.
    """
    _check(columns, salt)
    hashed: sa.ColumnElement[int] = sa.cast(sa.literal(salt, sa.BigInteger), sa.BigInteger)
    for column in columns:
        form, value = _canonical(column, column.type)
        value = sa.func.coalesce(value, sa.literal_column(form.null, value.type))
        if form is _TEXT:
            value = sa.collate(value, "C")
        hashed = getattr(sa.func, form.function)(value, hashed, type_=sa.BigInteger)
    return hashed


def check_hashable(
    table: object, columns: Sequence[sa.ColumnElement[Any]], *, has_key: bool
) -> None:
    """Check that rows can be told by the hash of some columns.

    Args:
        table: Whose columns they are, for messages.
        columns: The columns of its primary key, or all.
        has_key: Whether there is a primary key.

    Raises:
        ConfigurationError: A column's type has no rule.
    """
    for column in columns:
        try:
            _canonical(column, column.type)
        except ConfigurationError as error:
            hint = "" if has_key else _WITHOUT_KEY
            raise ConfigurationError(f"Table `{table}`: {error}{hint}") from None


def key_hash(columns: Sequence[pa.Array | pa.ChunkedArray], salt: int) -> npt.NDArray[np.int64]:
    """Hash the key of every row in memory.

    Args:
        columns: The columns of the key, in the key's order and of equal length.
        salt: Makes independent samples; within the range of bigint.

    Returns:
        One hash a row, equal to what `key_hash_sql` gives in the table that the columns would be
        loaded into.

    Raises:
        ConfigurationError: There is no column, or the salt is out of range.
        UnsupportedDataError: A column's type has no rule, PostgreSQL cannot hold one of its
            values, or the columns differ in length.
    """
    import numpy as np
    import pyarrow as pa

    from data_pipeline.sampling.key_hash_of_arrays import hash_column

    _check(columns, salt)
    lengths = [len(column) for column in columns]
    if len(set(lengths)) > 1:
        raise UnsupportedDataError(
            f"The columns of a key have different lengths: {lengths}. Take them from one frame."
        )
    table = pa.table(list(columns), names=[str(number) for number in range(len(columns))])
    seeds = np.array([salt], dtype=np.int64).view(np.uint64)
    hashes = [np.zeros(0, dtype=np.uint64)]
    for batch in table.to_batches(max_chunksize=_BATCH_ROWS):
        hashed = seeds
        for column in batch.columns:
            hashed = hash_column(column, hashed)
        hashes.append(hashed)
    return np.concatenate(hashes).view(np.int64)


def permanent_random_sql(
    columns: Sequence[sa.ColumnElement[Any]], salt: int
) -> sa.ColumnElement[int]:
    """Return an SQL expression for a random number that a key keeps forever.

    It is uniform over the range of bigint in steps of 2^32. Rows below `hash_threshold(rate)` are
    the sample of that rate; ordered by it, the first n rows are a random sample of size n.

    Args and errors are those of `key_hash_sql`.
    """
    return key_hash_sql(columns, salt).bitwise_lshift(sa.literal_column("32", sa.Integer))


def permanent_random(
    columns: Sequence[pa.Array | pa.ChunkedArray], salt: int
) -> npt.NDArray[np.int64]:
    """Return the numbers of `permanent_random_sql` in memory.

    Args and errors are those of `key_hash`.
    """
    import numpy as np

    return key_hash(columns, salt) << np.int64(32)


def hash_threshold(rate: float) -> int | None:
    """Return the number that the permanent random numbers of chosen rows lie below.

    It grows with the rate, so a larger rate keeps every row that a smaller one chose.

    Args:
        rate: The share of rows to choose, from 0 to 1; taken down to a multiple of 2^-32.

    Returns:
        A bigint, or None for a rate of 1, which chooses all rows.

    Raises:
        ConfigurationError: The rate is not a number from 0 to 1.
    """
    if not 0 <= rate <= 1:
        raise ConfigurationError(
            f"A sampling rate of {rate} is impossible. Give a number from 0 (no rows) to 1 (all)."
        )
    if rate == 1:
        return None
    return (int(Fraction(rate) * 2**32) << 32) - 2**63


def sampled_sql(
    columns: Sequence[sa.ColumnElement[Any]], rate: float, salt: int
) -> sa.ColumnElement[bool]:
    """Return an SQL condition that holds for the rows that are chosen at a rate.

    Args and errors are those of `key_hash_sql` and `hash_threshold`.
    """
    number = permanent_random_sql(columns, salt)
    threshold = hash_threshold(rate)
    if threshold is None:
        return sa.true()
    return number < sa.cast(sa.literal(threshold, sa.BigInteger), sa.BigInteger)


def sampled_mask(
    columns: Sequence[pa.Array | pa.ChunkedArray], rate: float, salt: int
) -> npt.NDArray[np.bool_]:
    """Mark the rows that are chosen at a rate: the same ones that `sampled_sql` chooses.

    Args and errors are those of `key_hash` and `hash_threshold`.
    """
    import numpy as np

    numbers = permanent_random(columns, salt)
    threshold = hash_threshold(rate)
    if threshold is None:
        return np.ones(len(numbers), dtype=np.bool_)
    return numbers < threshold


def _check(columns: Sequence[object], salt: int) -> None:
    if not columns:
        raise ConfigurationError(
            "A key without columns cannot be hashed. Declare a primary key for the table, or name "
            "the columns to sample by."
        )
    if not -(2**63) <= salt < 2**63:
        raise ConfigurationError(
            f"The salt {salt} does not fit into PostgreSQL's bigint. Give one from -2^63 to 2^63-1."
        )


def _canonical(
    column: sa.ColumnElement[Any], type_: sa.types.TypeEngine[Any]
) -> tuple[_Form, sa.ColumnElement[Any]]:
    match type_:
        case postgresql.DOMAIN():
            return _canonical(column, type_.data_type)
        case sa.Interval() | postgresql.INTERVAL():  # the former is a type decorator
            return _INTERVAL, column
        case sa.types.TypeDecorator():
            return _canonical(column, type_.load_dialect_impl(_DIALECT))
        case sa.Boolean():  # PostgreSQL casts booleans to integer only
            return _INT8, sa.cast(sa.cast(column, sa.Integer), sa.BigInteger)
        case sa.Integer():
            return _INT8, sa.cast(column, sa.BigInteger)
        case sa.Float():
            return _FLOAT8, sa.cast(column, sa.Double)
        case sa.Numeric():
            return _TEXT, sa.cast(sa.func.trim_scale(column), sa.Text)
        case sa.DateTime(timezone=True):
            utc = sa.func.timezone(sa.literal_column("'UTC'"), column)
            return _TIMESTAMP, sa.type_coerce(utc, sa.DateTime)
        case sa.DateTime() | sa.Date():
            return _TIMESTAMP, sa.cast(column, sa.DateTime)
        case sa.Time(timezone=False):
            moment = sa.literal_column("DATE '2000-01-01'", sa.Date).op("+")(column)
            return _TIMESTAMP, sa.type_coerce(moment, sa.DateTime)
        case sa.LargeBinary():
            return _TEXT, sa.func.encode(column, sa.literal_column("'hex'"), type_=sa.Text)
        case sa.String() | sa.Uuid(native_uuid=True):
            return _TEXT, sa.cast(column, sa.Text)
        case sa.JSON() | postgresql.INET() | postgresql.CIDR() | postgresql.BIT():
            return _TEXT, sa.cast(column, sa.Text)
        case sa.ARRAY() if isinstance(type_.item_type, _SHOWN_ALIKE):
            return _TEXT, sa.cast(column, sa.Text)
        case sa.ARRAY() if isinstance(type_.item_type, sa.types.NullType):
            raise _unsupported(column, type_)
        case _:
            for kind, function in _HASHES:
                if isinstance(type_, kind):
                    seed = sa.literal_column("0", sa.BigInteger)
                    return _INT8, getattr(sa.func, function)(column, seed, type_=sa.BigInteger)
    raise _unsupported(column, type_)


def _unsupported(
    column: sa.ColumnElement[Any], type_: sa.types.TypeEngine[Any]
) -> ConfigurationError:
    name = getattr(column, "name", None) or str(column)
    return ConfigurationError(
        f'Column "{name}" of type {type_!r} cannot be hashed for sampling. Sample by columns of '
        "integers, floats, numeric, boolean, text, enum, date, time, timestamp, interval, range, "
        "uuid or bytea, or cast the column to one of them."
    )
