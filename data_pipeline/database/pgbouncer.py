"""PgBouncer and other pools on the way to the server: whether each connection has its own session.

Runs keep out of each other's way by locks that belong to sessions. A pool such as PgBouncer in
transaction mode gives a connection any free session for each transaction, so that a lock stays with
a session that others use, and nobody can free it.
"""

import secrets
import time
from collections.abc import Callable
from typing import Any

import sqlalchemy as sa

# Pools differ in which free session they take: the last one that was used, the first one, or any.
# Without a rhythm, and each connection twice in a row, none of them looks like two sessions.
_ASKED = (0, 0, 1, 0, 1, 1, 0, 1, 1, 0, 0, 1)
_PATIENCE_SECONDS = 5.0
_LOCK = sa.text("SELECT pg_advisory_lock(:key)")
_IS_LOCKED = sa.text("""
SELECT EXISTS (
    SELECT FROM pg_locks
    WHERE locktype = 'advisory' AND objsubid = 1
      AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
      AND ((classid::bigint << 32) | objid::bigint) = :key
)
""")


def handed_around(first: sa.Connection, second: sa.Connection) -> str | None:
    """Say how two open connections show that they have no session each; None where they do not.

    Args:
        first: A connection in which each statement commits by itself.
        second: Another one.
    """
    found: tuple[set[int], set[int]] = set(), set()
    for number in _ASKED:
        found[number].add(_session((first, second)[number]))
    if shared := found[0] & found[1]:
        return f"session {min(shared)} of the server served two open connections in turn"
    for several in found:
        if len(several) > 1:
            listed = ", ".join(map(str, sorted(several)))
            return f"one connection was served by the sessions {listed} of the server in turn"
    return None


def left_behind(watcher: sa.Connection, connect: Callable[[], sa.Connection]) -> str | None:
    """Say whether a connection that ends leaves its locks with the pool; None where it does not.

    Without a pool, its session ends with it.

    Args:
        watcher: A connection in which each statement commits by itself.
        connect: Opens a connection of its own session.
    """
    driver = watcher.connection.dbapi_connection
    # The number that the client was given at its login is the server's own, but for pools.
    if driver is None or driver.info.backend_pid == _session(watcher):
        return None
    key = {"key": secrets.randbits(63)}
    with connect() as connection, connection.begin():
        connection.execute(_LOCK, key)
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while watcher.scalar(_IS_LOCKED, key):
        if time.monotonic() > deadline:
            return "a connection that has ended left its lock with a session of the pool"
        time.sleep(0.01)
    return None


def refuses_transactions(connect: Callable[[], Any]) -> bool:
    """Whether a server answers statements, but no transactions: a pool in statement mode.

    Args:
        connect: Opens a connection of psycopg2.
    """
    try:
        connection = connect()
    except Exception:
        return False
    try:
        connection.autocommit = True
        cursor = connection.cursor()
        cursor.execute("SELECT 1")
        try:
            cursor.execute("BEGIN")
        except Exception:
            return True
    finally:
        connection.close()
    return False


def _session(connection: sa.Connection) -> int:
    """Return the number of the session of the server that answers."""
    return int(connection.execute(sa.select(sa.func.pg_backend_pid())).scalar_one())
