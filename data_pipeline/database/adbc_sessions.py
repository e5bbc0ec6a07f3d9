"""Sessions of ADBC: opened once, told what every session needs, and kept for who comes next."""

import atexit
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from threading import Lock
from typing import TYPE_CHECKING

from data_pipeline.database import interrupts
from data_pipeline.database.session_settings import session_name, set_statements, tell

if TYPE_CHECKING:
    from adbc_driver_manager import AdbcDatabase
    from adbc_driver_manager.dbapi import Connection as AdbcConnection

_types_read: dict[str, "AdbcDatabase"] = {}


class AdbcSessions:
    """The ADBC sessions of one database in this process.

    Args:
        uri: The database.
        are_kept: Whether one that was used is kept; asked when it has been used.
    """

    def __init__(self, uri: str, are_kept: Callable[[], bool]) -> None:
        self._uri = uri
        self._are_kept = are_kept
        self._root: AdbcConnection | None = None
        self._lock = Lock()
        self._idle: list[AdbcConnection] = []

    def begin(self) -> "AdbcConnection":
        """Return a connection with a transaction, to be used in `lent`.

        Raises:
            adbc_driver_manager.Error: The server cannot be reached.
        """
        return self._kept() or self._new()

    @contextmanager
    def lent(self, connection: "AdbcConnection") -> Iterator["AdbcConnection"]:
        """Give a connection away; one that was used without an error is kept for the next caller.

        Args:
            connection: What `begin` has given.
        """
        import adbc_driver_manager

        try:
            with interrupts.interruptible(connection.adbc_cancel):
                yield connection
        except BaseException:
            connection.close()
            raise
        try:
            commit_adbc(connection)
            if not self._are_kept():
                connection.close()
                return
        except adbc_driver_manager.Error:  # the rows of a query were not read to the end
            connection.close()
        else:
            self._idle.append(connection)

    def close(self) -> None:
        """Close what nobody uses."""
        for connection in (*self._idle, self._root):
            if connection is not None:
                connection.close()
        self._idle.clear()
        self._root = None

    def _kept(self) -> "AdbcConnection | None":
        """Return a connection of an earlier caller; None where none is left that works."""
        import adbc_driver_manager

        while self._idle:
            connection = self._idle.pop()
            try:
                run_adbc(connection, set_statements(session_name(), {}))
                connection.adbc_connection.set_autocommit(False)
            except adbc_driver_manager.Error:
                connection.close()
            else:
                return connection
        return None

    def _new(self) -> "AdbcConnection":
        connection = self._first().adbc_clone()
        # The transaction that the driver has begun by itself has the role's own defaults.
        connection.adbc_connection.set_autocommit(True)
        tell(partial(run_adbc, connection), session_name())
        connection.adbc_connection.set_autocommit(False)
        return connection

    def _first(self) -> "AdbcConnection":
        """Return the connection that all others are cloned from.

        It reads the server's types, which takes longer than connecting.
        """
        import adbc_driver_manager.dbapi

        with self._lock:
            if self._root is None:
                interrupts.let_through(adbc_driver_manager.dbapi)
                self._root = interrupts.abandonable(self._connected)
                # The driver cannot close them any more when the interpreter is gone.
                atexit.register(self.close)
            return self._root

    def _connected(self) -> "AdbcConnection":
        import adbc_driver_manager.dbapi
        import adbc_driver_postgresql

        types = _types_read.get(self._uri) or adbc_driver_postgresql.connect(self._uri)
        connection = adbc_driver_manager.AdbcConnection(types)
        return adbc_driver_manager.dbapi.Connection(types, connection, autocommit=True)


def commit_adbc(connection: "AdbcConnection") -> None:
    """Commit the transaction of an ADBC connection, without beginning another one."""
    connection.adbc_connection.set_autocommit(True)


def run_adbc(connection: "AdbcConnection", statements: str) -> None:
    """Run statements that return no rows, in one round trip where `Cursor.execute` takes three.

    Args:
        connection: An ADBC connection; its transaction goes on.
        statements: One or several, with semicolons between them.
    """
    with connection.cursor() as cursor:
        statement = cursor.adbc_statement
        statement.set_sql_query(statements)
        statement.execute_update()


def read_types(uri: str) -> None:
    """Read a server's types for ADBC, without staying connected.

    Copies of this process need not do so, which would take each longer than connecting.

    Args:
        uri: The database.
    """
    import adbc_driver_postgresql

    _types_read[uri] = adbc_driver_postgresql.connect(uri)
