"""Sessions that write ranges: whatever the driver, rows and their listing are one transaction."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from data_pipeline.database.connection import Database, run
from data_pipeline.instances import Instance
from data_pipeline.store import staging
from data_pipeline.store.active_runs import run_registry

if TYPE_CHECKING:
    from adbc_driver_manager.dbapi import Connection as AdbcConnection

_COUNT = "SELECT pg_stat_force_next_flush()::text"


class RangeSession(ABC):
    """The session of one range."""

    @abstractmethod
    def ask(self, statement: str) -> Sequence[Sequence[Any]]:
        """Execute a statement, and return its rows."""

    @abstractmethod
    def cancel(self) -> None:
        """Cancel what the server does; called by another thread."""

    @abstractmethod
    def check_alive(self, instance: Instance, run_id: str) -> None:
        """Make sure, until the transaction ends, that a run is not taken for dead.

        Raises:
            DatabaseError: It was.
        """

    @abstractmethod
    def let_count(self) -> None:
        """Let the statistics hear of the rows with the end of the transaction, not later.

        Until they have, every row would be looked at to see whether the table is what was built.
        """


class SqlSession(RangeSession):
    """A session of SQLAlchemy.

    Args:
        database: Its database.
        connection: The connection, in a transaction.
    """

    def __init__(self, database: Database, connection: sa.Connection) -> None:
        self.connection = connection
        self._database = database

    def ask(self, statement: str) -> Sequence[Sequence[Any]]:
        """Execute a statement, and return its rows."""
        return run(self.connection, statement).all()

    def cancel(self) -> None:
        """Cancel what the server does."""
        driver: Any = self.connection.connection.driver_connection
        driver.cancel()

    def check_alive(self, instance: Instance, run_id: str) -> None:
        """Make sure that a run is not taken for dead."""
        staging.check_alive(self.connection, instance, run_id)

    def let_count(self) -> None:
        """Let the statistics hear of the rows."""
        if self._database.keeps_sessions:
            self.ask(_COUNT)
        else:
            self.connection.detach()  # it ends with the block


class SnapshotSession(SqlSession):
    """A session with an older snapshot, which cannot lock what has changed since.

    Args:
        database: Its database.
        connection: The connection, in a transaction.
        until_committed: What is left when the transaction has ended.
    """

    def __init__(
        self, database: Database, connection: sa.Connection, until_committed: ExitStack
    ) -> None:
        super().__init__(database, connection)
        self._until_committed = until_committed

    def check_alive(self, instance: Instance, run_id: str) -> None:
        """Make sure that a run is not taken for dead, by a transaction that ends later."""
        other = self._until_committed.enter_context(self._database.begin())
        staging.check_alive(other, instance, run_id)


class AdbcSession(RangeSession):
    """A session of ADBC.

    Args:
        connection: The connection, in a transaction.
        is_kept: Whether it goes on when the transaction has ended.
    """

    def __init__(self, connection: "AdbcConnection", *, is_kept: bool) -> None:
        self.connection = connection
        self._is_kept = is_kept

    def ask(self, statement: str) -> Sequence[Sequence[Any]]:
        """Execute a statement, and return its rows."""
        with self.connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchall()

    def cancel(self) -> None:
        """Cancel what the server does."""
        self.connection.adbc_cancel()

    def check_alive(self, instance: Instance, run_id: str) -> None:
        """Make sure that a run is not taken for dead."""
        if not self.ask(run_registry.registered_statement(instance, run_id)):
            raise staging.taken_for_dead(instance, run_id)

    def let_count(self) -> None:
        """Let the statistics hear of the rows."""
        if self._is_kept:
            self.ask(_COUNT)
