"""Waiting for locks: for whom, in words, and how long for those of tables.

The server shows every role the process, user and name of all sessions. State, times and query of
other roles' sessions are hidden from a role that may not see all statistics (`pg_monitor`); they
are said where they are visible. A prepared transaction holds locks without any session.
"""

import logging
import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import chain, repeat
from typing import Any

import sqlalchemy as sa

from data_pipeline.database import interrupts
from data_pipeline.database.advisory_locks import (
    HAS_LOCK,
    UNLOCK,
    build_lock_name,
    matches,
    trying_and_noting,
    waiting,
)
from data_pipeline.database.connection import Database, run
from data_pipeline.database.identifiers import RelationName
from data_pipeline.database.sql_text import stored_query

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
        taken = trying_and_noting(name)
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
        holders = [described(item) for item in holders_of_lock(connection, name)]
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
    said = started - MILLISECONDS_BETWEEN_MESSAGES / 1000
    for slow in chain(_SLOW_MS, repeat(_SLOW_MS[-1])):
        for timeout in (*repeat(_QUICK_MS, _QUICK_TRIES), slow):
            interrupts.check()
            yield timeout
            # Another length each time, so as not to keep step with a reader.
            interrupts.pause(random.uniform(0.5, 1.5) * timeout / 1000)  # noqa: S311 - no secret
            if time.monotonic() - started > seconds:
                return
        if time.monotonic() - said >= MILLISECONDS_BETWEEN_MESSAGES / 1000:
            said = time.monotonic()
            log.info(message())


# Of a prepared transaction only the lock on its own number tells which one it is.
_HOLDERS = stored_query(__file__, "lock_waiting_holders")
_OF_RELATIONS = sa.text(
    _HOLDERS.format(
        what="l.locktype = 'relation' AND l.relation = ANY "
        "(SELECT to_regclass(name)::oid FROM unnest(CAST(:names AS text[])) name)"
    )
)
_OF_SCHEMAS = sa.text(
    _HOLDERS.format(
        what="l.mode = 'AccessExclusiveLock' AND l.relation IN (SELECT c.oid FROM pg_class c "
        "JOIN pg_namespace n ON n.oid = relnamespace "
        "JOIN unnest(CAST(:prefixes AS text[])) prefix ON starts_with(nspname, prefix))"
    )
)
_OF_LOCK = sa.text(_HOLDERS.format(what=matches(":name")))


def holders_at(connection: sa.Connection, relations: Sequence[RelationName]) -> list[str]:
    """Describe the sessions and prepared transactions that hold locks on any of the relations."""
    names = [relation.quoted for relation in relations]
    return [
        described(item, "since")
        for item in connection.execute(_OF_RELATIONS, {"names": names})
        # A session whose transaction has ended since the locks were read is not in the way.
        if item.pid is None or item.since is not None or item.state is None
    ]


def holders_of_all(connection: sa.Connection, prefixes: Sequence[str]) -> list[str]:
    """Describe who keeps relations from being read, in all schemas with one of some prefixes."""
    found = connection.execute(_OF_SCHEMAS, {"prefixes": list(prefixes)})
    return [described(item, "since") for item in found]


def holders_of_lock(connection: sa.Connection, name: str) -> Sequence[sa.Row[Any]]:
    """Return the sessions and prepared transactions that hold an advisory lock."""
    return connection.execute(_OF_LOCK, {"name": name}).all()


def described(item: sa.Row[Any], of: str = "begun") -> str:
    """Describe a session; its name has the beginning of the run's id, and the step.

    Args:
        item: A row of this module's queries.
        of: `begun` says since when the session is there, `since` what its transaction does.
    """
    if item.pid is None:
        return (
            f"prepared transaction `{item.gid}` (database user {item.owner}, since "
            f"{item.prepared:%Y-%m-%d %H:%M:%S %Z}; COMMIT PREPARED or ROLLBACK PREPARED ends it)"
        )
    return f"session {item.pid} ({', '.join([*session_names(item), *_times(item, of)])})"


def session_names(item: sa.Row[Any]) -> list[str]:
    """Return the names of a session: its own, and its user's."""
    name = item.application_name or item.backend_type or "without a name"
    user = [f"database user {item.usename}"] if item.usename is not None else []
    return [f"`{name}`", *user]


def _times(item: sa.Row[Any], of: str) -> list[str]:
    if of == "begun":
        return [f"since {item.begun:%Y-%m-%d %H:%M:%S %Z}"] if item.begun is not None else []
    if item.since is None:
        return []
    query = " ".join((item.query or "").split())
    return [f"{item.state} since {item.since:%Y-%m-%d %H:%M:%S %Z}: {query}"]
