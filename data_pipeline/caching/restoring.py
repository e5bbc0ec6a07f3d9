"""Swapping results in that are there already, made by the computation that is wanted.

They are earlier versions in cache slots, and what runs that failed or died left in staging.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from data_pipeline.caching.decisions import Computation, Key, Known, Step
from data_pipeline.instances import Instance
from data_pipeline.tables import slots, staging
from data_pipeline.tables.catalog import CatalogRow
from data_pipeline.tables.connection import Database
from data_pipeline.tables.leftovers import leftovers
from data_pipeline.tables.run_session import RunSession
from data_pipeline.tables.slots import Slot


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
    """Gives the results of an instance that can be swapped in, by cache key."""
    with database.begin() as connection:
        there = [slot for slot in slots.all_slots(connection, instance) if slot.is_there]
        # What is staged may be dropped again, with all that is built on it.
        used = slots.in_use(connection, instance, [slot.row for slot in there])
        kept = [KeptVersion(slot.row, slot) for slot in there if slot.row not in used]
        kept += [KeptVersion(item.row) for item in leftovers(connection, instance) if item.is_there]
    return {item.row.cache_key: item for item in kept if item.row.cache_key}


def wanted_key(item: Computation, known: Mapping[Key, Known]) -> str | None:
    """Gives the cache key of a computation on its inputs as they are; None if it has none."""
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
    """Stages what was kept of everything that a step computes.

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
