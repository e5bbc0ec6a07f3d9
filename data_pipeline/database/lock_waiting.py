"""Waiting for locks: for whom, in words, and how long for those of tables."""

import logging
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import chain, repeat
from typing import Any

import sqlalchemy as sa

from data_pipeline.database import interrupts, sessions
from data_pipeline.database.advisory_locks import (
    HAS_LOCK,
    UNLOCK,
    build_lock_name,
    trying_and_noting,
    waiting,
)
from data_pipeline.database.connection import Database, run
from data_pipeline.database.identifiers import RelationName

MILLISECONDS_BETWEEN_MESSAGES = 10_000
LOCK_NOT_AVAILABLE = "55P03"


@contextmanager
def building(
    database: Database, relation: RelationName, log: logging.Logger, look: str = "SELECT 1"
) -> Iterator[tuple[sa.Connection, list[Any]]]:
    """Keep other sessions from building the same table until the block ends.

    Args:
        database: The database.
        relation: The table.
        log: Says for whom it waits.
        look: A query for one row, asked in the same round trip once the lock is held.

    Returns:
        The session that holds the lock, which commits each statement by itself, and the row.

    Raises:
        DatabaseError: The server cannot be reached, or the lock was lost on the way.
    """
    name = build_lock_name(relation)
    parameters = {"name": name}
    with database.session() as connection:
        # Building may take hours.
        taken = f"SET idle_session_timeout = 0; {trying_and_noting(name)}"
        try:
            *found, has_lock = run(
                connection, f"{taken}; SELECT q.*, {HAS_LOCK} FROM ({look}) q"
            ).one()
            if not has_lock:
                _wait(connection, name, relation, log)
                found = list(run(connection, look).one())
            yield connection, found
        except BaseException:
            # When the server is gone, so is the lock; the error that says so is on its way.
            with suppress(sa.exc.SQLAlchemyError):
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
    statement = f"SET LOCAL lock_timeout = {MILLISECONDS_BETWEEN_MESSAGES}; {waiting(name)}"
    while True:
        holders = [sessions.described(item) for item in sessions.at_lock(connection, name)]
        if holders:
            log.info(f"Waiting for {' and '.join(holders)}, which is building {relation}")
        try:
            run(connection, statement)
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
