"""The list of runs that are at work on an instance, `<instance_id>_catalog.runs`.

A run holds a session lock of its own (see `run_session.py`), so one that is listed without its lock
is dead, and so is one that lets its lease lapse (see `lease_rows.py`).
"""

import getpass
import os
import socket
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from data_pipeline.database.advisory_locks import RUN_PREFIX, matches
from data_pipeline.database.identifiers import literal, quoted
from data_pipeline.database.lock_waiting import described, holders_of_lock, session_names
from data_pipeline.database.session_settings import end_sessions
from data_pipeline.instances import Instance
from data_pipeline.store import catalog
from data_pipeline.store.active_runs import lease_rows

RUNS = "runs"

_COLUMNS = (
    "run_id",
    "username",
    "host",
    "pid",
    "backend_pid",
    "started_at",
    "stages",
    "inputs",
    "reads",
    "is_buried",
)
_TOLD = ("run_id", "username", "host", "pid", "started_at", "stages", "inputs")
_IS_LOCK = matches(f"'{RUN_PREFIX}' || runs.run_id")


@dataclass(frozen=True)
class ActiveRun:
    """A run that is listed as being at work.

    Attributes:
        run_id: The Dagster run.
        username: Operating-system user.
        host: Machine.
        pid: Process on that machine.
        started_at: Since when.
        stages: The stages that it may write.
        inputs: Data versions of what it reads and does not compute, by name, as it began.
        is_alive: Whether it still holds its lock, and has not let its lease lapse.
    """

    run_id: str
    username: str
    host: str
    pid: int
    started_at: datetime
    stages: Sequence[str]
    inputs: Mapping[str, str]
    is_alive: bool

    @property
    def is_here(self) -> bool:
        """Whether its process is this one."""
        return (self.host, self.pid) == (socket.gethostname(), os.getpid())

    def __str__(self) -> str:
        since = f"{self.started_at:%Y-%m-%d %H:%M:%S %Z}"
        return f"run {self.run_id} of {self.username} on {self.host} (since {since})"


def register(
    connection: sa.Connection,
    instance: Instance,
    run_id: str,
    stages: Iterable[str],
    inputs: Mapping[str, str | None],
) -> None:
    """List a run as being at work; the connection is the one that holds its locks.

    Args:
        connection: A transaction.
        instance: The instance that it writes.
        run_id: The run.
        stages: The stages that it may write.
        inputs: Data versions of what it reads and does not compute, by name.
    """
    remove(connection, instance, [run_id])
    values = {
        "username": _username(),
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "backend_pid": sa.func.pg_backend_pid(),
        "started_at": sa.func.clock_timestamp(),
        "stages": sorted(stages),
        "inputs": dict(inputs),
    }
    connection.execute(sa.insert(_table(instance.catalog_schema)).values(run_id=run_id, **values))


def is_registered(connection: sa.Connection, instance: Instance, run_id: str) -> bool:
    """Whether a run is listed as being at work; it stays so until the transaction ends."""
    if not catalog.exists(connection, instance.catalog_schema, RUNS):
        return False
    return connection.scalar(registered(instance.catalog_schema, sa.literal(run_id))) is not None


def registered_statement(instance: Instance, run_id: str) -> str:
    """Return the statement that gives a run if it is listed as at work, as `registered` does."""
    table = quoted(instance.catalog_schema, RUNS)
    return (
        f"SELECT run_id FROM {table} WHERE run_id = {literal(run_id)} AND NOT is_buried FOR SHARE"
    )


def registered(
    schema: str, run_id: sa.ColumnElement[Any], *values: sa.ColumnElement[Any]
) -> sa.Select[Any]:
    """Return the query that gives values (by default, the run) if a run is listed as at work.

    It stays so until the transaction ends.
    """
    table = _table(schema)
    query = sa.select(*(values or (table.c.run_id,)))
    alive = query.where(table.c.run_id == run_id, ~table.c.is_buried)
    return alive.with_for_update(read=True, of=table)


def active(connection: sa.Connection, instance: Instance) -> list[ActiveRun]:
    """Return the runs that are listed, dead ones included."""
    if not catalog.exists(connection, instance.catalog_schema, RUNS):
        return []
    table = _table(instance.catalog_schema)
    held: sa.ColumnElement[bool] = sa.literal_column(
        f"EXISTS (SELECT FROM pg_locks l WHERE l.granted AND {_IS_LOCK})"
    )
    # Named one by one: a catalog of an earlier version lacks what later ones have added.
    told = [table.c[name] for name in _TOLD]
    query = sa.select(*told, held.label("is_alive")).order_by(table.c.started_at)
    lapsed = lease_rows.known(connection, instance)
    return [
        ActiveRun(
            item.run_id,
            item.username,
            item.host,
            item.pid,
            item.started_at,
            item.stages,
            item.inputs or {},
            item.is_alive and not lapsed.get(item.run_id, False),
        )
        for item in connection.execute(query)
    ]


