"""Connections to the database of an instance, for SQLAlchemy (SQL) and for ADBC (bulk data)."""

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import sqlalchemy as sa

from data_pipeline.database import interrupts, pgbouncer, row_security
from data_pipeline.database.adbc_sessions import AdbcSessions
from data_pipeline.database.advisory_locks import (
    WAIT,
    database_lock_name,
    lock_for_transaction,
    schema_lock_name,
)
from data_pipeline.database.error_messages import Lacking
from data_pipeline.database.identifiers import literal, quoted
from data_pipeline.database.session_settings import PROGRAM, session_name, set_up
from data_pipeline.errors import DatabaseError, MissingRightError, SharedSessionError
from data_pipeline.instances import DatabaseUrl, Instance, project

if TYPE_CHECKING:
    from adbc_driver_manager.dbapi import Connection as AdbcConnection

_CONNECT_TIMEOUT_SECONDS = 10
# Drivers go by it, whatever encoding the role, the database or PGCLIENTENCODING names.
_ENCODING = {"client_encoding": "utf8"}
SESSIONS = 8
"""How many sessions a run needs at most, as long as one process executes its steps."""
_SECONDS_TRUSTED = 1.0
"""For so long after its last use a connection is taken to work without asking the server."""

_NAME_KEY = "data_pipeline/application_name"
_USED_KEY = "data_pipeline/last_used"


def libpq_uri(url: sa.URL) -> str:
    """Return a URL, with its password, as the text that libpq reads.

    libpq refuses spaces, and shows the password in doing so; a plus sign is a plus sign to it.
    SQLAlchemy leaves spaces as they are, and in the query writes them as plus signs; and it takes
    several hosts with their ports, which libpq wants apart.
    """
    dialect = url.set(drivername="postgresql+psycopg2").get_dialect()()
    _, given = dialect.create_connect_args(url)
    if "," in given.get("host", ""):
        hosts = {"host": given["host"], "port": str(given.get("port", ""))}
        url = url.update_query_dict(hosts)
    text = url.set(drivername="postgresql").render_as_string(hide_password=False)
    address, mark, query = text.partition("?")
    return address.replace(" ", "%20") + mark + query.replace("+", "%20")


