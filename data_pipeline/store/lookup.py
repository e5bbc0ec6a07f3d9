"""Where a table is for a reader: what its run has staged, or else what is committed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import dagster as dg
import sqlalchemy as sa

from data_pipeline.database.identifiers import RelationName, StageTable
from data_pipeline.instances import Instance
from data_pipeline.store import catalog, staging
from data_pipeline.store.catalog import CatalogRow
from data_pipeline.store.changed_by_hand import is_same, judge, read_states
from data_pipeline.store.several_tables import members, names_of
from data_pipeline.transfer.stable_hash import fingerprint


@dataclass(frozen=True)
class FoundTable:
    """A table as a run sees it.

    Attributes:
        relation: Its relation, which need not exist: it is a blob, not built yet, or gone.
        row: Its catalog row, with the version of the data that is there; None where there is none.
        change: What somebody did to it by hand since it was committed.
        is_own: Whether the run has staged it, in this process.
        is_as_built: Whether it was found to be the very relation that was built, unchanged.
        is_gone: Whether it was found to be dropped.
        members: Of an asset with several tables, or a table with slices, these by name.
    """

    relation: RelationName
    row: CatalogRow | None
    change: str | None = None
    is_own: bool = False
    is_as_built: bool = False
    is_gone: bool = False
    members: Mapping[str, "FoundTable"] = field(default_factory=dict)

    @property
    def version(self) -> str | None:
        """The version of its data; None where there are none."""
        return self.row.data_version if self.row is not None and not self.is_gone else None

    @property
    def is_blob(self) -> bool:
        """Whether it is no relation but a file."""
        return self.row is not None and self.row.kind == "blob"

    @property
    def is_only_row(self) -> bool:
        """Whether nothing of it is kept here but its row."""
        return self.row is not None and self.row.kind in catalog.WITHOUT_VALUE

    @property
    def is_several(self) -> bool:
        """Whether it is an asset with several tables."""
        return self.row is not None and self.row.kind == "tables"


def committed(instance: Instance, table: StageTable) -> RelationName:
    """Name the relation of a table as readers see it."""
    return RelationName(instance.schema(table.stage), table.name)


def own_table(instance: Instance, table: StageTable, run_id: str) -> FoundTable | None:
    """Return a table that a run has staged in the process that leads it; None for any other."""
    row = staging.followed(run_id).get((instance.instance_id, table))
    if row is None:
        return None
    return FoundTable(staging.relation_to_read(instance, row), row, is_own=True)


def find_table(
    connection: sa.Connection, instance: Instance, table: StageTable, run_id: str | None
) -> FoundTable:
    """Return a table as a run sees it; as everybody else does, without a run."""
    staged = staging.row(connection, instance, run_id, table) if run_id else None
    if staged is not None:
        found = FoundTable(staging.relation_to_read(instance, staged), staged)
    else:
        row = catalog.row(connection, instance.catalog_schema, table)
        found = FoundTable(committed(instance, table), row)
    if found.row is not None and found.row.kind == "sliced":
        return replace(found, members=_slices(connection, instance, table))
    if found.row is None or not found.is_several:
        return found
    own = members(table, names_of(found.row.relation))
    each = {item.name: find_table(connection, instance, item, run_id) for item in own}
    return replace(found, members=each)


def _slices(
    connection: sa.Connection, instance: Instance, whole: StageTable
) -> dict[str, FoundTable]:
    rows = catalog.slices(connection, instance.catalog_schema, whole)
    return {row.name: FoundTable(committed(instance, row.table), row) for row in rows}


def checked_for_changes(connection: sa.Connection, found: Sequence[FoundTable]) -> list[FoundTable]:
    """Return committed tables with the version of the data that is there now.

    Results must not pass for computed from what was committed if somebody has changed that by hand.
    """
    relations = [item.relation for item in found if item.row and item.row.is_relation]
    states = read_states(connection, relations)
    looked = []
    for item in found:
        if item.row is not None and item.relation in states:
            known = [(item.relation, item.row, states[item.relation])]
            [verdict] = judge(connection, known, look_at_small=True)
            item = replace(
                item,
                row=verdict.seen(item.row),
                change=verdict.change,
                is_as_built=verdict.is_intact and is_same(item.row, states[item.relation]),
                is_gone=not verdict.is_there,
            )
        if item.members:
            item = _with_members(item, checked_for_changes(connection, [*item.members.values()]))
        looked.append(item)
    return looked


def _with_members(found: FoundTable, members: Sequence[FoundTable]) -> FoundTable:
    """Return an asset with several tables, or slices, with what became of each."""
    each = dict(zip(found.members, members, strict=True))
    changes = {
        name: item.change or f"`{item.row.table}` was dropped"
        for name, item in each.items()
        if item.row is not None and (item.change or item.is_gone)
    }
    row, said = found.row, [text for text in (found.change, *changes.values()) if text]
    if said and row is not None:
        row = with_changes(row, {name: each[name].version for name in changes})
    return replace(found, row=row, members=each, change="; ".join(said) or None)


def with_changes(whole: CatalogRow, changed: Mapping[str, str | None]) -> CatalogRow:
    """Return the row of a table with slices, or an asset with several, of which some were changed.

    Args:
        whole: Its row.
        changed: The versions that these have now, by name; None: it was dropped.
    """
    version = fingerprint("changed", whole.data_version, changed)
    return replace(whole, data_version=version)


SOURCE_METADATA_KEY = "data_pipeline/raw_table"
"""Where an input table's metadata names the raw table behind it (`stage/table`)."""

COMPARED_KEY = "data_pipeline/compared"
"""Where the metadata of an asset that compares input tables with what they were copied from names
the input table of each raw table that it reads, both as `stage/table`. It copies no rows."""


def made_from(instance: Instance, raw: StageTable, own: StageTable) -> tuple[Instance, StageTable]:
    """Return what an input table is made from, with its instance.

    That is the raw table of the instance that is copied from, or of this one where it loads for
    itself. A copy has no raw tables: of that, it is the same input table.

    Args:
        instance: The instance of the input table.
        raw: The raw table behind it.
        own: The input table.
    """
    source = instance.source
    if source is None:
        return instance, raw
    return source, own if source.copies else raw


def read_instead(
    asset: dg.AssetsDefinition, instance: Instance, source: Instance, table: StageTable
) -> tuple[Instance, StageTable]:
    """Return what a step reads where Dagster, which knows raw tables only, names one of the root.

    Args:
        asset: What the step computes.
        instance: The instance that it is computed for.
        source: The instance that Dagster names.
        table: The table that Dagster names.
    """
    if instance.source is None or source.instance_id != instance.root_source.instance_id:
        return source, table
    own = input_table(asset, table) if instance.source.copies else None
    return (source, table) if own is None else (instance.source, own)


def takes_rows(spec: dg.AssetSpec) -> bool:
    """Whether an asset that reads raw tables of another instance takes rows of them."""
    return COMPARED_KEY not in spec.metadata


def input_table(asset: dg.AssetsDefinition, raw: StageTable) -> StageTable | None:
    """Return the input table of a raw table that a step makes or compares; None if it has none."""
    name = str(raw)
    for spec in asset.specs:
        if spec.metadata.get(SOURCE_METADATA_KEY) == name:
            return StageTable.from_path(spec.key.path)
        compared = spec.metadata.get(COMPARED_KEY, {})
        if own := getattr(compared, "data", compared).get(name):
            return StageTable.from_path(own.split("/"))
    return None