def row(connection: sa.Connection, instance: Instance, run_id: str) -> ActiveRun | None:
    """Return a run, None where it is not listed."""
    return next((item for item in active(connection, instance) if item.run_id == run_id), None)


def note_read(
    connection: sa.Connection,
    instance: Instance,
    run_id: str,
    step: str,
    versions: Mapping[str, str | None],
) -> None:
    """Note what the code of a step has read by itself, for the process that leads the run.

    Args:
        connection: A transaction.
        instance: The instance that the run writes.
        run_id: The run; one that is not listed leads itself.
        step: The step.
        versions: Data versions, by name.
    """
    if not catalog.exists(connection, instance.catalog_schema, RUNS):
        return
    table = _table(instance.catalog_schema)
    before = connection.execute(
        sa.select(table.c.reads).where(table.c.run_id == run_id).with_for_update()
    ).one_or_none()
    if before is not None:
        reads = dict(before.reads or {})
        reads[step] = {**reads.get(step, {}), **versions}
        own = table.c.run_id == run_id
        connection.execute(sa.update(table).where(own).values(reads=reads))


def reads_by_code(
    connection: sa.Connection, instance: Instance, run_id: str
) -> Mapping[str, Mapping[str, str | None]]:
    """Return what the code of steps of a run has read by itself: data versions, by step."""
    table = _table(instance.catalog_schema)
    found = connection.scalar(sa.select(table.c.reads).where(table.c.run_id == run_id))
    return found or {}


def bury(connection: sa.Connection, instance: Instance) -> None:
    """Mark the dead runs: what their processes still build is refused from now on.

    Sessions of their steps, on whatever machine, are ended, so that nobody waits for them.
    """
    dead = [run.run_id for run in active(connection, instance) if not run.is_alive]
    if dead:
        table = _table(instance.catalog_schema)
        connection.execute(sa.update(table).where(table.c.run_id.in_(dead)).values(is_buried=True))
        for run_id in lease_rows.known(connection, instance).keys() & dead:
            end_sessions(connection, run_id)
            lease_rows.end(connection, instance, run_id)


def cleared(connection: sa.Connection, instance: Instance, stages: Iterable[str]) -> None:
    """Note that nothing of the buried runs is left in some stages."""
    table = _table(instance.catalog_schema)
    for item in connection.execute(sa.select(table).where(table.c.is_buried)).all():
        rest = sorted(set(item.stages) - set(stages))
        own = table.c.run_id == item.run_id
        if rest:
            connection.execute(sa.update(table).where(own).values(stages=rest))
        else:
            connection.execute(sa.delete(table).where(own))


def remove(connection: sa.Connection, instance: Instance, run_ids: Iterable[str]) -> None:
    """Take runs off the list."""
    table = _table(instance.catalog_schema)
    connection.execute(sa.delete(table).where(table.c.run_id.in_(list(run_ids))))


def holder(connection: sa.Connection, instance: Instance, name: str) -> str | None:
    """Say who holds a lock: runs, or sessions that are none; None where nobody does."""
    found = holders_of_lock(connection, name)
    return " and ".join(_holding(connection, instance, item) for item in found) or None


def _holding(connection: sa.Connection, instance: Instance, item: sa.Row[Any]) -> str:
    listed = None
    if item.pid is not None and catalog.exists(connection, instance.catalog_schema, RUNS):
        table = _table(instance.catalog_schema)
        query = sa.select(table).where(table.c.backend_pid == item.pid)
        # The newest: a dead run may have had a process of the same number.
        listed = connection.execute(query.order_by(table.c.started_at.desc())).first()
    if listed is None:
        return described(item)
    return (
        f"run {listed.run_id} of {listed.username} on {listed.host} "
        f"(since {listed.started_at:%Y-%m-%d %H:%M:%S %Z}, session {item.pid}, "
        f"{', '.join(session_names(item))})"
    )


@cache
def _table(schema: str) -> sa.TableClause:
    kinds: dict[str, Any] = {
        "inputs": JSONB(),
        "reads": JSONB(),
        "stages": JSONB(),
        "started_at": sa.DateTime(timezone=True),
        "is_buried": sa.Boolean(),
    }
    columns = [sa.column(name, kinds.get(name)) for name in _COLUMNS]
    return sa.table(RUNS, *columns, schema=schema)


def _username() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container whose user id has no name
        return "unknown"
