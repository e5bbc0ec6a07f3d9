"""What dead runs left in staging: adopted by the next run where it is valid, dropped otherwise."""

from collections.abc import Iterable

import sqlalchemy as sa

from data_pipeline.instances import Instance
from data_pipeline.tables import blobs, catalog, runs, slots, staging
from data_pipeline.tables.catalog import CatalogRow
from data_pipeline.tables.connection import Database
from data_pipeline.tables.run_session import RunSession
from data_pipeline.tables.staging import Staged


def leftovers(connection: sa.Connection, instance: Instance) -> list[Staged]:
    """Gives what is staged by runs that are not at work any more."""
    staged = staging.everything(connection, instance)
    if not staged:
        return []
    alive = {run.run_id for run in runs.active(connection, instance) if run.is_alive}
    return [item for item in staged if item.owner not in alive]


def stages_with_leftovers(database: Database, instance: Instance) -> set[str]:
    """Names the stages in which dead or failed runs left something, or may have."""
    with database.begin() as connection:
        stages = {item.table.stage for item in leftovers(connection, instance)}
        # Where a run was killed there may be relations and files that are on no list.
        dead = [run for run in runs.active(connection, instance) if not run.is_alive]
        return stages.union(*(run.stages for run in dead))


def adopt(session: RunSession, rows: Iterable[CatalogRow]) -> None:
    """Makes the session's run the owner of what another one left."""
    with session.begin() as connection:
        staging.adopt(connection, session.instance, rows, session.run_id)


def collect(session: RunSession, *, unlisted_only: bool = False) -> None:
    """Drops what lies in staging in the session's stages, and is not staged by its run.

    Args:
        session: The run, which holds the locks of the stages.
        unlisted_only: Whether to keep what failed or dead runs have finished building.
    """
    instance, stages = session.instance, session.stages
    with session.begin() as connection:
        keep = {
            item.table
            for item in staging.everything(connection, instance)
            if unlisted_only or item.owner == session.run_id
        }
        listed = {item.table for item in staging.everything(connection, instance)}
        staging.forget(connection, instance, [t for t in listed - keep if t.stage in stages])
        kept = {staging.relation_of(instance, table) for table in keep}
        found = staging.relations(connection, instance, stages)
        for name, kind in found.items():
            if name not in kept:
                staging.drop(connection, name, kind)
        referenced = referenced_files(connection, instance)
    for stage in sorted(stages):
        for path in blobs.unreferenced(instance, stage, referenced):
            path.unlink(missing_ok=True)
    with session.begin() as connection:
        runs.cleared(connection, instance, stages)


def referenced_files(connection: sa.Connection, instance: Instance) -> set[str]:
    """Gives the locations of all blobs that are committed, kept in a slot or staged."""
    rows = [
        *catalog.rows(connection, instance.catalog_schema).values(),
        *(slot.row for slot in slots.all_slots(connection, instance)),
        *(item.row for item in staging.everything(connection, instance)),
    ]
    return {row.location for row in rows if row.kind == "blob" and row.location}
