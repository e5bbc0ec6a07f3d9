"""Two versions as they are at one moment: one snapshot of the database, in which nothing moves.

A snapshot sees no rows of a table that a commit has put in place after it was taken. So the
relations are found first, then locked, and only then is the snapshot taken; where the versions are
others by then, it begins anew.
"""

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager

import sqlalchemy as sa

from data_pipeline.database.connection import database, run
from data_pipeline.database.identifiers import RelationName
from data_pipeline.database.session_settings import FOR_LARGE_QUERIES
from data_pipeline.difference.versions import Version, VersionName, find_version
from data_pipeline.errors import ConfigurationError, DatabaseError

Pair = tuple[Version, Version]
Choose = Callable[[Version, Version], Collection[RelationName]]
"""Says which relations of two versions are to be read."""

_ATTEMPTS = 5
_GONE = frozenset({"42P01", "3F000"})  # undefined table, invalid schema name
BEGINNING = f"""
SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY;
SET LOCAL search_path = '';
SET LOCAL TimeZone = 'UTC';
{FOR_LARGE_QUERIES};
SET LOCAL parallel_tuple_cost = 0.001
"""


@contextmanager
def snapshot(
    before: VersionName, after: VersionName, choose: Choose
) -> Iterator[tuple[sa.Connection, Version, Version]]:
    """Open a read-only transaction with one snapshot of two versions.

    Args:
        before: The earlier version.
        after: The later one.
        choose: Says which relations are to be read; they are locked against replacement.

    Raises:
        ConfigurationError: They are in different databases.
        TableNotFoundError: There is nothing in one of them.
        DatabaseError: Commits changed them again and again.
    """
    base = database(before.instance)
    if database(after.instance) is not base:
        raise ConfigurationError(
            f"`{before}` and `{after}` are in different databases, which no query reads together. "
            "Compare instances with the same `table_store_connection`."
        )

    def find(connection: sa.Connection) -> Pair:
        return find_version(connection, before), find_version(connection, after)

    for _ in range(_ATTEMPTS):
        with _explained(), base.begin() as connection:
            run(connection, "SET LOCAL search_path = ''")
            expected = find(connection)
        relations = sorted(set(choose(*expected)), key=str)
        with _explained(), base.begin() as connection:
            run(connection, BEGINNING)
            if relations and not _are_locked(connection, relations):
                continue
            found = find(connection)
            if _places(found, relations) != _places(expected, relations):
                continue
            yield connection, *found
            return
    raise DatabaseError(
        f"`{before}` and `{after}` could not be compared: commits replaced their tables again and "
        "again meanwhile. Compare them when the runs that are at work have ended."
    )


@contextmanager
def _explained() -> Iterator[None]:
    """Say what PostgreSQL says, where it gives up on a query.

    Raises:
        DatabaseError: It did, for lack of space or time, say.
    """
    try:
        yield
    except sa.exc.DBAPIError as error:
        reason = " ".join(str(error.orig).split())
        raise DatabaseError(
            f"The comparison was given up, and nothing was changed. PostgreSQL says: {reason}"
        ) from error


def _are_locked(connection: sa.Connection, relations: Collection[RelationName]) -> bool:
    """Lock relations; False where one is gone by now."""
    names = ", ".join(relation.quoted for relation in relations)
    try:
        run(connection, f"LOCK TABLE {names} IN ACCESS SHARE MODE")
    except sa.exc.DBAPIError as error:
        if getattr(error.orig, "pgcode", None) not in _GONE:
            raise
        return False
    return True


def _places(pair: Pair, relations: Collection[RelationName]) -> list[object]:
    """Return what lies where, as far as it is read."""
    return [
        (str(table), item.relation, item.row.data_version, item.row.relation.get("oid"))
        for version in pair
        for table, item in sorted(version.tables.items(), key=str)
        if item.relation in relations
    ]
