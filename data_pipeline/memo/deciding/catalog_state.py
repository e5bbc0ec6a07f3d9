"""What the catalogs know, of all instances that a run writes and reads, in one query."""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import dagster as dg
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSON

from data_pipeline.database.connection import Database, run
from data_pipeline.database.lock_waiting import (
    LOCK_NOT_AVAILABLE,
    MILLISECONDS_BETWEEN_MESSAGES,
    holders_of_all,
)
from data_pipeline.identity.observed_versions import is_outside, observed_version
from data_pipeline.instances import Instance
from data_pipeline.memo.deciding.decisions import Key, Known
from data_pipeline.memo.run_steps import RunSteps
from data_pipeline.store import catalog, staging
from data_pipeline.store.blobs import blob_files
from data_pipeline.store.blobs.blob_files import DROPPED
from data_pipeline.store.catalog import CatalogRow
from data_pipeline.store.changed_by_hand import Verdict, judge, state_of
from data_pipeline.store.lookup import committed, with_changes
from data_pipeline.store.several_tables import members, names_of
from data_pipeline.transfer.stable_hash import fingerprint


def known_to_run(
    database: Database,
    instances: Iterable[Instance],
    instance: Instance,
    run_id: str,
    log: logging.Logger,
) -> dict[Key, Known]:
    """Return what `known` gives, with what a run has staged in place of what is committed."""
    found = known(database, instances, log)
    with database.begin() as connection:
        staged = staging.of_run(connection, instance, run_id)
    return found | {(instance.instance_id, t): Known(row, True) for t, row in staged.items()}


def known(
    database: Database, instances: Iterable[Instance], log: logging.Logger
) -> dict[Key, Known]:
    """Return the catalog rows of instances, and what became of their tables and files since.

    An instance that has not committed anything yet has none.
    """
    instances = list(instances)
    while True:
        try:
            with database.begin() as connection:
                run(connection, f"SET LOCAL lock_timeout = {MILLISECONDS_BETWEEN_MESSAGES}")
                present = [
                    i for i in instances if catalog.is_readable(connection, i.catalog_schema)
                ]
                return _query(connection, present)
        except sa.exc.DBAPIError as error:
            if getattr(error.orig, "pgcode", None) != LOCK_NOT_AVAILABLE:
                raise
        with database.begin() as connection:
            found = holders_of_all(connection, [i.table_store.schema_prefix for i in instances])
        names = ", ".join(f"`{item.name}`" for item in instances)
        holders = " and ".join(found) or "others, one after the other"
        log.info(f"Waiting for {holders}, to read what there is of {names}")


def observed(storage: dg.DagsterInstance | None, graph: Any, steps: RunSteps) -> dict[Key, Known]:
    """Return what Dagster alone knows of what steps read: the versions of external assets.

    Args:
        storage: Where Dagster keeps events; None where there is none yet.
        graph: The asset graph of the job.
        steps: The steps.
    """
    if storage is None:
        return {}
    found = {}
    read = {key for step in steps.computing for item in step.computations for key in item.inputs}
    for key in read:
        if not is_outside(graph, steps.keys[key]):
            continue
        name = steps.instances[key[0]].name
        if version := observed_version(storage, graph, steps.keys[key], name):
            row = CatalogRow(key[1].stage, key[1].name, "none", data_version=version)
            found[key] = Known(row, True)
    return found


def remember(database: Database, instance: Instance, found: Mapping[Key, Known]) -> None:
    """Note what identifies relations now that a look at their rows found unchanged.

    Maintenance, a crash of the server and a restored database change what identifies a relation.
    """
    with database.begin() as connection:
        for (instance_id, _), item in found.items():
            if instance_id == instance.instance_id and item.is_intact and item.state is not None:
                catalog.remember(connection, instance.catalog_schema, item.row, item.state)


def _query(connection: sa.Connection, instances: list[Instance]) -> dict[Key, Known]:
    if not instances:
        return {}
    by_id = {instance.instance_id: instance for instance in instances}
    query = sa.union_all(*(_rows(instance) for instance in instances))
    found = {
        (item.instance_id, row.table): (row, item.state)
        for item in connection.execute(query)
        for row in [catalog.row_of(item)]
    }
    verdicts = judge(
        connection,
        [
            (committed(by_id[instance_id], table), row, state)
            for (instance_id, table), (row, state) in found.items()
            if row.is_relation
        ],
    )
    relations = iter(verdicts)
    each = {
        key: _of(row, next(relations)) if row.is_relation else _of_other(by_id[key[0]], row)
        for key, (row, _) in found.items()
    }
    several = [key for key, item in each.items() if item.row.kind == "tables"]
    each |= {key: _of_several(key[0], each[key].row, each) for key in several}
    return each | _of_sliced(each)


def _of_several(instance: str, row: CatalogRow, found: Mapping[Key, Known]) -> Known:
    """Return what became of an asset with several tables, given what became of each."""
    own = {
        table: found.get((instance, table)) for table in members(row.table, names_of(row.relation))
    }
    there = {t: k for t, k in own.items() if k and k.exists and k.row.asset == row.table}
    changes = [f"table `{table}` of it was dropped" for table in own.keys() - there.keys()]
    changes += [item.change for item in there.values() if item.change is not None]
    if not changes:
        return Known(row, True)
    versions = {table.name: item.row.data_version for table, item in there.items()}
    seen = replace(row, data_version=fingerprint("changed", row.data_version, versions))
    return Known(seen, True, "; ".join(sorted(changes)))


def _of_sliced(found: Mapping[Key, Known]) -> dict[Key, Known]:
    """Return what became of tables of which slices were changed or dropped by hand."""
    broken: dict[Key, dict[str, Known]] = {}
    for (instance, table), item in found.items():
        if item.row.slice.get("key") and not item.is_intact:
            broken.setdefault((instance, table.whole), {})[table.name] = item
    return {key: _with_broken(found[key], slices) for key, slices in broken.items() if key in found}


def _with_broken(whole: Known, slices: Mapping[str, Known]) -> Known:
    changes = [item.change or f"slice `{name}` was dropped" for name, item in slices.items()]
    versions = {
        name: item.row.data_version if item.exists else None for name, item in slices.items()
    }
    seen = with_changes(whole.row, versions)
    return replace(whole, row=seen, change="; ".join(sorted(changes)))


def _rows(instance: Instance) -> sa.Select[tuple[object, ...]]:
    schema = instance.catalog_schema
    prefix = instance.table_store.schema_prefix
    state = state_of(catalog.relation_sql(prefix, "tables.stage", "tables.name"))
    return catalog.select_rows(schema).add_columns(
        sa.literal(instance.instance_id).label("instance_id"),
        sa.literal_column(state, JSON()).label("state"),
    )


def _of(row: CatalogRow, verdict: Verdict) -> Known:
    return Known(verdict.seen(row), verdict.is_there, verdict.change, verdict.state)


def _of_other(instance: Instance, row: CatalogRow) -> Known:
    if row.kind in catalog.ONLY_ROW:
        return Known(row, True)
    flaw = blob_files.flaw(instance, row)
    if flaw == DROPPED:
        return Known(row, False)
    return Known(row, True, flaw and f"file of blob `{row.table}` {flaw}")
