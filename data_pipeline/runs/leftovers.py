"""What dead runs left in staging: adopted by the next run where it is valid, dropped otherwise."""

from collections.abc import Iterable, Set
from pathlib import Path

import sqlalchemy as sa

from data_pipeline.database.advisory_locks import build_lock_name, reserve, try_for_transaction
from data_pipeline.database.connection import Database, run
from data_pipeline.database.identifiers import StageTable
from data_pipeline.database.lock_waiting import is_busy
from data_pipeline.database.relations import relation_kind
from data_pipeline.instances import Instance
from data_pipeline.runs.run_session import RunSession
from data_pipeline.store import catalog, slots, staging
from data_pipeline.store.active_runs import run_registry
from data_pipeline.store.blobs import blob_files
from data_pipeline.store.catalog import CatalogRow
from data_pipeline.store.lookup import committed
from data_pipeline.store.staging import Staged

_MILLISECONDS_FOR_A_DROP = 100
"""How long to wait for those who look at what is to be dropped; another run can do that, too."""


def leftovers(connection: sa.Connection, instance: Instance) -> list[Staged]:
    """Return what is staged by runs that are not at work any more."""
    staged = staging.everything(connection, instance)
    if not staged:
        return []
    alive = {run.run_id for run in run_registry.active(connection, instance) if run.is_alive}
    return [item for item in staged if item.owner not in alive]


def stages_with_leftovers(
    database: Database, instance: Instance, tables: Set[StageTable]
) -> set[str]:
    """Name the stages in which dead or failed runs left something of tables, or may have."""
    with database.begin() as connection:
        left = {item.row.asset for item in leftovers(connection, instance)}
        # Where a run was killed there may be relations and files that are on no list.
        dead = [run for run in run_registry.active(connection, instance) if not run.is_alive]
        stages = {stage for run in dead for stage in run.stages}
        return {table.stage for table in tables if table in left or table.stage in stages}


def adopt(session: RunSession, rows: Iterable[CatalogRow]) -> None:
    """Make the session's run the owner of what another one left."""
    with session.begin() as connection:
        staging.adopt(connection, session.instance, rows, session.run_id)


def collect(session: RunSession, tables: Set[StageTable], *, unlisted_only: bool = False) -> None:
    """Drop what dead and failed runs left in staging, in the session's stages.

    What another run is at work on stays: who holds the lock of a table may be building it.

    Args:
        session: The run.
        tables: The tables of its pipeline. What is finished of others waits for a run of theirs.
            What is loaded of these in part stays: the next step that loads them goes on.
        unlisted_only: Whether to keep what failed or dead runs have finished building.
    """
    instance, stages = session.instance, session.stages
    with session.begin() as connection:
        found = _tables(connection, instance, stages)
        assets = {item.table: item.row.asset for item in staging.everything(connection, instance)}
        free = reserve(connection, instance, found.union(assets.values()))
        # Only now is it certain that nobody else changes what is there of these tables.
        listed = {item.table: item for item in staging.everything(connection, instance)}
        under_way = tables & staging.under_way(connection, instance)
        shown = {_whole(instance, item.table) for item in listed.values() if item.row.is_increment}
        left = {
            table
            for table in found & free - shown
            if (
                (item := listed.get(table)) is None
                and table not in under_way
                and _is_unbuilt(connection, instance, table)
            )
            or (
                item is not None
                and not (unlisted_only or item.owner == session.run_id)
                and item.row.asset in free & tables
            )
        }
        run(connection, f"SET LOCAL lock_timeout = {_MILLISECONDS_FOR_A_DROP}")
        stays = [table for table in left if not _drop(connection, instance, table)]
    with session.begin() as connection:
        no_files = _remove_files(connection, instance, stages)
        if no_files and not stays and free >= found:
            run_registry.cleared(connection, instance, stages)


def _tables(
    connection: sa.Connection, instance: Instance, stages: Iterable[str]
) -> set[StageTable]:
    """Return the tables and blobs of which something is staged, on the list or not."""
    schemas = {instance.staging_schema(stage): stage for stage in stages}
    found = staging.relations(connection, instance, stages)
    tables = {StageTable(schemas[name.schema], name.name) for name in found}
    listed = {item.table for item in staging.everything(connection, instance)}
    return tables | {table for table in listed if table.stage in stages}


def _whole(instance: Instance, table: StageTable) -> StageTable:
    """Return the view that shows a table with its staged increment, as it lies in staging."""
    return StageTable(table.stage, staging.whole_relation(instance, table).name)


def _is_unbuilt(connection: sa.Connection, instance: Instance, table: StageTable) -> bool:
    """Whether nobody is building a table: one of several, of which only its asset is locked."""
    return try_for_transaction(connection, build_lock_name(committed(instance, table)))


def _drop(connection: sa.Connection, instance: Instance, table: StageTable) -> bool:
    """Drop what is staged of a table; tell whether nobody was looking at it."""
    name = staging.relation_of(instance, table)
    savepoint = connection.begin_nested()
    try:
        staging.forget(connection, instance, [table])
        if kind := relation_kind(connection, name):
            run(connection, f"DROP {kind} {name.quoted} CASCADE")
    except sa.exc.DBAPIError as error:
        savepoint.rollback()
        if not is_busy(error):
            raise
        return False
    savepoint.commit()
    return True


def _remove_files(connection: sa.Connection, instance: Instance, stages: Iterable[str]) -> bool:
    """Remove the files of blobs that nothing refers to; tell whether that is all of them."""
    found = _files(connection, instance, stages)
    free = reserve(connection, instance, found.values())
    # Another run may have staged one of them until now.
    left = _files(connection, instance, stages) if found else {}
    for path, table in left.items():
        if table in free:
            blob_files.remove_file(instance, path)
    return free.issuperset(left.values())


def _files(
    connection: sa.Connection, instance: Instance, stages: Iterable[str]
) -> dict[Path, StageTable]:
    """Return the files of blobs that nothing refers to, and which blob each was written for."""
    referenced = referenced_files(connection, instance)
    return {
        path: blob_files.written_for(instance, stage, path)
        for stage in sorted(stages)
        if stage  # what has none keeps no files here
        for path in blob_files.unreferenced(instance, stage, referenced)
    }


def referenced_files(connection: sa.Connection, instance: Instance) -> set[str]:
    """Return the locations of all blobs that are committed, kept in a slot or staged."""
    rows = [
        *catalog.rows(connection, instance.catalog_schema).values(),
        *(slot.row for slot in slots.all_slots(connection, instance)),
        *(item.row for item in staging.everything(connection, instance)),
    ]
    return {row.location for row in rows if row.kind == "blob" and row.location}
