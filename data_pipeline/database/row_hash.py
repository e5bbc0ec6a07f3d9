"""Rows compared byte by byte inside the database, whatever equality their types have.

The numbers 1.0 and 1.00 differ, and so do 0 and -0, or one month and 30 days.
"""

from collections.abc import Callable, Sequence

import sqlalchemy as sa

from data_pipeline.database.connection import run, with_settings
from data_pipeline.database.identifiers import RelationName, literal, quoted

# What bytes and texts of values depend on. Texts are not converted on their way to an image.
SETTINGS = """
SELECT set_config('client_encoding', current_setting('server_encoding'), true),
       set_config('search_path', '', true),
       set_config('DateStyle', 'ISO, YMD', true),
       set_config('IntervalStyle', 'postgres', true),
       set_config('TimeZone', 'UTC', true),
       set_config('bytea_output', 'hex', true),
       set_config('extra_float_digits', '3', true)
"""
"""The settings under which images of the same rows are the same."""

_UNDEFINED_FUNCTION = "42883"


def row_of(columns: Sequence[str], alias: str) -> str:
    """Return the SQL of a row, with columns one by one: one may be called like the table."""
    return f"ROW({', '.join(f'{alias}.{quoted(name)}' for name in columns)})"


def differs(columns: Sequence[str], one: str, other: str) -> str:
    """Return the SQL that tells whether rows with two aliases differ in any byte."""
    rows = (f"{row_of(columns, alias)}::record" for alias in (one, other))
    return " OPERATOR(pg_catalog.*<>) ".join(rows)


def as_bytes(columns: Sequence[str], alias: str) -> str:
    """Return the SQL of what the server would send of a row, as `bytea`."""
    return f"record_send({row_of(columns, alias)})"


def as_text(columns: Sequence[str], alias: str) -> str:
    """Return the SQL of a row as text, for types that cannot be sent."""
    return f'({row_of(columns, alias)})::text COLLATE "C"'


def cannot_send(error: sa.exc.DBAPIError) -> bool:
    """Whether a statement failed since a type cannot be sent (`as_bytes`)."""
    return getattr(error.orig, "pgcode", None) == _UNDEFINED_FUNCTION


_COLUMNS = """
SELECT attname::text FROM pg_attribute
WHERE attrelid = {relation}::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum
"""
_FIRST_OF_USERS = 16384  # FirstNormalObjectId in PostgreSQL's source


def row_hash(connection: sa.Connection, relation: RelationName) -> str:
    """Return the hash of all rows of a table.

    Use it to tell whether a table was rebuilt to the same rows. A full read of the table: 0.3 to
    0.95 times what it takes to create it, the most over a bare copy (`benchmarks/content.py`).
    """
    with with_settings(connection, SETTINGS):
        names = run(connection, _COLUMNS.format(relation=literal(relation.quoted))).scalars().all()

        def total(hashed: str, kind: str) -> str:
            with connection.begin_nested():
                return _sum(connection, relation, hashed, kind)

        return _of_bytes_or_texts(names, total)


def row_hash_alone(session: sa.Connection, relation: RelationName, columns: Sequence[str]) -> str:
    """Return the hash of all rows of a table of which the columns are known, in one statement.

    Args:
        session: A session that commits each statement by itself.
        relation: The table.
        columns: Its columns.
    """
    return _of_bytes_or_texts(
        columns, lambda hashed, kind: _sum(session, relation, hashed, kind, SETTINGS)
    )


def _of_bytes_or_texts(columns: Sequence[str], total: Callable[[str, str], str]) -> str:
    """Return the total of hashes of rows as they are sent; where a type cannot be, as texts."""
    try:
        return total(f"hash_record_extended(ROW({as_bytes(columns, 't')}), 0)", "bytes")
    except sa.exc.DBAPIError as error:
        if not cannot_send(error):
            raise
    return total(f"hashtextextended({as_text(columns, 't')}, 0)", "text")


def has_own_types(connection: sa.Connection, relation: RelationName) -> bool:
    """Whether a table has columns of types that were made in its database.

    The hash of its rows then says nothing in another database.
    """
    query = f"""
        SELECT EXISTS (
            SELECT FROM pg_attribute WHERE attrelid = {literal(relation.quoted)}::regclass
            AND attnum > 0 AND NOT attisdropped AND atttypid >= {_FIRST_OF_USERS})
    """
    return bool(run(connection, query).scalar())


def _sum(
    connection: sa.Connection, relation: RelationName, hashed: str, kind: str, first: str = ""
) -> str:
    query = f"SELECT count(*), coalesce(sum({hashed}), 0) FROM {relation.quoted} AS t"
    count, total = run(connection, f"{first}; {query}" if first else query).one()
    return f"{kind}-1:{count}:{total}"
