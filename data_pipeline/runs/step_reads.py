"""Consistent reads: a step sees all of its inputs as they are at one moment.

The relations are locked against replacement, all at once, before the first is read; what a commit
replaces together is then seen together. The locks end with the step, or earlier when its inputs
are all in memory.

Other sessions of the step read the relations too. Whoever wants one for himself meanwhile (VACUUM
FULL, an ALTER TABLE) waits for the locks, and these sessions wait behind him: a circle that
PostgreSQL does not see. So a thread looks for such, lets him pass, and locks all anew.
"""

from collections.abc import Iterable, Mapping
from contextlib import ExitStack, suppress
from threading import Event, Lock, Thread

import sqlalchemy as sa

from data_pipeline.database.connection import Database, database, run
from data_pipeline.database.identifiers import StageTable
from data_pipeline.database.relations import relation_kind
from data_pipeline.database.session_settings import PROGRAM
from data_pipeline.errors import DatabaseError
from data_pipeline.instances import Instance
from data_pipeline.store import catalog
from data_pipeline.store.lookup import (
    FoundTable,
    checked_for_changes,
    committed,
    find_table,
    own_table,
)

Source = tuple[Instance, StageTable]
"""A table of an instance."""

_GONE = frozenset({"42P01", "3F000"})  # undefined table, invalid schema name

_SECONDS_BETWEEN_LOOKS = 2.0
_SAVEPOINT = "held"  # no one of SQLAlchemy's, which end with those within
# Commits of other runs wait for moments only, and would replace what is read.
_IS_CIRCLE = f"""
SELECT pg_stat_clear_snapshot();  -- in a transaction, all later looks would see the same sessions
SELECT EXISTS (
    SELECT FROM pg_locks w JOIN pg_stat_activity a USING (pid)
    WHERE NOT w.granted AND w.locktype = 'relation' AND w.mode = 'AccessExclusiveLock'
      AND NOT starts_with(a.application_name, '{PROGRAM}')
      AND pg_backend_pid() = ANY (pg_blocking_pids(w.pid))
      AND EXISTS (
          SELECT FROM pg_locks o JOIN pg_stat_activity s USING (pid)
          WHERE NOT o.granted AND s.usename = current_user AND w.pid = ANY (pg_blocking_pids(o.pid))
      )
)
"""


class StepReads:
    """The inputs of one step, locked until it is closed or has all of them in memory.

    Args:
        run_id: The run, whose staged tables the step reads.
        sources: All tables that the step may read.
    """

    def __init__(self, run_id: str, sources: Iterable[Source]) -> None:
        self._is_closed = False
        self._found: dict[tuple[str, StageTable], FoundTable] = {}
        self._held: dict[Database, _Held] = {}
        self._use = Lock()  # of the sessions, by one thread at a time
        self._ended = Event()
        self._is_changed = False
        by_database: dict[Database, list[Source]] = {}
        for instance, table in sources:
            own = own_table(instance, table, run_id)
            if own is not None:  # nobody else replaces it, and its stage is not committed meanwhile
                self._found[instance.instance_id, table] = own
            else:
                by_database.setdefault(database(instance), []).append((instance, table))
        with ExitStack() as stack:
            for source, tables in by_database.items():
                connection = stack.enter_context(source.begin())
                self._held[source] = _Held(connection, run_id, tables)
                found = self._held[source].found
                self._found |= {**found, **_looked_at(connection, tables, found)}
            self._stack = stack.pop_all()
        self._locked = set(self._found)
        if self._held:
            Thread(target=self._let_pass, name="step reads", daemon=True).start()

    def __contains__(self, source: Source) -> bool:
        return _key(source) in self._found

    def __getitem__(self, source: Source) -> FoundTable:
        return self._found[_key(source)]

    @property
    def versions(self) -> dict[str, str | None]:
        """The data versions of the tables, by `instance/stage/table`; None: there is none."""
        return {
            f"{instance}/{table}": found.row.data_version if found.row else None
            for (instance, table), found in self._found.items()
        }

    def check(self) -> None:
        """Make sure that the tables have been locked until now.

        Raises:
            DatabaseError: A session that held locks is gone, so they may have changed.
        """
        if self._is_closed:
            return
        with self._use:
            for database_, held in self._held.items():
                try:
                    run(held.connection, "SELECT 1")
                except sa.exc.DBAPIError as error:
                    self._give_up()
                    raise database_.lost(error.orig) from None
        if self._is_changed:
            raise DatabaseError(
                "Somebody has replaced what this step reads, while it let a session pass that "
                "needed a table for itself (VACUUM FULL, ALTER TABLE or the like). Run again."
            )

    def _let_pass(self) -> None:
        while not self._ended.wait(_SECONDS_BETWEEN_LOOKS):
            with self._use:
                if self._is_closed:
                    return
                try:
                    for held in self._held.values():
                        self._is_changed |= held.let_pass()
                except (sa.exc.SQLAlchemyError, DatabaseError, KeyboardInterrupt):
                    return  # `check` finds it out

    def _give_up(self) -> None:
        """Leave the sessions, of which one is gone."""
        self._is_closed = True
        self._ended.set()
        for held in self._held.values():
            held.connection.invalidate()
        with suppress(sa.exc.SQLAlchemyError, DatabaseError):  # there is nothing to be ended
            self._stack.close()

    def loaded(self, source: Source) -> None:
        """Note that a table is in memory; free the locks when all of them are.

        Raises:
            DatabaseError: The tables were not locked until now.
        """
        self._locked.discard(_key(source))
        if not self._locked:
            self.check()
            self.close()

    @property
    def is_closed(self) -> bool:
        """Whether the locks are free; another attempt of the step must take them anew."""
        return self._is_closed

    def close(self) -> None:
        """Free the locks."""
        self._is_closed = True
        self._ended.set()
        with self._use:
            self._stack.close()


