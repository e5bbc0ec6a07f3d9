"""A scratch schema: of one process, on a server for tests, gone when the process is done with it.

The server is the embedded one of DATA_PIPELINE_HOME, which starts by itself, or the one that the
environment variable DATA_PIPELINE_TEST_URL names. The servers of the configuration hold data of
others, so they are never asked.

Who uses a schema holds a lock of its name. A process that is killed leaves its schema behind, but
not the lock: the next one to make a schema drops those that nobody holds.
"""

import os
import secrets
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import sqlalchemy as sa

from data_pipeline.errors import ConfigurationError, DatabaseError
from data_pipeline.instances import DatabaseUrl
from data_pipeline.tables import locks
from data_pipeline.tables.connection import Database, database_at, run
from data_pipeline.tables.names import quoted

TEST_URL = "DATA_PIPELINE_TEST_URL"
"""The environment variable that names another server than the embedded one."""

PREFIX = "data_pipeline_scratch_"
"""What the names of scratch schemas begin with."""

# The whole name: a stage of an instance called `data_pipeline` may begin like that.
_PATTERN = f"^{PREFIX}[0-9a-f]{{16}}$"
_OWN = sa.text(
    "SELECT nspname FROM pg_namespace "
    "WHERE nspname ~ :pattern AND pg_get_userbyid(nspowner) = current_user"
)
_TRY_LOCK = sa.text("SELECT pg_try_advisory_xact_lock(hashtextextended(:name, 0))")


@contextmanager
def scratch_schema(home: Path) -> Iterator[tuple[Database, str]]:
    """Make a schema for the time of a block.

    Args:
        home: DATA_PIPELINE_HOME, for the embedded server.

    Yields:
        The database, and the name of the schema. What is made there is to be committed, so that
        all sessions see it.

    Raises:
        ConfigurationError: DATA_PIPELINE_TEST_URL holds no URL.
        DatabaseError: There is no server, or it lets no schema be made.
    """
    schema = f"{PREFIX}{secrets.token_hex(8)}"
    with ExitStack() as stack:
        server, holder = _connected(home, stack)
        run(holder, "SET idle_session_timeout = 0")
        holder.execute(locks.WAIT, {"name": _lock(schema)})
        holder.commit()  # the session has it, not a transaction that would be idle
        _drop_leftovers(server)
        with server.begin() as connection:
            run(connection, f"CREATE SCHEMA {quoted(schema)}")
        try:
            yield server, schema
        finally:
            with server.begin() as connection:
                _drop(connection, schema)


def _connected(home: Path, stack: ExitStack) -> tuple[Database, sa.Connection]:
    """Return the database with a session of its own, which the stack ends."""
    given = os.environ.get(TEST_URL)
    try:
        url = DatabaseUrl(given or "embedded")
    except ValueError as error:
        raise ConfigurationError(f"environment variable {TEST_URL}: {error}.") from None
    try:
        server = database_at(url, home)
        return server, stack.enter_context(server.private_connection())
    except DatabaseError as error:
        if given:
            reason = str(error).splitlines()[0]  # the others are about instances.yaml
            tried = f"the one that {TEST_URL} names cannot be used: {reason}"
            remedy = f"Correct {TEST_URL}, or unset it to let the embedded server start."
        else:
            tried = f"the embedded one cannot be used: {error}"
            remedy = (
                f"Or set {TEST_URL} to the URL of a PostgreSQL in which schemas may be made, "
                "postgresql://user:password@host/database."
            )
        raise DatabaseError(
            "A sample of data frames is chosen by a PostgreSQL server, in a schema that is gone "
            f"afterwards, but {tried}\n{remedy} Without `sample` in the instance's attrs "
            "(copy_filter_cnt, copy_filter_rate) no server is needed."
        ) from None


def _drop_leftovers(server: Database) -> None:
    with server.begin() as connection:
        schemas = connection.scalars(_OWN, {"pattern": _PATTERN}).all()
    for schema in schemas:
        with server.begin() as connection:
            if connection.scalar(_TRY_LOCK, {"name": _lock(schema)}):
                _drop(connection, schema)


def _drop(connection: sa.Connection, schema: str) -> None:
    run(connection, f"DROP SCHEMA IF EXISTS {quoted(schema)} CASCADE")


def _lock(schema: str) -> str:
    return f"data_pipeline:scratch:{schema}"
