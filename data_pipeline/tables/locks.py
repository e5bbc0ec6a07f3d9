"""Locks that belong to a database session, so that they vanish with a killed process."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import sqlalchemy as sa

from data_pipeline.instances import Instance
from data_pipeline.tables.connection import Database
from data_pipeline.tables.names import RelationName

_TRY = sa.text("SELECT pg_try_advisory_lock(hashtextextended(:name, 0))")
_WAIT = sa.text("SELECT pg_advisory_lock(hashtextextended(:name, 0))")
_UNLOCK = sa.text("SELECT pg_advisory_unlock(hashtextextended(:name, 0))")


def commit_lock_name(instance: Instance) -> str:
    """Names the lock that a commit holds: an instance has one at a time."""
    return f"data_pipeline:commit:{instance.instance_id}"


@contextmanager
def building(database: Database, relation: RelationName, log: logging.Logger) -> Iterator[None]:
    """Keeps other sessions from building the same table until the block ends.

    Raises:
        DatabaseError: The server cannot be reached, or the lock was lost on the way.
    """
    parameters = {"name": f"data_pipeline:{relation}"}
    with database.session() as connection:
        if not connection.scalar(_TRY, parameters):
            log.info(f"Waiting for another run that is building {relation}")
            connection.execute(_WAIT, parameters)
        try:
            yield
        except BaseException:
            # When the server is gone, so is the lock; the error that says so is on its way.
            with suppress(sa.exc.DBAPIError):
                connection.execute(_UNLOCK, parameters)
            raise
        try:
            connection.execute(_UNLOCK, parameters)
        except sa.exc.DBAPIError as error:
            raise database.lost(error.orig) from None
