"""Moving staged relations into the schemas of their stages, in the place of earlier ones.

The array type of a table `t` is called `_t`, which may be the name of another table in the schema.
PostgreSQL renames an array type, and nobody else can, for a table of its name.
"""

from collections.abc import Mapping, Sequence

import sqlalchemy as sa

from data_pipeline.tables.connection import run
from data_pipeline.tables.names import RelationName, literal, quoted

_TYPES_IN_THE_WAY = """
WITH staged AS (
    SELECT c.relname, n.nspname AS schema, target.oid, target.nspname AS target, own.typarray
    FROM unnest(ARRAY[{names}], ARRAY[{schemas}]) AS pair(name, schema)
    JOIN pg_class c ON c.oid = to_regclass(pair.name)
    JOIN pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_type own ON own.oid = c.reltype
    JOIN pg_namespace target ON target.oid = to_regnamespace(pair.schema)
)
SELECT s.schema, mine.typname FROM staged s JOIN pg_type mine ON mine.oid = s.typarray
WHERE EXISTS (
    SELECT FROM pg_type other WHERE other.typname = mine.typname AND other.typnamespace = s.oid
)
UNION ALL
SELECT s.target, s.relname FROM staged s
JOIN pg_type other ON other.typname = s.relname AND other.typnamespace = s.oid
WHERE EXISTS (SELECT FROM pg_type element WHERE element.typarray = other.oid)
"""

_DUPLICATE_OBJECT = "42710"
_SAVEPOINT = "moved"


def move(
    connection: sa.Connection,
    first: Sequence[str],
    targets: Mapping[RelationName, str],
    views: frozenset[RelationName],
) -> None:
    """Takes away what is replaced, and moves relations into schemas.

    Args:
        connection: A transaction.
        first: Statements that take away what is replaced.
        targets: The relations, each with its schema.
        views: Those of them that are views.
    """
    moves = [
        f"ALTER {'VIEW' if name in views else 'TABLE'} {name.quoted} SET SCHEMA {quoted(schema)}"
        for name, schema in targets.items()
    ]
    if not (statements := [*first, *moves]):
        return
    steps = [f"SAVEPOINT {_SAVEPOINT}", *statements, f"RELEASE SAVEPOINT {_SAVEPOINT}"]
    try:
        run(connection, "; ".join(steps))
    except sa.exc.DBAPIError as error:
        if getattr(error.orig, "pgcode", None) != _DUPLICATE_OBJECT:
            raise
        run(connection, f"ROLLBACK TO SAVEPOINT {_SAVEPOINT}")
        _make_room(connection, first, targets)
        run(connection, "; ".join(moves))


def _make_room(
    connection: sa.Connection, first: Sequence[str], targets: Mapping[RelationName, str]
) -> None:
    """Takes away what is replaced, and renames array types that still are in the way."""
    query = _TYPES_IN_THE_WAY.format(
        names=", ".join(literal(name.quoted) for name in targets),
        schemas=", ".join(literal(quoted(schema)) for schema in targets.values()),
    )
    statements = [*first, query]
    while found := run(connection, "; ".join(statements)).all():
        stand_ins = [quoted(schema, name) for schema, name in found]
        creations = (f"CREATE TABLE {name} (); DROP TABLE {name}" for name in stand_ins)
        statements = [*creations, query]
