"""The database session of a run: its locks, and its commits.

A run locks itself and each stage that it writes, the stages in the order of their names, so that
runs never wait for each other in a circle. The server frees the locks when the process is gone.
"""

import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress

import sqlalchemy as sa

from data_pipeline.instances import Instance
from data_pipeline.tables import catalog, runs
from data_pipeline.tables.connection import Database, interruptible, run
from data_pipeline.tables.locks import (
    LOCK_NOT_AVAILABLE,
    MILLISECONDS_BETWEEN_MESSAGES,
    TRY,
    UNLOCK,
    WAIT,
    stage_lock_name,
)
from data_pipeline.tables.names import literal
from data_pipeline.tables.rights import Lacking
from data_pipeline.tables.session_name import session_name

# A run may take hours between two commits.
_NO_TIMEOUTS = "SET idle_session_timeout = 0; SET idle_in_transaction_session_timeout = 0"


class RunSession:
    """The database session of a run's leading process: its locks, and its commits.

    Losing it means losing the locks; so commits go by this very session.

    Args:
        database: The database of the instance.
        instance: The instance that the run writes.
        run_id: The run.
        log: Says for whom it waits.
        code_location: The name of the run's code location; None where it is not known.
    """

    def __init__(
        self,
        database: Database,
        instance: Instance,
        run_id: str,
        log: logging.Logger,
        code_location: str | None = None,
    ) -> None:
        self.code_location = code_location
        self.instance = instance
        self.run_id = run_id
        self.database = database
        self.log = log
        self._stages: set[str] = set()
        database.check_sessions()
        self._connection = database.private_connection()
        with self.begin() as connection:
            run(connection, _NO_TIMEOUTS)
            catalog.ensure(connection, instance.catalog_schema)
        self._lock(runs.lock_name(run_id), "the same run")
        with self.begin() as connection:  # so that others know whom they wait for, even now
            runs.register(connection, instance, run_id, (), {})

    def __repr__(self) -> str:
        stages = ", ".join(sorted(self._stages))
        return f"<RunSession {self.run_id} on {self.instance.instance_id!r}, locks {stages}>"

    @property
    def stages(self) -> frozenset[str]:
        """The stages whose locks it holds."""
        return frozenset(self._stages)

    def register(self, inputs: Mapping[str, str | None]) -> None:
        """Lists the run as being at work, and dead ones as such.

        Args:
            inputs: Data versions of what it reads and does not compute.
        """
        with self.begin() as connection:
            runs.bury(connection, self.instance)
            runs.register(connection, self.instance, self.run_id, self._stages, inputs)

    def take(self, stages: Iterable[str]) -> None:
        """Takes the locks of stages; waits for runs that hold them, and says for whom."""
        wanted = self._stages | set(stages)
        new = wanted - self._stages
        if new and self._stages and min(new) < max(self._stages):
            self.give_back(self._stages)
        for stage in sorted(wanted - self._stages):
            self._lock(
                stage_lock_name(self.instance, stage),
                f"stage `{stage}` of instance `{self.instance.name}`",
            )
            self._stages.add(stage)

    def give_back(self, stages: Iterable[str]) -> None:
        """Frees the locks of stages for other runs."""
        for stage in set(stages) & self._stages:
            with self.begin() as connection:
                connection.execute(UNLOCK, {"name": stage_lock_name(self.instance, stage)})
            self._stages.discard(stage)

    @contextmanager
    def begin(self) -> Iterator[sa.Connection]:
        """Opens a transaction in this session.

        Raises:
            DatabaseError: The session is gone, and its locks with it.
        """
        if self._connection.invalidated:  # SQLAlchemy would connect anew, without the locks
            raise self.database.lost("the locks of the run went with it")
        try:
            with interruptible(self._connection), self._connection.begin():
                yield self._connection
        except sa.exc.DBAPIError as error:
            if error.connection_invalidated or self._connection.invalidated:
                raise self.database.lost(error.orig) from None
            if lacking := Lacking.of(error.orig, error.statement):
                raise self.database.refused(lacking) from None
            raise

    def close(self) -> None:
        """Takes the run off the list, and ends the session."""
        # Where the session is gone already, other runs see that this one is dead.
        with suppress(Exception, KeyboardInterrupt), self.begin() as connection:
            runs.remove(connection, self.instance, [self.run_id])
        self._stages.clear()
        with suppress(Exception):
            self._connection.close()

    def _lock(self, name: str, what: str) -> None:
        with self.begin() as connection:
            run(connection, f"SET application_name = {literal(session_name())}")
            if connection.scalar(TRY, {"name": name}):
                return
        while True:
            with self.begin() as connection:
                holder = runs.holder(connection, self.instance, name)
            if holder:
                self.log.info(f"Waiting for {holder}, which is at work on {what}")
            try:
                with self.begin() as connection:
                    run(connection, f"SET LOCAL lock_timeout = {MILLISECONDS_BETWEEN_MESSAGES}")
                    connection.execute(WAIT, {"name": name})
                    return
            except sa.exc.DBAPIError as error:
                if getattr(error.orig, "pgcode", None) != LOCK_NOT_AVAILABLE:
                    raise
