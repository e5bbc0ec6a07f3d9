"""Loading a staged table by ranges: several at once, and from where an earlier attempt ended."""

import contextvars
import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from queue import Empty, SimpleQueue

import sqlalchemy as sa

from data_pipeline.database.connection import Database, run, transaction
from data_pipeline.database.error_messages import copy_refusal
from data_pipeline.database.identifiers import RelationName, StageTable, quoted
from data_pipeline.errors import DatabaseError
from data_pipeline.instances import Instance
from data_pipeline.results import build
from data_pipeline.results.build import Built
from data_pipeline.results.ranges import loads
from data_pipeline.results.ranges.loads import Load
from data_pipeline.results.ranges.ranged_rows import RangedRows
from data_pipeline.store import staging
from data_pipeline.store.table_properties import Properties
from data_pipeline.transfer.progress import Progress
from data_pipeline.transfer.stable_hash import fingerprint

_MOST_AT_ONCE = 12
"""The pool of connections has a few more."""


@dataclass(frozen=True)
class Target:
    """A staged table that is loaded by ranges.

    Attributes:
        database: The database.
        instance: The instance.
        run_id: The run.
        table: Stage and name.
        properties: What else it is to be.
    """

    database: Database
    instance: Instance
    run_id: str
    table: StageTable
    properties: Properties

    @property
    def relation(self) -> RelationName:
        """The staged relation."""
        return staging.relation_of(self.instance, self.table)

    def identity(self, rows: RangedRows) -> str:
        """Return what a load has to have in common with an earlier one to complete it."""
        return fingerprint("load-1", rows.identity, self._creation(rows), self._completion(rows))

    def create(self, session: sa.Connection, rows: RangedRows) -> None:
        """Create the relation, and list its load.

        Raises:
            ConfigurationError: A property speaks of a column or a type that there is not.
        """
        build.check_columns(self.table, self.properties, [*rows.columns])
        build.check_types(session, self.properties.types)
        with transaction(session):
            staging.check_alive(session, self.instance, self.run_id)
            run(session, self._creation(rows))
            loads.begin(session, self.instance, self.table, self.identity(rows))

    def complete(self, session: sa.Connection, rows: RangedRows, load: Load) -> None:
        """Give the relation with all its rows its types and keys."""
        try:
            with transaction(session):
                staging.check_alive(session, self.instance, self.run_id)
                run(session, "; ".join(self._completion(rows)))
                loads.complete(session, self.instance, self.table, load.rows)
        except sa.exc.DBAPIError as error:
            if error.connection_invalidated or not getattr(error.orig, "pgcode", None):
                raise
            failed = f"Giving `{self.table}`, which is loaded, its types and keys failed"
            raise copy_refusal(error.orig, failed) from None

    def _creation(self, rows: RangedRows) -> str:
        strict = self.properties.not_null([*rows.columns])
        columns = ", ".join(
            f"{quoted(name)} {kind}{' NOT NULL' if name in strict else ''}"
            for name, kind in rows.columns.items()
        )
        is_unlogged = build.is_unlogged(self.properties, self.instance.table_store.unlogged)
        kind = "UNLOGGED TABLE" if is_unlogged else "TABLE"
        return f"CREATE {kind} {self.relation.quoted} ({columns})"

    def _completion(self, rows: RangedRows) -> list[str]:
        changes = [
            f"ALTER COLUMN {quoted(name)} TYPE {kind} USING {quoted(name)}::{kind}"
            for name, kind in self.properties.types.items()
            if rows.columns.get(name, kind) != kind
        ]
        altered = [f"ALTER TABLE {self.relation.quoted} {', '.join(changes)}"] if changes else []
        return [*altered, *build.additions(self.relation, self.properties)]


def continues(
    session: sa.Connection, target: Target, rows: RangedRows, log: logging.Logger
) -> bool:
    """Whether what an earlier attempt has loaded can be completed.

    Args:
        session: A session that commits each statement by itself.
        target: What is to be loaded.
        rows: The rows as they are now.
        log: Says what becomes of it.
    """
    load = loads.found(session, target.instance, target.table)
    if load is None or not load.ranges:
        return False
    there = f"{len(load.ranges)} of {len(rows.ranges)} ranges ({load.rows:,} rows)"
    if (
        load.identity == target.identity(rows)
        and {item.name for item in load.ranges} <= {*rows.ranges}
        and _has_all_rows(session, target, load)
        and rows.is_unchanged(load.ranges)
    ):
        log.info(f"An earlier attempt has loaded {there} of `{target.table}`; the rest follows")
        return True
    why = rows.uncertain or f"{rows.named} is not what it was then"
    log.info(
        f"An earlier attempt has loaded {there} of `{target.table}`, but {why}, so it is loaded "
        "from its beginning"
    )
    return False


