"""Large tables of another PostgreSQL database."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa

from data_pipeline.database.connection import Database, run
from data_pipeline.database.identifiers import RelationName
from data_pipeline.database.server_errors import copy_refusal
from data_pipeline.sources.ranges.page_ranges import (
    HORIZON,
    TRANSACTION,
    PagedTable,
    PageRanges,
    imported,
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
