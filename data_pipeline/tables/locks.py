"""Locks that belong to a database session, so that they vanish with a killed process."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa

from data_pipeline.tables.connection import Database
from data_pipeline.tables.names import RelationName

_TRY = sa.text("SELECT pg_try_advisory_lock(hashtextextended(:name, 0))")
_WAIT = sa.text("SELECT pg_advisory_lock(hashtextextended(:name, 0))")
_UNLOCK = sa.text("SELECT pg_advisory_unlock(hashtextextended(:name, 0))")


@contextmanager
def building(database: Database, relation: RelationName, log: logging.Logger) -> Iterator[None]:
    """Keeps other sessions from building the same table until the block ends."""
    parameters = {"name": f"data_pipeline:{relation}"}
    with database.begin() as connection:
        if not connection.scalar(_TRY, parameters):
            log.info(f"Waiting for another run that is building {relation}")
            connection.execute(_WAIT, parameters)
        try:
            yield
        finally:
            if not connection.invalidated:
                connection.execute(_UNLOCK, parameters)
