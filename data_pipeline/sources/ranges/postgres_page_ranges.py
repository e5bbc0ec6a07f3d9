"""Large tables of PostgreSQL by ranges of their pages.

Pages need no key, are of one size, and are read in the order in which they lie on the disk. A row
stays in its page until it is updated or deleted, or the table gets another file. So a range that
was read in an earlier snapshot has the same rows now if as many are seen there, and none of a
transaction that may have been at work then, or has begun since; the range is counted for that, in
the source, and no row is sent. What then is loaded in several attempts is what one would have read.
"""

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from data_pipeline.database.connection import Database, run
from data_pipeline.database.error_messages import copy_refusal
from data_pipeline.database.identifiers import RelationName, literal, quoted
from data_pipeline.database.sql_text import stored_query
from data_pipeline.results.ranges.ranged_rows import LoadedRange, RangedRows
from data_pipeline.transfer.stable_hash import fingerprint

_MEMBERS = sa.text(stored_query(__file__, "postgres_members"))
_HISTORY = stored_query(__file__, "postgres_history")

_RANGE_BYTES = 64 * 1024 * 1024
"""Tables up to this size are read as a whole; what is larger, in ranges of about this size."""

_MOST_RANGES = 512
_OLDEST_VERSION = (14,)
"""Before, PostgreSQL reads a table to its end for any range of pages."""

TRANSACTION = "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY"
HORIZON = "SELECT pg_snapshot_xmin(pg_current_snapshot())::text"


@dataclass(frozen=True)
class Range:
    """Pages of a relation, from the first up to but without the last."""

    relation: RelationName
    first: int
    last: int

    @property
    def source(self) -> str:
        """The FROM clause for its rows."""
        return (
            f"ONLY {self.relation.quoted} "
            f"WHERE ctid >= '({self.first},0)'::tid AND ctid < '({self.last},0)'::tid"
        )


def ranges_of(connection: sa.Connection, schema: str, table: str) -> Mapping[str, Range] | None:
    """Return the ranges of a table by name; None where it is small, or cannot be cut.

    Args:
        connection: A transaction that began after the snapshot in which rows are read.
        schema: The schema.
        table: The table.
    """
    if (connection.dialect.server_version_info or (0,)) < _OLDEST_VERSION:
        return None
    members = connection.execute(_MEMBERS, {"schema": schema, "name": table}).all()
    size = sum(item.bytes for item in members if not item.is_parent)
    if size <= _RANGE_BYTES or not all(item.is_cut for item in members):
        return None
    pages = sum(item.pages for item in members if not item.is_parent)
    step = pages_of_a_range(pages, size)
    return {
        f"{item.schema}.{item.name} {item.oid}/{item.file} {first}-{first + step}": Range(
            RelationName(item.schema, item.name), first, first + step
        )
        for item in members
        if not item.is_parent
        for first in range(0, item.pages, step)
    }


def pages_of_a_range(pages: int, size: int) -> int:
    """Return a power of two, so that a table that grows is cut as before for a while."""
    wanted = max(1, pages * _RANGE_BYTES // size, pages // _MOST_RANGES)
    return 1 << (wanted.bit_length() - 1)


@dataclass(frozen=True)
class PagedTable:
    """A large table that is read by ranges of its pages.

    Attributes:
        named: Whose table it is, for messages.
        columns: For each column the type as which its values come, and the SQL of these.
        ranges: The ranges.
        settings: The statement that sets up each transaction that reads it.
    """

    named: str
    columns: Mapping[str, tuple[str, str]]
    ranges: Mapping[str, Range]
    settings: str


class PageRanges(RangedRows):
    """Ranges of pages, whoever reads them.

    Args:
        database: The database of the source.
        table: The table.
        at_once: How many are read at once.
    """

    def __init__(self, database: Database, table: PagedTable, at_once: int) -> None:
        self.named = table.named
        self.columns = {name: kind for name, (kind, _) in table.columns.items()}
        self.ranges = [*table.ranges]
        self.at_once = at_once
        self.ended: Callable[[], None] = lambda: None
        self._database = database
        self._listed = ", ".join(expression for _, expression in table.columns.values())
        self._by_name = table.ranges
        with database.begin() as connection:
            history = run(connection, _HISTORY).scalar()
        self.identity = fingerprint("postgres-ranges-1", history, self._listed, self.columns)

    def is_unchanged(self, loaded: Iterable[LoadedRange]) -> bool:
        """Whether ranges that were read before have the same rows now; they are counted."""
        with self._reading() as source:
            return all(self._is_same(source, item) for item in loaded)

    def _is_same(self, source: sa.Connection, item: LoadedRange) -> bool:
        horizon = literal(str(int(item.seen["horizon"]) % 2**32))
        rows, newer = run(
            source,
            f"SELECT count(*), count(*) FILTER (WHERE age(xmin) <= age({horizon}::xid)) "
            f"FROM {self._by_name[item.name].source}",
        ).one()
        return (rows, newer) == (item.rows, 0)

    @abstractmethod
    def _reading(self) -> AbstractContextManager[sa.Connection]:
        """Open a session in the snapshot in which the table is read."""

    def _query(self, name: str) -> str:
        return f"SELECT {self._listed} FROM {self._by_name[name].source}"

    def _into(self, relation: RelationName) -> str:
        return f"{relation.quoted} ({', '.join(map(quoted, self.columns))})"

    def failed(self, error: BaseException | None) -> BaseException:
        """Return the error to raise for what a driver reported of the source."""
        driver: Any = self._database.engine.dialect.loaded_dbapi
        if error is not None and not isinstance(error, driver.Error):
            return error
        return copy_refusal(error, f"Reading {self.named} failed")


def imported(snapshot: str) -> str:
    """Return the statement that gives a transaction the snapshot of another one."""
    return f"SET TRANSACTION SNAPSHOT {literal(snapshot)}"


@contextmanager
def snapshot_session(database: Database) -> Iterator[sa.Connection]:
    """Open a session with a transaction that only reads, and has one snapshot until it ends."""
    with database.session() as session:
        run(session, TRANSACTION)
        try:
            yield session
        finally:
            with suppress(sa.exc.DBAPIError):  # the server that is gone has ended it by itself
                if not session.closed and not session.invalidated:
                    run(session, "ROLLBACK")
