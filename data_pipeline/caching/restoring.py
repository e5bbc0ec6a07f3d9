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
    """Gives all kept versions of an instance, by cache key."""
    with database.begin() as connection:
        return {slot.row.cache_key or "": slot for slot in slots.all_slots(connection, instance)}


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
    wanted = [wanted_key(item, known) for item in step.computations]
    return all(key in kept for key in wanted)


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
        slot = kept[wanted_key(item, known) or ""]
        with building(database, committed(instance, slot.row.table), log):
            row = replace(slot.row, code_parts=item.identity.code_parts)
            done = commit_slot(database, instance, slot, row, log)
        for location in done.replaced_files:
            blobs.remove(instance, slot.row.table, location)
