"""Large tables of PostgreSQL, of another database or of that of the instance itself."""

import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import sqlalchemy as sa

from data_pipeline.database.connection import Database, run
from data_pipeline.database.error_messages import copy_refusal
from data_pipeline.database.identifiers import RelationName
from data_pipeline.results.ranges.range_sessions import RangeSession, SnapshotSession
from data_pipeline.results.ranges.ranged_rows import LoadedRange
from data_pipeline.sources.ranges.postgres_page_ranges import (
    HORIZON,
    TRANSACTION,
    PagedTable,
    PageRanges,
    imported,
    snapshot_session,
)
from data_pipeline.transfer.copy_through import SourceFailedError, copy_through


class PostgresRanges(PageRanges):
    """A large table of another database; its rows go from server to server.

    Args:
        database: The database of the source.
        table: The table.
        at_once: How many ranges are read at once.
        snapshot: The snapshot in which it is read.
    """

    def __init__(self, database: Database, table: PagedTable, at_once: int, snapshot: str) -> None:
        super().__init__(database, table, at_once)
        begin = f"{TRANSACTION}; {imported(snapshot)}; {table.settings}"
        self._begin = f"{begin}; SET LOCAL client_encoding = 'UTF8'"

    def load(
        self, name: str, session: Any, relation: RelationName
    ) -> tuple[int, Mapping[str, Any]]:
        """Write a range in the transaction of a session, by COPY from one server to the other."""
        run(session.connection, "SET LOCAL client_encoding = 'UTF8'")
        target: Any = session.connection.connection.driver_connection
        with self._reading() as source:
            horizon = run(source, HORIZON).scalar()
            try:
                driver: Any = source.connection.driver_connection
                rows = copy_through(driver, self._query(name), target, self._into(relation))
            except SourceFailedError as error:
                raise self.failed(error.__cause__) from None
            except target.Error as error:
                raise copy_refusal(error, f"Loading {relation} failed") from None
        return rows, {"horizon": horizon}

    @contextmanager
    def _reading(self) -> Iterator[sa.Connection]:
        """Open a session in the snapshot; one in which something failed is not used again."""
        with self._database.explained(), self._database.session() as source:
            try:
                run(source, self._begin)
                yield source
                run(source, "ROLLBACK")
            except BaseException as error:
                source.invalidate()
                if isinstance(error, sa.exc.DBAPIError):
                    raise self.failed(error.orig) from None
                raise


class RangesWithin(PageRanges):
    """A large table in the database of the instance: its rows do not leave the server.

    Its snapshot is taken when the first range is asked for. A session with that snapshot then sees
    the relation that it writes to, and what is listed of its load.

    Args:
        database: The database, as the role of the instance.
        table: The table.
        at_once: How many ranges are read at once.
    """

    def __init__(self, database: Database, table: PagedTable, at_once: int) -> None:
        super().__init__(database, table, at_once)
        self.ended = self.close
        self._settings = table.settings
        self._holder = ExitStack()
        self._held: tuple[sa.Connection, str] | None = None
        self._lock = threading.Lock()

    def is_unchanged(self, loaded: Iterable[LoadedRange]) -> bool:
        """Whether ranges that were read before have the same rows now, as of the snapshot."""
        is_same = False
        try:
            is_same = super().is_unchanged(loaded)
        finally:
            if not is_same:
                self.close()  # what begins anew needs a snapshot that sees its relation
        return is_same

    @contextmanager
    def writing(self, database: Database) -> Iterator[RangeSession]:
        """Open a session with the snapshot that writes a range."""
        _, snapshot = self._snapshot()
        with ExitStack() as until_committed, database.begin() as connection:
            begin = f"SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; {imported(snapshot)}"
            run(connection, f"{begin}; {self._settings}")
            yield SnapshotSession(database, connection, until_committed)

    def load(
        self, name: str, session: Any, relation: RelationName
    ) -> tuple[int, Mapping[str, Any]]:
        """Write a range in the transaction of a session, within the server."""
        connection: sa.Connection = session.connection
        horizon = run(connection, HORIZON).scalar()
        try:
            done = run(connection, f"INSERT INTO {self._into(relation)} {self._query(name)}")
        except sa.exc.DBAPIError as error:
            if error.connection_invalidated:
                raise
            raise self.failed(error.orig) from None
        return done.rowcount, {"horizon": horizon}

    def close(self) -> None:
        """Let go of the snapshot."""
        with self._lock:
            self._held = None
            self._holder.close()

    @contextmanager
    def _reading(self) -> Iterator[sa.Connection]:
        yield self._snapshot()[0]

    def _snapshot(self) -> tuple[sa.Connection, str]:
        with self._lock:
            if self._held is None:
                holder = self._holder.enter_context(snapshot_session(self._database))
                run(holder, self._settings)
                self._held = holder, str(run(holder, "SELECT pg_export_snapshot()").scalar())
            return self._held
