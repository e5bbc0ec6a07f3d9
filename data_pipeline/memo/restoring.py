"""Swapping results in that are there already, made by the computation that is wanted.

They are earlier versions in cache slots, and what runs that failed or died left in staging.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from data_pipeline.database.connection import Database
from data_pipeline.database.identifiers import StageTable
from data_pipeline.instances import Instance
from data_pipeline.memo.deciding.decisions import Computation, Key, Known, Step, key_of
from data_pipeline.memo.run_steps import RunSteps
from data_pipeline.runs.leftovers import leftovers
from data_pipeline.runs.run_session import RunSession
from data_pipeline.store import slots, staging
from data_pipeline.store.catalog import CatalogRow
from data_pipeline.store.several_tables import member_key, names_of
from data_pipeline.store.slots import Slot


@dataclass(frozen=True)
class KeptVersion:
    """A result that is there without being visible.

    Attributes:
        row: Its catalog row.
        slot: The cache slot that it lies in; None: a run that failed or died left it in staging.
        members: Of an asset with several tables, these.
    """

    row: CatalogRow
    slot: Slot | None = None
    members: Sequence["KeptVersion"] = ()


@dataclass(frozen=True)
class KeptResults:
    """The results of an instance that can be swapped in, by cache key."""

    by_key: Mapping[str, KeptVersion]

    @cached_property
    def _by_table(self) -> Mapping[StageTable, list[KeptVersion]]:
        found: defaultdict[StageTable, list[KeptVersion]] = defaultdict(list)
        for version in self.by_key.values():
            found[version.row.table].append(version)
        return found

    def of(self, item: Computation, known: Mapping[Key, Known]) -> KeptVersion | None:
        """Return what a computation makes of its inputs as they are; None where it is not kept.

        What its code read by itself counts as an input, too.
        """
        found = self.by_key.get(_key(item, known, item.inputs) or "") or next(
            (v for v in self._by_table.get(item.key[1], ()) if _is_made_so(item, v.row, known)),
            None,
        )
        return self._with_members(found) if found and found.row.kind == "tables" else found

    def _with_members(self, asset: KeptVersion) -> KeptVersion | None:
        """Return an asset with its several tables; None where one of them is not kept."""
        names = names_of(asset.row.relation)
        found = [self.by_key.get(member_key(asset.row.cache_key, name) or "") for name in names]
        members = [item for item in found if item is not None]
        return replace(asset, members=members) if len(members) == len(names) else None


def kept_results(database: Database, instance: Instance) -> KeptResults:
    """Return the results of an instance that can be swapped in."""
    with database.begin() as connection:
        there = [slot for slot in slots.all_slots(connection, instance) if slot.is_there]
        # What is staged may be dropped again, with all that is built on it.
        used = slots.in_use(connection, instance, [slot.row for slot in there])
        kept = [KeptVersion(slot.row, slot) for slot in there if slot.row not in used]
        kept += [KeptVersion(item.row) for item in leftovers(connection, instance) if item.is_there]
    return KeptResults({item.row.cache_key: item for item in kept if item.row.cache_key})


def _key(item: Computation, known: Mapping[Key, Known], inputs: Iterable[Key]) -> str | None:
    """Return the cache key of a computation on inputs as they are; None if it has none."""
    versions = {
        f"{instance}/{table}": known[instance, table].row.data_version
        if (instance, table) in known
        else None
        for instance, table in inputs
    }
    return item.identity.cache_key(str(item.key[1]), versions)


def _is_made_so(item: Computation, row: CatalogRow, known: Mapping[Key, Known]) -> bool:
    """Whether a result was made by a computation, of all that is recorded as read, as it is now."""
    inputs = {*item.inputs, *map(key_of, row.inputs)}
    return row.cache_key is not None and row.cache_key == _key(item, known, inputs)


def can_restore(step: Step, known: Mapping[Key, Known], kept: KeptResults) -> bool:
    """Whether everything that a step computes was kept, or is there."""
    missing = [item for item in step.computations if not _is_kept(item, kept.of(item, known))]
    return len(missing) < len(step.computations) and all(
        _is_current(item, known) for item in missing
    )


def _is_kept(item: Computation, found: KeptVersion | None) -> bool:
    return found is not None and item.lost(found.row) is None


def _is_current(item: Computation, known: Mapping[Key, Known]) -> bool:
    found = known.get(item.key)
    return (
        found is not None
        and found.is_intact
        and _is_made_so(item, found.row, known)
        and item.lost(found.row) is None
    )


def restore(session: RunSession, step: Step, known: Mapping[Key, Known], kept: KeptResults) -> bool:
    """Stage what was kept of everything that a step computes.

    Returns:
        Whether all of it had been made by a run that failed or died, and never committed.
    """
    found = [
        replace(item, row=replace(item.row, code_parts=computation.identity.code_parts))
        for computation in step.computations
        if (wanted := kept.of(computation, known)) is not None
        for item in (wanted, *wanted.members)
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
        if item.is_there and item.owner in runs and item.row.asset not in computed
    ]
