"""The tables that assets declare: which outputs are tables, with which keys, sampled from what."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import dagster as dg

from data_pipeline.sampling.copy_inputs import SOURCE_METADATA_KEY
from data_pipeline.tables.names import StageTable
from data_pipeline.tables.relationships import referenced_table
from data_pipeline.tables.table import (
    METADATA_KEY,
    ForeignKey,
    Properties,
    Table,
    View,
    declared_properties,
)

_TABLE_MODULES = ("pandas", "polars", "pyarrow", "sqlalchemy")


@dataclass(frozen=True)
class DeclaredTable:
    """What the definition of an asset says of its table.

    Attributes:
        table: Stage and name.
        properties: Its keys and more.
        raw: The raw table behind a sampled one.
        partitions_def: The instances.
    """

    table: StageTable
    properties: Properties
    raw: StageTable | None
    partitions_def: dg.PartitionsDefinition | None

    @property
    def key(self) -> dg.AssetKey:
        """The asset key."""
        return dg.AssetKey([self.table.stage, self.table.name])


class DeclaredTables(Mapping[StageTable, DeclaredTable]):
    """All tables that a sequence of assets declares.

    An output is a table when its annotation is a frame or a query, or when its metadata declares
    properties of a table; without either, it may be a blob and is left out.
    """

    def __init__(self, assets: Sequence[dg.AssetsDefinition]) -> None:
        found = [table for asset in assets for table in _tables(asset)]
        self._tables = {table.table: table for table in found}
        self._sampled = {(item.table.stage, item.raw): item.table for item in found if item.raw}
        self._raw = {item.raw for item in found if item.raw}

    def __getitem__(self, table: StageTable) -> DeclaredTable:
        return self._tables[table]

    def __iter__(self) -> Iterator[StageTable]:
        return iter(self._tables)

    def __len__(self) -> int:
        return len(self._tables)

    def is_raw(self, table: StageTable) -> bool:
        """Whether a sampled table is made of this one."""
        return table in self._raw

    def referenced(self, table: StageTable, key: ForeignKey) -> StageTable:
        """Gives the table that a foreign key of `table` refers to.

        Keys of a sampled table are those of its raw table; they refer to sampled tables of its own
        stage instead of the raw ones.
        """
        declared = self._tables.get(table)
        raw = declared.raw if declared else None
        if raw is None:
            return referenced_table(table, key)
        own = self._sampled.get((table.stage, referenced_table(raw, key)))
        return own or referenced_table(table, key)


def _tables(asset: dg.AssetsDefinition) -> Iterator[DeclaredTable]:
    if not asset.is_executable:
        return
    outputs = {output.name: output for output in asset.node_def.output_defs}
    for name, key in asset.keys_by_output_name.items():
        if key not in asset.keys:
            continue
        spec = asset.get_asset_spec(key)
        source = spec.metadata.get(SOURCE_METADATA_KEY)
        kind = outputs[name].dagster_type.typing_type
        if source is None and METADATA_KEY not in spec.metadata and not _is_table_type(kind):
            continue
        yield DeclaredTable(
            table=StageTable.from_path(key.path),
            properties=declared_properties(spec.metadata),
            raw=None if source is None else StageTable.from_path(source.split("/")),
            partitions_def=spec.partitions_def,
        )


def _is_table_type(annotation: object) -> bool:
    if not isinstance(annotation, type):
        return False
    module = annotation.__module__.split(".")[0]
    return module in _TABLE_MODULES or issubclass(annotation, Table | View)
