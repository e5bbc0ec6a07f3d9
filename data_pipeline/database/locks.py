"""Locks that belong to a database session, so that they vanish with a killed process."""

import logging
import random
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from itertools import chain, repeat

import sqlalchemy as sa

from data_pipeline.database import interrupts, sessions
from data_pipeline.database.connection import Database, run
from data_pipeline.database.identifiers import RelationName, StageTable, literal
from data_pipeline.instances import Instance

TRY = sa.text("SELECT pg_try_advisory_lock(hashtextextended(:name, 0))")
WAIT = sa.text("SELECT pg_advisory_lock(hashtextextended(:name, 0))")
SHARE = sa.text("SELECT pg_advisory_lock_shared(hashtextextended(:name, 0))")
TRY_SHARE = sa.text("SELECT pg_try_advisory_lock_shared(hashtextextended(:name, 0))")
UNLOCK = sa.text("SELECT pg_advisory_unlock(hashtextextended(:name, 0))")
# All of several, in one statement: a run may write hundreds of tables.
_EACH = "FROM unnest(CAST(:names AS text[])) name"
TRY_EACH = sa.text(f"SELECT name, pg_try_advisory_lock(hashtextextended(name, 0)) AS taken {_EACH}")
UNLOCK_EACH = sa.text(f"SELECT pg_advisory_unlock(hashtextextended(name, 0)) {_EACH}")
_RESERVE_EACH = sa.text(
    f"SELECT name, pg_try_advisory_xact_lock(hashtextextended(name, 0)) AS taken {_EACH}"
)
MILLISECONDS_BETWEEN_MESSAGES = 10_000
LOCK_NOT_AVAILABLE = "55P03"


def stage_lock_name(instance: Instance, stage: str) -> str:
    """Name the lock of a stage, which runs that write to it share, and who drops it has alone."""
    return f"data_pipeline:stage:{instance.schema(stage)}"


def table_lock_name(instance: Instance, table: StageTable) -> str:
    """Name the lock of the run that writes a table or blob: from staging to commit."""
    return f"data_pipeline:table:{instance.schema(table.stage)}.{table.name}"


def commit_lock_name(instance: Instance) -> str:
    """Name the lock that a commit holds: an instance has one at a time."""
    return f"data_pipeline:commit:{instance.instance_id}"


def reserve(
    connection: sa.Connection, instance: Instance, tables: Iterable[StageTable]
) -> frozenset[StageTable]:
    """Keep runs from beginning to write tables until the transaction ends.

    Returns:
        Those that no other session writes. What was known of them before may have changed.
    """
    names = {table_lock_name(instance, table): table for table in tables}
    found = connection.execute(_RESERVE_EACH, {"names": sorted(names)})
    return frozenset(names[item.name] for item in found if item.taken)


@contextmanager
def building(database: Database, relation: RelationName, log: logging.Logger) -> Iterator[None]:
    """Keep other sessions from building the same table until the block ends.

    Raises:
        DatabaseError: The server cannot be reached, or the lock was lost on the way.
    """
    name = f"data_pipeline:{relation}"
    parameters = {"name": name}
    with database.session() as connection:
        run(connection, "SET idle_session_timeout = 0")  # building may take hours
        if not connection.scalar(TRY, parameters):
            _wait(connection, name, relation, log)
        try:
            yield
        except BaseException:
            # When the server is gone, so is the lock; the error that says so is on its way.
            with suppress(sa.exc.DBAPIError):
                connection.execute(UNLOCK, parameters)
            raise
        try:
            connection.execute(UNLOCK, parameters)
        except sa.exc.DBAPIError as error:
            raise database.lost(error.orig) from None


def _wait(
    connection: sa.Connection, name: str, relation: RelationName, log: logging.Logger
) -> None:
    """Take a lock; say for whom it waits, and does so anew for whoever has it next."""
    waiting = f"""
    SET LOCAL lock_timeout = {MILLISECONDS_BETWEEN_MESSAGES};
    SELECT pg_advisory_lock(hashtextextended({literal(name)}, 0))
    """
    while True:
        holders = [sessions.described(item) for item in sessions.at_lock(connection, name)]
        if holders:
            log.info(f"Waiting for {' and '.join(holders)}, which is building {relation}")
        try:
            run(connection, waiting)
        except sa.exc.DBAPIError as error:
            if getattr(error.orig, "pgcode", None) != LOCK_NOT_AVAILABLE:
                raise
        else:
            return


_QUICK_TRIES, _QUICK_MS = 8, 5
_SLOW_MS = (50, 100, 200, 400, 800)
_BUSY = frozenset({"55P03", "40P01"})  # lock_not_available, deadlock_detected
# PostgreSQL's internal error, in no other language, for grants and the like in two transactions.
_CONCURRENTLY = "tuple concurrently "
_SECONDS_BETWEEN_MESSAGES = 10.0


def is_busy(error: sa.exc.DBAPIError) -> bool:
    """Whether a statement failed only because somebody else is at work on the same."""
    return getattr(error.orig, "pgcode", None) in _BUSY or str(error.orig).startswith(_CONCURRENTLY)


def lock_timeouts(seconds: float, log: logging.Logger, message: Callable[[], str]) -> Iterator[int]:
    """Return how many ms to wait for locks, again and again, with a pause before each next try.

    Args:
        seconds: How long to go on.
        log: Says from time to time what is waited for.
        message: Gives the text.

    Raises:
        KeyboardInterrupt: The process was asked to end.
    """
    started = time.monotonic()
    said = started - _SECONDS_BETWEEN_MESSAGES
    for slow in chain(_SLOW_MS, repeat(_SLOW_MS[-1])):
        for timeout in (*repeat(_QUICK_MS, _QUICK_TRIES), slow):
            interrupts.check()
            yield timeout
            # Another length each time, so as not to keep step with a reader.
            interrupts.pause(random.uniform(0.5, 1.5) * timeout / 1000)  # noqa: S311 - no secret
            if time.monotonic() - started > seconds:
                return
        if time.monotonic() - said >= _SECONDS_BETWEEN_MESSAGES:
            said = time.monotonic()
            log.info(message())