class Database:
    """One PostgreSQL database, reachable through SQLAlchemy and through ADBC."""

    def __init__(
        self,
        url: sa.URL,
        *,
        print_sql: bool = False,
        create: bool = False,
        named_in: str | None = None,
    ) -> None:
        self.url = url.set(drivername="postgresql+psycopg2")
        self._named_in = named_in
        self._create = create
        self._has_sessions = False
        self._settings: dict[str, str] | None = None
        self._adbc = AdbcSessions(self.adbc_uri, lambda: self.keeps_sessions)
        self.engine = sa.create_engine(
            self.url,
            echo=print_sql,
            hide_parameters=True,
            pool_use_lifo=True,  # the last one bears the name of the step already
            connect_args={
                "connect_timeout": _CONNECT_TIMEOUT_SECONDS,
                "fallback_application_name": PROGRAM,
                **_ENCODING,
            },
        )
        # Before SQLAlchemy asks the first connection for the isolation level to go back to.
        sa.event.listen(self.engine, "connect", self._set_up, insert=True)
        sa.event.listen(self.engine, "checkout", self._ping)
        sa.event.listen(self.engine, "checkin", _note_use)

    def __repr__(self) -> str:
        shown = self.url.set(query={}) if self.url.query else self.url  # a password may be there
        return f"Database({shown.render_as_string(hide_password=True)!r})"

    @contextmanager
    def begin(self) -> Iterator[sa.Connection]:
        """Open a connection with a transaction that commits when the block ends well.

        Raises:
            DatabaseError: The server cannot be reached, the connection broke, or row security would
                have hidden rows from a query.
        """
        connection = self._connect()
        with self.explained(), connection, interruptible(connection), connection.begin():
            yield connection

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Say in our own errors what may go wrong with any statement.

        Raises:
            DatabaseError: The connection broke, a right is missing, or rows would have been hidden.
        """
        try:
            yield
        except sa.exc.DBAPIError as error:
            if error.connection_invalidated:
                raise self.lost(error.orig) from None
            if hidden := self._hidden_rows(error):
                raise hidden from None
            if lacking := Lacking.of(error.orig, error.statement):
                raise self.refused(lacking) from None
            raise

    @contextmanager
    def session(self) -> Iterator[sa.Connection]:
        """Open a connection without a transaction: every statement commits by itself.

        Raises:
            DatabaseError: The server cannot be reached.
        """
        with self._connect() as connection:
            driver: Any = connection.connection.driver_connection
            # Not by SQLAlchemy's isolation level AUTOCOMMIT: on the way there and back, psycopg2
            # would reset the isolation level of the session to what its role defaults to.
            driver.autocommit = True
            try:
                with interruptible(connection):
                    yield connection
            finally:
                if not driver.closed:
                    driver.autocommit = False

    def private_connection(self) -> sa.Connection:
        """Return a connection of its own session, which ends when the caller closes it.

        Raises:
            DatabaseError: The server cannot be reached.
        """
        connection = self._connect()
        connection.detach()
        return connection

    @property
    def settings(self) -> Mapping[str, str]:
        """What database, role or client set of that on which results depend, by name.

        Raises:
            DatabaseError: The server cannot be reached.
        """
        if self._settings is None:
            self._connect().close()
        return self._settings or {}

    def check_sessions(self) -> None:
        """Make sure that a connection has a session of the server for itself, as locks need it.

        Call it before the first lock of a session.

        Raises:
            SharedSessionError: A connection pool hands sessions around.
        """
        if self._has_sessions:
            return
        with self.session() as first, self.session() as second:
            found = pgbouncer.handed_around(first, second)
            found = found or pgbouncer.left_behind(first, self.private_connection)
        if found:
            raise self._pooled(found)
        self._has_sessions = True

    def _driver_connection(self) -> Any:
        driver: Any = self.engine.dialect.loaded_dbapi
        return driver.connect(libpq_uri(self.url), connect_timeout=_CONNECT_TIMEOUT_SECONDS)

    def _pooled(self, found: str) -> SharedSessionError:
        return SharedSessionError(
            f"{self._where()} is a connection pool that hands the sessions of the server around: "
            f"{found}. Locks belong to sessions, so a run would leave its locks in the pool, and "
            "the next one would wait for ever. Nothing was run.\nUse a pool that keeps a session "
            "for each connection and resets it afterwards (PgBouncer: `pool_mode = session` and "
            "`server_reset_query = DISCARD ALL`; others have a port for session mode), or the "
            f"address of the server itself: {self._url_places}."
        )

    def _connect(self) -> sa.Connection:
        connection = self._connected()
        name = session_name()
        if connection.info.get(_NAME_KEY, PROGRAM) != name:
            driver: Any = connection.connection.driver_connection
            driver.autocommit = True  # one round trip, not three
            try:
                run(connection, f"SET application_name = {literal(name)}")
                connection.commit()
            finally:
                driver.autocommit = False
            connection.info[_NAME_KEY] = name
        return connection

    def _set_up(self, connection: Any, record: sa.pool.ConnectionPoolEntry) -> None:
        name = session_name()
        # A name that the user gave in the URL or in PGAPPNAME stays where no run is at work.
        self._settings = set_up(connection, None if name == PROGRAM else name)
        record.info[_NAME_KEY] = name
        _note_use(connection, record)

    def _ping(self, driver: Any, record: sa.pool.ConnectionPoolEntry, _: object) -> None:
        """Make sure that a connection that has lain idle still works.

        Raises:
            DisconnectionError: It does not; SQLAlchemy opens another one.
        """
        if time.monotonic() - record.info[_USED_KEY] > _SECONDS_TRUSTED:
            try:
                self.engine.dialect.do_ping(driver)
            except self.engine.dialect.loaded_dbapi.Error as error:
                raise sa.exc.DisconnectionError(str(error)) from error

    def _connected(self) -> sa.Connection:
        try:
            return self._checked_out()
        except sa.exc.DBAPIError as error:  # also of a parameter that libpq does not know
            refused = error.connection_invalidated  # it may have been the first transaction
            if refused and pgbouncer.refuses_transactions(self._driver_connection):
                raise self._pooled("it refuses transactions") from None
            if not (self._create and self._is_created()):
                raise self._unreachable(error.orig) from None
        try:
            return self._checked_out()
        except sa.exc.DBAPIError as error:
            raise self._unreachable(error.orig) from None

    def _checked_out(self) -> sa.Connection:
        pool = self.engine.pool
        if isinstance(pool, sa.pool.QueuePool) and pool.checkedin():
            return self.engine.connect()
        return interrupts.abandonable(self.engine.connect)

    def _is_created(self) -> bool:
        """Create the database if the server says that it is missing; False if nobody can say.

        The server is asked: libpq reports no SQLSTATE for a refused connection, only a message
        in the server's language.
        """
        maintenance = Database(self.url.set(database="postgres"))
        name = self.url.database or ""
        exists = sa.text("SELECT 1 FROM pg_database WHERE datname = :name")
        try:
            maintenance.check_sessions()
            with maintenance.session() as connection:
                # Under a lock, since another process may find it missing at the same time.
                connection.execute(WAIT, {"name": database_lock_name(name)})
                if not connection.scalar(exists, {"name": name}):
                    run(connection, f"CREATE DATABASE {quoted(name)}")
                connection.detach()  # closes it with the block, and the lock with it
        except SharedSessionError:
            raise
        except DatabaseError:
            return False
        except sa.exc.DBAPIError as error:
            if Lacking.of(error.orig) is None:
                raise
            raise MissingRightError(
                f"The database `{name}` at {self._where()} does not exist, and this user may not "
                f"create it. PostgreSQL says: {self.scrubbed(error.orig)}\nLet somebody create it "
                f"who may: CREATE DATABASE {quoted(name)} OWNER {quoted(self.url.username or '')}"
            ) from None
        finally:
            maintenance.engine.dispose()
        return True

    @property
    def keeps_sessions(self) -> bool:
        """Whether ADBC sessions are kept: since PostgreSQL 15 they can tell what they have written.

        Before, the server hears of it with the end of the session.
        """
        return (self.engine.dialect.server_version_info or (0,)) >= (15,)

    @contextmanager
    def adbc(self) -> Iterator["AdbcConnection"]:
        """Open an ADBC connection with a transaction, which `commit_adbc` ends.

        One that was used without an error is kept for the next caller.

        Raises:
            DatabaseError: The server cannot be reached.
        """
        import adbc_driver_manager

        try:
            connection = self._adbc.begin()
        except adbc_driver_manager.Error as error:
            raise self._unreachable(error) from None
        with self._adbc.lent(connection):
            yield connection

    def close(self) -> None:
        """Close what nobody uses; whoever asks again opens it anew."""
        self.engine.dispose()
        self._adbc.close()

    @property
    def adbc_uri(self) -> str:
        """The URL for ADBC, with the password."""
        uri = self.url.set(
            drivername="postgresql",
            query={
                **self.url.query,
                "connect_timeout": str(_CONNECT_TIMEOUT_SECONDS),
                "application_name": PROGRAM,
                **_ENCODING,
            },
        )
        return libpq_uri(uri)

    def _unreachable(self, error: BaseException | None) -> DatabaseError:
        return DatabaseError(
            f"Cannot connect to PostgreSQL at {self._where()}: {self.scrubbed(error)}\n"
            "Check that the server runs and that host, port, username and password are right: "
            f"{self._url_places}. A run needs {SESSIONS} sessions: see `CONNECTION LIMIT` of role "
            "and database, and `max_connections`."
        )

    def lost(self, error: object) -> DatabaseError:
        """Return the error to raise when a connection broke."""
        return DatabaseError(
            f"Lost the connection to PostgreSQL at {self._where()}: {self.scrubbed(error)}\n"
            "What was committed before is unchanged. Check the server's log, then run again."
        )

    def _hidden_rows(self, error: sa.exc.DBAPIError) -> DatabaseError | None:
        cause: Any = error.orig
        if not row_security.is_refusal(cause):
            return None
        reason = self.scrubbed(cause.diag.message_primary)
        with self.session() as connection:
            hidden = row_security.hidden_rows(
                reason, lambda query: run(connection, query).all(), error.statement or ""
            )
        return DatabaseError(f"A query was refused: {reason}\n{hidden}") if hidden else None

    def refused(self, lacking: Lacking) -> MissingRightError:
        """Return the error to raise for a missing right: role, object, and what to grant."""
        with self._connect() as connection:
            role = lacking.role(connection)
        return MissingRightError(
            f"Role `{role}` lacks a right in the database at {self._where()}. PostgreSQL says: "
            f"{self.scrubbed(lacking.message)}\n{self.remedy(lacking)}\n"
            "What was committed before is unchanged."
        )

    def remedy(self, lacking: Lacking) -> str:
        """Return what to do about a missing right."""
        with self._connect() as connection:
            return lacking.remedy(connection)

    @property
    def _url_places(self) -> str:
        return self._named_in or project.url_places()

    def _where(self) -> str:
        named = f"{self.url.host or 'the default host'}:{self.url.port or 5432}"
        place = ", ".join(self.url.normalized_query.get("host", [named]))
        return f"{place}, database `{self.url.database}`, user `{self.url.username}`"

    def scrubbed(self, error: object) -> str:
        """Return an error's text without the password, should the driver have echoed it."""
        text = str(error).strip()
        password = str(self.url.password or "")
        forms = {password, *(quote(password, safe=safe) for safe in ("", "/", " +"))}
        for form in forms - {""}:
            text = text.replace(form, "***")
        return text


