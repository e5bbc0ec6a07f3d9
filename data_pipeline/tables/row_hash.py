"""A hash of the rows of a table, taken inside the database, in whatever order they lie.

Two tables with the same columns have the same hash when they hold the same rows, byte by byte: the
numbers 1.0 and 1.00 differ. Hash functions of PostgreSQL's types take these for equal, and lack
some types; so the image of each row is hashed (see `row_images`).
"""

import sqlalchemy as sa

from data_pipeline.tables import row_images
from data_pipeline.tables.connection import run, with_settings
from data_pipeline.tables.names import RelationName, literal

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
    with with_settings(connection, row_images.SETTINGS):
        names = run(connection, _COLUMNS.format(relation=literal(relation.quoted))).scalars().all()
        try:
            with connection.begin_nested():
                image = row_images.as_bytes(names, "t")
                return _sum(connection, relation, f"hash_record_extended(ROW({image}), 0)", "bytes")
        except sa.exc.DBAPIError as error:
            if not row_images.cannot_send(error):
                raise
        image = row_images.as_text(names, "t")
        return _sum(connection, relation, f"hashtextextended({image}, 0)", "text")


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
