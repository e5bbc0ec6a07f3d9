"""The database session of a run: its locks, and its commits.

A run locks itself and each table that it writes, the tables in the order of their names, so that
runs never wait for each other in a circle. Runs that write different tables do not wait for each
other; they share the locks of the stages, which `drop` takes alone. The server frees all locks when
the process is gone.
"""

import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field

import sqlalchemy as sa

from data_pipeline.database.advisory_locks import (
    SHARE,
    TRY,
    TRY_EACH,
    TRY_SHARE,
    UNLOCK_EACH,
    WAIT,
    run_lock_name,
    stage_lock_name,
    table_lock_name,
)
from data_pipeline.database.connection import Database, interruptible, run
from data_pipeline.database.error_messages import Lacking
from data_pipeline.database.identifiers import StageTable, literal
from data_pipeline.database.lock_waiting import LOCK_NOT_AVAILABLE, MILLISECONDS_BETWEEN_MESSAGES
from data_pipeline.database.session_settings import session_name
from data_pipeline.instances import Instance
from data_pipeline.store import catalog, staging
from data_pipeline.store.active_runs import run_registry

Holder = tuple[int, str, str]
"""A snapshot: process, transaction, and the oldest transaction that it does not see the end of."""


@dataclass
class SnapshotWaits:
    """For whom a run waits, or has waited, on account of their snapshots.

    Attributes:
        since: When each was seen first, in seconds.
        candidates: Who was there at the first look for some rows, by their transaction: whoever has
            come later sees these rows.
        named: Those who were waited for in vain.
    """

    since: dict[Holder, float] = field(default_factory=dict)
    candidates: dict[str, frozenset[Holder]] = field(default_factory=dict)
    named: set[Holder] = field(default_factory=set)


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
        self.snapshots = SnapshotWaits()
        self._stages: set[str] = set()
        database.check_sessions()
        self._tables: dict[str, StageTable] = {}  # by the name of the lock
        self._connection = database.private_connection()
        # Nobody else can end the session, and the locks that it has by then, where this fails.
        with ExitStack() as opened:
            opened.callback(self._connection.close)
            with self.begin() as connection:
                catalog.ensure(connection, instance.catalog_schema)
            self._lock(run_lock_name(run_id), "the same run")
            with self.begin() as connection:  # so that others know whom they wait for, even now
                run_registry.register(connection, instance, run_id, (), {})
            opened.pop_all()
        staging.follow(run_id)

    def __repr__(self) -> str:
        tables = ", ".join(sorted(map(str, self.tables)))
        return f"<RunSession {self.run_id} on {self.instance.instance_id!r}, locks {tables}>"

    @property
    def stages(self) -> frozenset[str]:
        """The stages that it keeps from being dropped: it writes to them, or cleans them up."""
        return frozenset(self._stages)

    @property
    def tables(self) -> frozenset[StageTable]:
        """The tables and blobs whose locks it holds: nobody else writes them."""
        return frozenset(self._tables.values())

    def register(self, inputs: Mapping[str, str | None]) -> None:
        """List the run as being at work, and dead ones as such.

        Args:
            inputs: Data versions of what it reads and does not compute.
        """
        with self.begin() as connection:
            run_registry.bury(connection, self.instance)
            run_registry.register(connection, self.instance, self.run_id, self._stages, inputs)

    def take(self, tables: Iterable[StageTable], stages: Iterable[str] = ()) -> None:
        """Take the locks of tables; wait for runs that hold them, and say for whom.

        What the run knows of the tables may have changed when this returns.

        Args:
            tables: The tables and blobs that it may write.
            stages: Further stages, to which it writes nothing but which must not be dropped.
        """
        wanted = {table_lock_name(self.instance, table): table for table in tables}
        new = wanted.keys() - self._tables.keys()
        for stage in sorted({table.stage for table in wanted.values()}.union(stages)):
            self._share(stage)
        if new and self._tables and min(new) < max(self._tables):
            wanted |= self._tables
            self.give_back(self.tables)
        while missing := wanted.keys() - self._tables.keys():
            first = self._try({name: wanted[name] for name in missing})
            if first is not None:
                table = wanted[first]
                self._lock(first, f"{self._named(table.stage)}: `{table}`")
                self._tables[first] = table

    def give_back(self, tables: Iterable[StageTable]) -> None:
        """Free the locks of tables for other runs."""
        names = self._tables.keys() & {table_lock_name(self.instance, table) for table in tables}
        if not names:
            return
        with self.begin() as connection:
            connection.execute(UNLOCK_EACH, {"names": sorted(names)})
        for name in names:
            del self._tables[name]

    @contextmanager
    def begin(self) -> Iterator[sa.Connection]:
        """Open a transaction in this session.

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
        """Take the run off the list, and ends the session."""
        # Where the session is gone already, other runs see that this one is dead.
        with suppress(Exception, KeyboardInterrupt), self.begin() as connection:
            run_registry.remove(connection, self.instance, [self.run_id])
        staging.unfollow(self.run_id)
        self._stages.clear()
        self._tables.clear()
        with suppress(Exception):
            self._connection.close()

    def _share(self, stage: str) -> None:
        """Keep a stage from being dropped."""
        if stage not in self._stages:
            name = stage_lock_name(self.instance, stage)
            self._lock(name, self._named(stage), TRY_SHARE, SHARE)
            self._stages.add(stage)

    def _named(self, stage: str) -> str:
        return f"stage `{stage}` of instance `{self.instance.name}`"

    def _try(self, wanted: Mapping[str, StageTable]) -> str | None:
        """Take locks, in their order, up to the first that somebody else holds.

        Returns:
            That one; None where all are taken.
        """
        with self.begin() as connection:
            found = connection.execute(TRY_EACH, {"names": sorted(wanted)})
            taken = {item.name for item in found if item.taken}
            first = min(wanted.keys() - taken, default=None)
            later = [name for name in taken if first is not None and name > first]
            if later:
                connection.execute(UNLOCK_EACH, {"names": later})
        self._tables |= {name: wanted[name] for name in taken.difference(later)}
        return first

    def _lock(
        self, name: str, what: str, try_: sa.TextClause = TRY, wait: sa.TextClause = WAIT
    ) -> None:
        with self.begin() as connection:
            run(connection, f"SET application_name = {literal(session_name())}")
            if connection.scalar(try_, {"name": name}):
                return
        while True:
            with self.begin() as connection:
                run_registry.bury(connection, self.instance)
                holder = run_registry.holder(connection, self.instance, name)
            if holder:
                self.log.info(f"Waiting for {holder}, which is at work on {what}")
            try:
                with self.begin() as connection:
                    run(connection, f"SET LOCAL lock_timeout = {MILLISECONDS_BETWEEN_MESSAGES}")
                    connection.execute(wait, {"name": name})
                    return
            except sa.exc.DBAPIError as error:
                if getattr(error.orig, "pgcode", None) != LOCK_NOT_AVAILABLE:
                    raise