def _note_use(connection: Any, record: sa.pool.ConnectionPoolEntry) -> None:
    record.info[_USED_KEY] = time.monotonic()


def interruptible(connection: sa.Connection) -> AbstractContextManager[None]:
    """Let a request to end the process cancel what the session does in the block."""
    driver: Any = connection.connection.dbapi_connection
    return interrupts.interruptible(driver.cancel)


def run(connection: sa.Connection, statement: str) -> "sa.CursorResult[*tuple[Any, ...]]":
    """Execute a statement as it stands: no parameters, and a percent sign is a percent sign.

    Returns:
        Its rows; of several statements, those of the last one.
    """
    return connection.exec_driver_sql(statement, execution_options={"no_parameters": True})


@contextmanager
def transaction(session: sa.Connection) -> Iterator[None]:
    """Open a transaction in a session that commits each statement by itself."""
    run(session, "BEGIN")
    try:
        yield
    except BaseException:
        with suppress(sa.exc.SQLAlchemyError):  # the connection broke, which is on its way
            run(session, "ROLLBACK")
        raise
    run(session, "COMMIT")


@contextmanager
def with_settings(connection: sa.Connection, statement: str) -> Iterator[None]:
    """Execute a statement that changes settings, which are as before when the block ends.

    Only reads belong into the block: the savepoint around it is rolled back.
    """
    savepoint = connection.begin_nested()
    try:
        run(connection, statement)
        yield
    finally:
        if savepoint.is_active:
            savepoint.rollback()


