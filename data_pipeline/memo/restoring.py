"""Swapping results in that are there already, made by the computation that is wanted.

They are earlier versions in cache slots, and what runs that failed or died left in staging.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import dagster as dg

from data_pipeline.database.connection import Database
from data_pipeline.instances import Instance
from data_pipeline.memo.decisions import Computation, Key, Known, Step
from data_pipeline.memo.run_steps import RunSteps
from data_pipeline.runs.leftovers import leftovers
from data_pipeline.runs.run_session import RunSession
from data_pipeline.store import slots, staging
from data_pipeline.store.catalog import WITHOUT_VALUE, CatalogRow
from data_pipeline.store.slots import Slot


@dataclass(frozen=True)
class KeptVersion:
    """A result that is there without being visible.

    Attributes:
        row: Its catalog row.
        slot: The cache slot that it lies in; None: a run that failed or died left it in staging.
    """

    row: CatalogRow
    slot: Slot | None = None


def kept_results(database: Database, instance: Instance) -> Mapping[str, KeptVersion]:
    """Return the results of an instance that can be swapped in, by cache key."""
    with database.begin() as connection:
        there = [slot for slot in slots.all_slots(connection, instance) if slot.is_there]
        # What is staged may be dropped again, with all that is built on it.
        used = slots.in_use(connection, instance, [slot.row for slot in there])
        kept = [KeptVersion(slot.row, slot) for slot in there if slot.row not in used]
        kept += [KeptVersion(item.row) for item in leftovers(connection, instance) if item.is_there]
    return {item.row.cache_key: item for item in kept if item.row.cache_key}


def wanted_key(item: Computation, known: Mapping[Key, Known]) -> str | None:
    """Return the cache key of a computation on its inputs as they are; None if it has none."""
    inputs = {
        f"{instance}/{table}": known[instance, table].row.data_version
        if (instance, table) in known
        else None
        for instance, table in item.inputs
    }
    return item.identity.cache_key(str(item.key[1]), inputs)


def can_restore(step: Step, known: Mapping[Key, Known], kept: Mapping[str, KeptVersion]) -> bool:
    """Whether everything that a step computes was kept, or is there."""
    wanted = [(item, wanted_key(item, known)) for item in step.computations]
    missing = [(item, key) for item, key in wanted if not _is_kept(item, kept.get(key or ""))]
    return len(missing) < len(wanted) and all(
        key is not None and _is_current(item, known.get(item.key), key) for item, key in missing
    )


def _is_kept(item: Computation, found: KeptVersion | None) -> bool:
    return found is not None and item.lost(found.row) is None


def _is_current(item: Computation, found: Known | None, key: str) -> bool:
    return (
        found is not None
        and found.is_intact
        and found.row.cache_key == key
        and item.lost(found.row) is None
    )


def restore(
    session: RunSession, step: Step, known: Mapping[Key, Known], kept: Mapping[str, KeptVersion]
) -> bool:
    """Stage what was kept of everything that a step computes.

    Returns:
        Whether all of it had been made by a run that failed or died, and never committed.
    """
    found = [
        replace(item, row=replace(item.row, code_parts=computation.identity.code_parts))
        for computation in step.computations
        if (item := kept.get(wanted_key(computation, known) or "")) is not None
    ]
    instance = session.instance
    with session.begin() as connection:
        for item in found:
            if item.slot is None:
                staging.adopt(connection, instance, [item.row], session.run_id)
                continue
            relation = staging.relation_of(instance, item.row.table)
            if item.row.kind == "table":
                staging.drop(connection, relation)
                slots.put_back(connection, instance, item.slot)
            slots.forget(connection, instance, item.row)
            staging.put(connection, instance, item.row, session.run_id)
    return all(item.slot is None for item in found)


_TEMPORARY_HOME = ".tmp_dagster_home_"
"""How Dagster names the storage of a command that is run without DAGSTER_HOME."""

_DATA_VERSION = "dagster/data_version"
_CODE_VERSION = "dagster/code_version"
_INPUT_VERSION = "dagster/input_data_version/"
_INPUT_POINTER = "dagster/input_event_pointer/"


def record_reused(
    storage: dg.DagsterInstance,
    partition: str,
    computations: Iterable[Computation],
    known: Mapping[Key, Known],
    keys: Mapping[Key, dg.AssetKey],
) -> None:
    """Record materializations of reused tables that this Dagster storage does not know.

    Another person, or another storage, may have built them: then the UI would show them as missing
    or out of date although they are not.
    """
    if _is_deleted_after_the_run(storage):
        return
    for item in computations:
        key, row = keys[item.key], known[item.key].row
        if row.is_absent:
            continue
        if not _is_recorded(storage, key, partition, row):
            event = _materialization(key, partition, row, item, known, keys)
            storage.report_runless_asset_event(event)


def _is_deleted_after_the_run(storage: dg.DagsterInstance) -> bool:
    """Whether nobody will ever look at a storage: `dagster job execute` without DAGSTER_HOME."""
    return Path(storage.root_directory).name.startswith(_TEMPORARY_HOME)


def _is_recorded(
    storage: dg.DagsterInstance, key: dg.AssetKey, partition: str, row: CatalogRow
) -> bool:
    found = storage.fetch_materializations(
        dg.AssetRecordsFilter(asset_key=key, asset_partitions=[partition]), limit=1
    ).records
    event = found[0].asset_materialization if found else None
    if event is None or event.tags is None:
        return False
    if row.kind in WITHOUT_VALUE and found[0].run_id == row.run_id:
        return True  # Dagster gives what is not stored here a data version of its own
    recorded = event.tags.get(_DATA_VERSION), event.tags.get(_CODE_VERSION)
    return recorded == (row.data_version, row.code_version)


def _materialization(
    key: dg.AssetKey,
    partition: str,
    row: CatalogRow,
    item: Computation,
    known: Mapping[Key, Known],
    keys: Mapping[Key, dg.AssetKey],
) -> dg.AssetMaterialization:
    tags = {_DATA_VERSION: row.data_version}
    if row.code_version is not None:
        tags[_CODE_VERSION] = row.code_version
    for source in item.inputs:
        if source not in known:
            continue  # external, so its version is not known
        name = keys[source].to_user_string()
        tags[_INPUT_VERSION + name] = known[source].row.data_version
        tags[_INPUT_POINTER + name] = "NULL"
    return dg.AssetMaterialization(
        key,
        partition=partition,
        description="Up to date in the database; recorded from its catalog.",
        metadata=_metadata(row),
        tags=tags,
    )


def _metadata(row: CatalogRow) -> dict[str, Any]:
    facts = {
        "dagster/row_count": row.row_count,
        "bytes": row.bytes,
        "computed by run": row.run_id,
        "computed by": f"{row.username} on {row.host}",
        "computed at": row.committed_at and row.committed_at.isoformat(),
    }
    return {name: value for name, value in facts.items() if value is not None}


def inherited(
    database: Database, instance: Instance, steps: RunSteps, runs: set[str]
) -> list[CatalogRow]:
    """Return what earlier runs have staged of steps that are not part of this run."""
    computed = {item.key[1] for step in steps.computing for item in step.computations}
    with database.begin() as connection:
        left = leftovers(connection, instance) if runs else []
    return [
        item.row
        for item in left
        if item.is_there and item.owner in runs and item.table not in computed
    ]
