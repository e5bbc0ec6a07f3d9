"""Locks that belong to a database session, so that they vanish with a killed process."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import sqlalchemy as sa

from data_pipeline.instances import Instance
from data_pipeline.tables.connection import Database, run
from data_pipeline.tables.names import RelationName

TRY = sa.text("SELECT pg_try_advisory_lock(hashtextextended(:name, 0))")
WAIT = sa.text("SELECT pg_advisory_lock(hashtextextended(:name, 0))")
_HOLDER = sa.text("""
SELECT a.pid, a.usename, a.application_name, a.backend_start
FROM pg_locks l JOIN pg_stat_activity a USING (pid)
WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
  AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND ((l.classid::bigint << 32) | l.objid::bigint) = hashtextextended(:name, 0)
""")
UNLOCK = sa.text("SELECT pg_advisory_unlock(hashtextextended(:name, 0))")


def holding_session(connection: sa.Connection, name: str) -> sa.Row[Any] | None:
    """Gives the session that holds a lock: pid, usename, application_name, backend_start."""
    return connection.execute(_HOLDER, {"name": name}).first()


def described(session: sa.Row[Any]) -> str:
    """Describes a session; its name has the beginning of the run's id, and the step."""
    return (
        f"session {session.pid} (`{session.application_name}`, database user {session.usename}, "
        f"since {session.backend_start:%Y-%m-%d %H:%M:%S %Z})"
    )


def stage_lock_name(instance: Instance, stage: str) -> str:
    """Names the lock of those who write a stage."""
    return f"data_pipeline:stage:{instance.schema(stage)}"


def commit_lock_name(instance: Instance) -> str:
    """Names the lock that a commit holds: an instance has one at a time."""
    return f"data_pipeline:commit:{instance.instance_id}"


@contextmanager
def building(database: Database, relation: RelationName, log: logging.Logger) -> Iterator[None]:
    """Keeps other sessions from building the same table until the block ends.

    Raises:
        DatabaseError: The server cannot be reached, or the lock was lost on the way.
    """
    name = f"data_pipeline:{relation}"
    parameters = {"name": name}
    with database.session() as connection:
        run(connection, "SET idle_session_timeout = 0")  # building may take hours
        if not connection.scalar(TRY, parameters):
            holder = holding_session(connection, name)
            who = described(holder) if holder is not None else "another run"
            log.info(f"Waiting for {who}, which is building {relation}")
            connection.execute(WAIT, parameters)
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