def ensure_schema(connection: sa.Connection, schema: str) -> None:
    """Create a schema where it does not exist yet; safe beside other sessions."""
    present = sa.text("SELECT 1 FROM pg_namespace WHERE nspname = :name")
    if connection.scalar(present, {"name": schema}):
        return
    lock_for_transaction(connection, schema_lock_name(schema))
    run(connection, f"CREATE SCHEMA IF NOT EXISTS {quoted(schema)}")


def database(instance: Instance) -> Database:
    """Return the database of an instance; starts the embedded server where that is configured.

    The connection pool is shared by all instances on the same server within a process.
    """
    store = instance.table_store
    return database_at(
        store.url,
        instance.home,
        print_sql=store.print_sql,
        create=store.create_database_if_not_exists,
    )


def database_at(
    url: DatabaseUrl,
    home: Path,
    *,
    print_sql: bool = False,
    create: bool = False,
    named_in: str | None = None,
) -> Database:
    """Return the database of a URL; start the embedded server of a home where it means that.

    Args:
        url: The URL.
        home: `DATA_PIPELINE_HOME`, for the embedded server.
        print_sql: Whether every statement is logged.
        create: Whether a database that does not exist is made.
        named_in: Where the URL stands, for messages; None: in the configuration.
    """
    text = url.reveal()
    if url.is_embedded:
        from data_pipeline.embedded import EmbeddedServer

        text = EmbeddedServer(home).start().render_as_string(hide_password=False)
    return _database(os.getpid(), text, print_sql, create, named_in)


_databases: dict[tuple[int, str, bool, bool, str | None], Database] = {}


def _database(pid: int, url: str, print_sql: bool, create: bool, named_in: str | None) -> Database:
    # The pid keeps a forked process from using its parent's sockets.
    key = (pid, url, print_sql, create, named_in)
    if key not in _databases:
        made = Database(sa.make_url(url), print_sql=print_sql, create=create, named_in=named_in)
        return _databases.setdefault(key, made)
    return _databases[key]


def close_databases(name: str) -> None:
    """Close and forget the databases of a name, which are about to be dropped."""
    for key, known in [*_databases.items()]:
        if known.url.database == name and key[0] == os.getpid():
            del _databases[key]
            known.close()
