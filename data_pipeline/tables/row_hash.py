"""A hash of the rows of a table, taken inside the database, in whatever order they lie.

Two tables with the same columns have the same hash when they hold the same rows, byte by byte: the
numbers 1.0 and 1.00 differ, and so do 0 and -0, or one month and 30 days. Hash functions of
PostgreSQL's types take these for equal, and lack some types; so each row is hashed as the bytes
that the server would send (`record_send`), or as its text where a type cannot be sent.
"""

import sqlalchemy as sa

from data_pipeline.tables.connection import run, with_settings
from data_pipeline.tables.names import RelationName, literal, quoted

# What bytes and texts of values depend on. Texts are not converted on their way to the hash.
_SETTINGS = """
SELECT set_config('client_encoding', current_setting('server_encoding'), true),
       set_config('search_path', '', true),
       set_config('DateStyle', 'ISO, YMD', true),
       set_config('IntervalStyle', 'postgres', true),
       set_config('TimeZone', 'UTC', true),
       set_config('bytea_output', 'hex', true),
       set_config('extra_float_digits', '3', true)
"""
_COLUMNS = """
SELECT attname::text FROM pg_attribute
WHERE attrelid = {relation}::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum
"""
_BYTES = "hash_record_extended(ROW(record_send({row})), 0)"
_TEXT = 'hashtextextended(({row})::text COLLATE "C", 0)'
_FIRST_OF_USERS = 16384  # FirstNormalObjectId in PostgreSQL's source
_UNDEFINED_FUNCTION = "42883"


def row_hash(connection: sa.Connection, relation: RelationName) -> str:
    """Return the hash of all rows of a table.

    Use it to tell whether a table was rebuilt to the same rows. A full read of the table: 0.3 to
    0.95 times what it takes to create it, the most over a bare copy (`benchmarks/content.py`).
    """
    with with_settings(connection, _SETTINGS):
        names = run(connection, _COLUMNS.format(relation=literal(relation.quoted))).scalars().all()
        # By column: a column may have the name of the table.
        row = f"ROW({', '.join(f't.{quoted(name)}' for name in names)})"
        try:
            with connection.begin_nested():
                return _sum(connection, relation, _BYTES.format(row=row), "bytes")
        except sa.exc.DBAPIError as error:
            if getattr(error.orig, "pgcode", None) != _UNDEFINED_FUNCTION:
                raise
        return _sum(connection, relation, _TEXT.format(row=row), "text")


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


def _sum(connection: sa.Connection, relation: RelationName, hashed: str, kind: str) -> str:
    query = f"SELECT count(*), coalesce(sum({hashed}), 0) FROM {relation.quoted} AS t"
    count, total = run(connection, query).one()
    return f"{kind}-1:{count}:{total}"
