"""Leases: what steps in other processes, on whatever machine, know of the leader of their run.

The leader keeps a row in `<instance_id>_catalog.leases` from lapsing, which also says what each
step is asked to compute. A step has a row of its own, and a lock that vanishes with its process. A
run whose lease has lapsed counts as dead, whatever the server still takes its session for.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB, insert

from data_pipeline.database.advisory_locks import RUN_PREFIX, STEP_PREFIX, matches
from data_pipeline.instances import Instance
from data_pipeline.store import catalog

LEASES = "leases"

LEADER = ""
"""The step of the row that the leader renews."""

_COLUMNS = ("run_id", "step", "until", "seconds", "asked")
_NOW = sa.func.clock_timestamp()
_RUN_LOCK = matches(f"'{RUN_PREFIX}' || leases.run_id")
_STEP_LOCK = matches(f"'{STEP_PREFIX}' || leases.run_id || ':' || leases.step")


def _is_held(lock: str) -> sa.ColumnElement[bool]:
    sql = f"EXISTS (SELECT FROM pg_locks l WHERE l.granted AND {lock})"
    return sa.literal_column(sql, sa.Boolean())


@dataclass(frozen=True)
class Lease:
    """What a step finds of the leader of its run.

    Attributes:
        is_valid: Whether the leader is at work.
        seconds: How long the lease lasts.
        asked: What the step is asked to compute, see `identity.asked`; None where nothing is said.
    """

    is_valid: bool
    seconds: float
    asked: Mapping[str, Any] | None


def grant(
    connection: sa.Connection,
    instance: Instance,
    run_id: str,
    asked: Mapping[str, Any],
    seconds: float,
) -> None:
    """Let steps of a run work in other processes.

    Args:
        connection: A transaction.
        instance: The instance of the run.
        run_id: The run.
        asked: What each step is asked to compute.
        seconds: How long the lease lasts unless it is renewed.
    """
    table = _table(instance.catalog_schema)
    end(connection, instance, run_id)
    values = {"run_id": run_id, "step": LEADER, "seconds": seconds, "asked": dict(asked)}
    connection.execute(sa.insert(table).values(until=_in(seconds), **values))


def renew(
    connection: sa.Connection, instance: Instance, run_id: str, seconds: float
) -> tuple[set[str], set[str]]:
    """Keep the lease of a run from lapsing.

    Returns:
        The steps on which processes are at work; and those that have begun and whose processes are
        not there any more: they have ended, or were lost.
    """
    table = _table(instance.catalog_schema)
    own = table.c.run_id == run_id
    renewed = sa.update(table).where(own, table.c.step == LEADER).values(until=_in(seconds))
    connection.execute(renewed)
    begun = sa.select(table.c.step, _is_held(_STEP_LOCK)).where(own, table.c.step != LEADER)
    steps = [tuple(row) for row in connection.execute(begun)]
    return {step for step, held in steps if held}, {step for step, held in steps if not held}


def find(connection: sa.Connection, instance: Instance, run_id: str, step: str) -> Lease | None:
    """Return the lease of a run as a step finds it; None where the run has none."""
    if not catalog.exists(connection, instance.catalog_schema, LEASES):
        return None
    table = _table(instance.catalog_schema)
    query = sa.select(
        sa.and_(table.c.until > _NOW, _is_held(_RUN_LOCK)).label("is_valid"),
        table.c.seconds,
        table.c.asked["steps"][step].label("asked"),
    ).where(table.c.run_id == run_id, table.c.step == LEADER)
    found = connection.execute(query).one_or_none()
    return Lease(found.is_valid, found.seconds, found.asked) if found else None


def begin(connection: sa.Connection, instance: Instance, run_id: str, step: str) -> None:
    """Note that a process works on a step; it holds the step's lock from before to its end."""
    statement = insert(_table(instance.catalog_schema)).values(run_id=run_id, step=step)
    connection.execute(statement.on_conflict_do_nothing())


def forget(
    connection: sa.Connection, instance: Instance, run_id: str, steps: Iterable[str]
) -> None:
    """Forget steps that have ended, and will be tried again."""
    table = _table(instance.catalog_schema)
    own = sa.and_(table.c.run_id == run_id, table.c.step.in_(list(steps)))
    connection.execute(sa.delete(table).where(own, table.c.step != LEADER))


def end(connection: sa.Connection, instance: Instance, run_id: str) -> None:
    """Take the lease of a run from its steps, and forget these."""
    table = _table(instance.catalog_schema)
    connection.execute(sa.delete(table).where(table.c.run_id == run_id))


def known(connection: sa.Connection, instance: Instance) -> dict[str, bool]:
    """Name the runs that have a lease, each with whether it has lapsed."""
    if not catalog.exists(connection, instance.catalog_schema, LEASES):
        return {}
    table = _table(instance.catalog_schema)
    query = sa.select(table.c.run_id, (table.c.until <= _NOW).label("lapsed"))
    found = connection.execute(query.where(table.c.step == LEADER))
    return {item.run_id: item.lapsed for item in found}


def _in(seconds: float) -> sa.ColumnElement[Any]:
    return _NOW + sa.func.make_interval(0, 0, 0, 0, 0, 0, sa.literal(seconds, sa.Float()))


@cache
def _table(schema: str) -> sa.TableClause:
    kinds: dict[str, Any] = {
        "asked": JSONB(),
        "until": sa.DateTime(timezone=True),
        "seconds": sa.Float(),
    }
    columns = [sa.column(name, kinds.get(name, sa.Text())) for name in _COLUMNS]
    return sa.table(LEASES, *columns, schema=schema)
