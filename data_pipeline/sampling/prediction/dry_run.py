"""A dry run: how each table of a sample will be chosen, and how large it will be."""

import os
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import sqlalchemy as sa

from data_pipeline.database.connection import database
from data_pipeline.database.identifiers import RelationName
from data_pipeline.instances import Instance
from data_pipeline.sampling.engine.closure_limit import ClosureLimitError, check_limit
from data_pipeline.sampling.engine.selection import checked
from data_pipeline.sampling.engine.workspace import Workspace, copied_view, lock_for_selection
from data_pipeline.sampling.plan.sample_plan import SamplePlan, without_limit
from data_pipeline.sampling.prediction.budget import (
    Sized,
    refusal_of_closure,
    sized_selection,
)
from data_pipeline.sampling.prediction.messages_of_draws import parted_rows
from data_pipeline.sampling.prediction.predicted_sizes import predicted_sizes
from data_pipeline.sampling.prediction.probed_conditions import check_repeatable, is_view
from data_pipeline.sampling.prediction.sizes import TableSize, extents

PROBE_SECONDS = 4.0
"""So long it is tried to choose the rows, before their number is predicted from statistics."""

_TRIED_ROWS = 200_000
"""Of sources with more rows, statistics alone say enough: what coverage adds is little there."""

_POLL = 0.1
_CANCELED = "57014"


@dataclass(frozen=True)
class DryRun:
    """What a sample of a stage will be.

    Attributes:
        stage: The stage of the input tables.
        sizes: The tables.
        measured: Whether the rows were chosen on trial; else their numbers are predictions.
        note: What is to be said of rates that were chosen.
        refused: Why a run would refuse it, by its tables as they would be.
    """

    stage: str
    sizes: list[TableSize]
    measured: bool
    note: str | None
    refused: tuple[str, ...] = ()


def dry_run(
    instance: Instance,
    plan: SamplePlan,
    sources: Mapping[str, sa.Table],
    seconds: float = PROBE_SECONDS,
) -> DryRun:
    """Say how large the sample of a stage will be; nothing stays in the database.

    Args:
        instance: The instance.
        plan: What will be chosen.
        sources: The tables that it will be chosen from.
        seconds: So long it is tried to choose the rows.

    Raises:
        ConfigurationError: Specification and tables do not fit.
    """
    with database(instance).begin() as connection:
        relations = [
            RelationName(table.schema or "public", table.name) for table in sources.values()
        ]
        # Others may choose for the same stage meanwhile: the working tables are not theirs.
        place = f"dry run of {plan.graph.stage} by {os.getpid()}"
        rows = sum(extent.rows for extent in extents(connection, sources).values())
        stage, found = plan.graph.stage, None
        with connection.begin_nested() as savepoint:
            schema = instance.sample_work_schema
            space = Workspace.open(connection, schema, place)
            lock_for_selection(connection, schema, place, relations)
            check_repeatable(space, plan, sources)
            if not any(is_view(connection, table) for table in sources.values()):
                checked(space, plan, sources)  # predictions do not look at these
            if rows <= _TRIED_ROWS:
                found = _measured(space, plan, sources, seconds)
            savepoint.rollback()
        if found is not None:
            sized, refused = found
            sizes, note = sized.sizes, sized.note
        else:
            sizes, note, refused = predicted_sizes(connection, plan, sources)
    note = "\n  ".join(filter(None, (note, *parted_rows(plan)))) or None
    return DryRun(stage, sizes, measured=found is not None, note=note, refused=refused)


def _measured(
    space: Workspace, plan: SamplePlan, sources: Mapping[str, sa.Table], seconds: float
) -> tuple[Sized, tuple[str, ...]] | None:
    """Choose the rows, and say where they are beyond `closure_limit`; None: that takes too long."""
    limit = plan.settings.closure_limit
    try:
        with space.connection.begin_nested(), time_limit(space.connection, seconds):
            tables = {name: _relation(space, name, table) for name, table in sources.items()}
            sized = sized_selection(space, without_limit(plan), tables)
            chosen, connection = sized.selection, space.connection
            try:
                check_limit(connection, chosen, chosen.brought, limit, sized.note)
            except ClosureLimitError as error:
                return sized, (refusal_of_closure(space, plan, tables, error),)
            return sized, ()
    except sa.exc.OperationalError as error:
        if getattr(error.orig, "pgcode", None) != _CANCELED:
            raise
        return None


def _relation(space: Workspace, name: str, source: sa.Table) -> sa.Table:
    if not is_view(space.connection, source):
        return source
    space.create(sa.select(source), "copy", name)
    return copied_view(source, space.name("copy", name))


@contextmanager
def time_limit(connection: sa.Connection, seconds: float) -> Iterator[None]:
    """Cancel what the server does for a connection after some time.

    The statement that is cancelled fails with an OperationalError.
    """
    driver, done = connection.connection.driver_connection, threading.Event()
    deadline = time.monotonic() + seconds

    def watch() -> None:
        while not done.wait(_POLL):
            if time.monotonic() > deadline:  # again and again: between statements it is lost
                driver.cancel()  # type: ignore[union-attr] # there is one while it is open

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()
