"""Swapping earlier versions back in, where one was made by the computation that is wanted."""

import logging
from collections.abc import Mapping
from dataclasses import replace

from data_pipeline.caching.decisions import Computation, Key, Known, Step
from data_pipeline.instances import Instance
from data_pipeline.tables import blobs, slots
from data_pipeline.tables.commit import commit_slot, committed
from data_pipeline.tables.connection import Database
from data_pipeline.tables.locks import building
from data_pipeline.tables.slots import Slot


def kept_keys(database: Database, instance: Instance) -> Mapping[str, Slot]:
    """Gives the kept versions of an instance that are still there, by cache key."""
    with database.begin() as connection:
        kept = slots.all_slots(connection, instance)
    return {slot.row.cache_key: slot for slot in kept if slot.is_there and slot.row.cache_key}


def wanted_key(item: Computation, known: Mapping[Key, Known]) -> str | None:
    """Gives the cache key of a computation on its inputs as they are; None if it has none."""
    inputs = {
        f"{instance}/{table}": known[instance, table].row.data_version
        if (instance, table) in known
        else None
        for instance, table in item.inputs
    }
    return item.identity.cache_key(str(item.key[1]), inputs)


def can_restore(step: Step, known: Mapping[Key, Known], kept: Mapping[str, Slot]) -> bool:
    """Whether everything that a step computes was kept, or is there."""
    wanted = {item.key: wanted_key(item, known) for item in step.computations}
    missing = {asset: key for asset, key in wanted.items() if key not in kept}
    return len(missing) < len(wanted) and all(
        key is not None and _is_current(known.get(asset), key) for asset, key in missing.items()
    )


def _is_current(found: Known | None, key: str) -> bool:
    return found is not None and found.exists and found.row.cache_key == key


def restore(
    database: Database,
    instance: Instance,
    step: Step,
    known: Mapping[Key, Known],
    kept: Mapping[str, Slot],
    log: logging.Logger,
) -> None:
    """Swaps in what was kept of everything that a step computes."""
    for item in step.computations:
        slot = kept.get(wanted_key(item, known) or "")
        if slot is None:
            continue  # it is there
        with building(database, committed(instance, slot.row.table), log):
            row = replace(slot.row, code_parts=item.identity.code_parts)
            done = commit_slot(database, instance, slot, row, log)
        for location in done.replaced_files:
            blobs.remove(instance, slot.row.table, location)