class _Held:
    """Tables that a session has locked.

    Attributes:
        connection: The session, in a transaction.
        found: Where each of them is, by instance id and table.
    """

    def __init__(self, connection: sa.Connection, run_id: str, sources: list[Source]) -> None:
        self.connection = connection
        self._run_id = run_id
        self._sources = sources
        run(connection, f"SAVEPOINT {_SAVEPOINT}")
        self.found = lock(connection, run_id, sources)

    def let_pass(self) -> bool:
        """Free and take the locks if somebody waits for them for whom the step waits.

        Returns:
            Whether the tables are others now.
        """
        if not run(self.connection, _IS_CIRCLE).scalar():
            return False
        run(self.connection, f"ROLLBACK TO SAVEPOINT {_SAVEPOINT}")
        return lock(self.connection, self._run_id, self._sources) != self.found


_open: dict[tuple[str, str], StepReads] = {}
_by_code: dict[tuple[str, str], list[StepReads]] = {}
_parts: dict[tuple[str, str], dict[str, str | None]] = {}
"""The versions of the slices that the code of steps has asked for one by one."""
_lock = Lock()


def reads_of(run_id: str, step: str) -> StepReads | None:
    """Return what a step of this process reads, None before its first input."""
    return _open.get((run_id, step))


def open_reads(run_id: str, step: str, sources: Iterable[Source]) -> StepReads:
    """Lock the inputs of a step of this process."""
    reads = StepReads(run_id, sources)
    with _lock:
        _open[run_id, step] = reads
    return reads


def read_by_code(run_id: str, step: str, source: Source) -> StepReads:
    """Lock a table that the code of a step of this process asks for, until the step ends."""
    reads = StepReads(run_id, [source])
    with _lock:
        _by_code.setdefault((run_id, step), []).append(reads)
    return reads


def note_versions(run_id: str, step: str, versions: Mapping[str, str | None]) -> None:
    """Note the data versions of slices of what a step reads, which are inputs of their own."""
    with _lock:
        _parts.setdefault((run_id, step), {}).update(versions)


def versions_read_by_code(run_id: str, step: str) -> dict[str, str | None]:
    """Return the data versions of what the code of a step of this process has asked for."""
    found = dict(_parts.get((run_id, step), {}))
    for reads in _by_code.get((run_id, step), ()):
        found |= reads.versions
    return found


def close_reads(run_id: str, step: str | None = None) -> None:
    """Free what a step of this process has locked; without a step, all steps of the run."""
    with _lock:
        keys = {
            key
            for key in (*_open, *_by_code, *_parts)
            if key[0] == run_id and step in (None, key[1])
        }
        closing = [_open.pop(key) for key in keys if key in _open]
        closing += [reads for key in keys for reads in _by_code.pop(key, ())]
        for key in keys:
            _parts.pop(key, None)
    for reads in closing:
        reads.close()


def lock(
    connection: sa.Connection, run_id: str, sources: list[Source]
) -> Mapping[tuple[str, StageTable], FoundTable]:
    """Lock tables as a run sees them until the transaction ends, all at one moment.

    Returns:
        Where each of them is, by instance id and table.
    """
    while True:
        found = _look(connection, run_id, sources)
        attempt = connection.begin_nested()
        try:
            _lock_relations(connection, found.values())
            _lock_blobs(connection, sources, found)
        except sa.exc.ProgrammingError as error:
            attempt.rollback()
            if getattr(error.orig, "pgcode", None) not in _GONE:
                raise
            continue  # replaced or dropped meanwhile
        if _look(connection, run_id, sources) == found:
            return found
        attempt.rollback()


def _look(
    connection: sa.Connection, run_id: str, sources: list[Source]
) -> dict[tuple[str, StageTable], FoundTable]:
    return {
        (instance.instance_id, table): find_table(connection, instance, table, run_id)
        for instance, table in sources
    }


def _lock_relations(connection: sa.Connection, found: Iterable[FoundTable]) -> None:
    # With a table, PostgreSQL locks its partitions.
    each = [
        part
        for item in found
        for part in (item, *(item.members.values() if item.is_several else ()))
    ]
    names = {
        item.relation.quoted
        for item in each
        if not (item.is_blob or item.is_only_row)
        and relation_kind(connection, item.relation) in ("TABLE", "VIEW")
    }
    if names:
        run(connection, f"LOCK TABLE {', '.join(sorted(names))} IN ACCESS SHARE MODE")


def _lock_blobs(
    connection: sa.Connection,
    sources: Iterable[Source],
    found: Mapping[tuple[str, StageTable], FoundTable],
) -> None:
    """Lock the catalog rows of blobs, which a commit must change before it removes the files."""
    for instance, table in sources:
        if found[instance.instance_id, table].is_blob:
            catalog.keep(connection, instance.catalog_schema, table)


def _looked_at(
    connection: sa.Connection,
    sources: Iterable[Source],
    found: Mapping[tuple[str, StageTable], FoundTable],
) -> dict[tuple[str, StageTable], FoundTable]:
    keys = [
        _key(source) for source in sources if found[_key(source)].relation == committed(*source)
    ]
    return dict(
        zip(keys, checked_for_changes(connection, [found[key] for key in keys]), strict=True)
    )


def _key(source: Source) -> tuple[str, StageTable]:
    instance, table = source
    return instance.instance_id, table