def _has_all_rows(session: sa.Connection, target: Target, load: Load) -> bool:
    """Whether all rows are there; a crash of the server empties unlogged tables."""
    count = run(session, f"SELECT count(*) FROM {target.relation.quoted}").scalar()
    return bool(count == load.rows)


def load_ranges(
    session: sa.Connection, target: Target, rows: RangedRows, on_progress: Progress
) -> Built:
    """Load what is missing of a table, several ranges at once, then give it its keys.

    Args:
        session: A session that commits each statement by itself.
        target: The table. Its relation does not exist, or `continues` has said that it does.
        rows: The rows.
        on_progress: Called after each range with rows and seconds so far.

    Raises:
        DatabaseError: A range could not be loaded. Those that were loaded stay.
    """
    started = time.monotonic()
    try:
        load = loads.found(session, target.instance, target.table)
        if load is None:
            target.create(session, rows)
        there = {item.name for item in load.ranges} if load else set[str]()
        missing = [name for name in rows.ranges if name not in there]
        _RangeLoading(target, rows, load.rows if load else 0, on_progress).run(missing)
    finally:
        rows.ended()
    load = _all_loaded(session, target, rows)
    if load.completed is None:
        target.complete(session, rows, load)
        load = _all_loaded(session, target, rows)
    last = [load.completed] if load.completed else []  # it has written all rows if types changed
    writers = [item.writer for item in (*load.ranges, *last)]
    return build.built_by_several(
        target.database, session, target.relation, load.rows, writers, started
    )


def _all_loaded(session: sa.Connection, target: Target, rows: RangedRows) -> Load:
    load = loads.found(session, target.instance, target.table)
    if load is None or {item.name for item in load.ranges} != {*rows.ranges}:
        raise staging.taken_for_dead(target.instance, target.run_id)
    return load


class _RangeLoading:
    """Threads that load ranges, until none is left or one fails."""

    def __init__(self, target: Target, rows: RangedRows, count: int, report: Progress) -> None:
        self._target = target
        self._rows = rows
        self._count = count
        self._report = report
        self._started = time.monotonic()
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._waiting = SimpleQueue[str]()
        self._errors: list[BaseException] = []
        self._cancels: list[Callable[[], object]] = []

    def run(self, names: Sequence[str]) -> None:
        for name in names:
            self._waiting.put(name)
        context = contextvars.copy_context()  # it names sessions after the step
        threads = [
            threading.Thread(target=context.copy().run, args=(self._work,), name="loading")
            for _ in range(min(self._rows.at_once, len(names), _MOST_AT_ONCE))
        ]
        try:
            for thread in threads:
                thread.start()
            _join(threads)
        except BaseException:
            self._over.set()
            with self._lock:
                for cancel in self._cancels:
                    cancel()
            _join(threads)
            raise
        if self._errors:
            raise self._failed(self._errors[0], len(names))

    def _failed(self, error: BaseException, missing: int) -> BaseException:
        if not isinstance(error, DatabaseError):
            return error
        return DatabaseError(
            f"{error}\nWhat was loaded of `{self._target.table}` until then ({self._count:,} rows) "
            f"{self._what_stays}"
        )

    @property
    def _what_stays(self) -> str:
        if self._rows.uncertain:
            return f"is of no use to the next run, since {self._rows.uncertain}."
        return "stays in staging: the next run loads the rest, if the source has not changed."

    def _work(self) -> None:
        try:
            with suppress(Empty):
                while not self._over.is_set():
                    self._load(self._waiting.get_nowait())
        except BaseException as error:
            self._errors.append(error)
            self._over.set()  # the others end with the ranges that they are at

    def _load(self, name: str) -> None:
        target = self._target
        with self._rows.writing(target.database) as session:
            if not session.ask(loads.claim(target.instance, target.table, name)):
                return  # one who was taken for dead has come to its end
            with self._lock:
                self._cancels.append(session.cancel)
            try:
                count, seen = self._rows.load(name, session, target.relation)
            finally:
                with self._lock:
                    self._cancels.remove(session.cancel)
            session.check_alive(target.instance, target.run_id)
            session.ask(loads.end(target.instance, target.table, name, count, seen))
            session.let_count()
        with self._lock:
            self._count += count
            self._report(self._count, time.monotonic() - self._started)


def _join(threads: Iterable[threading.Thread]) -> None:
    for thread in threads:
        if thread.ident is not None:
            thread.join()
