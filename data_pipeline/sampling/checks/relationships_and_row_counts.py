"""Checks that compare a sampled table with the table that it was copied from."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import dagster as dg
import sqlalchemy as sa

from data_pipeline.database.identifiers import RelationName, StageTable
from data_pipeline.database.relations import relation_kind
from data_pipeline.instances import Instance
from data_pipeline.results.data_checks import (
    Finding,
    References,
    listed,
    referenced_table,
    references,
    relationship_name,
    warning,
)
from data_pipeline.sampling.copy_filtered_inputs import SOURCE_METADATA_KEY
from data_pipeline.store import catalog
from data_pipeline.store.catalog import CatalogRow
from data_pipeline.store.lookup import FoundTable, committed, made_from
from data_pipeline.store.table_properties import (
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
        """Return the table that a foreign key of `table` refers to.

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


_SCHEMA = dg.TableSchema(
    columns=[
        dg.TableColumn("relationship", "string"),
        dg.TableColumn("references", "int", description="Rows that refer to something"),
        dg.TableColumn("dangling", "int", description="Those whose referenced row is missing"),
        dg.TableColumn("share", "float", description="The dangling share"),
        dg.TableColumn(
            "lost_by_sampling", "int", description="Those that do not dangle in the source"
        ),
        dg.TableColumn("source_share", "float", description="The dangling share in the source"),
        dg.TableColumn("examples", "string", description="Frequent keys that dangle"),
    ]
)

_EMPTY: dict[str, Any] = {column.name: None for column in _SCHEMA.columns}


def compare_row_count(
    connection: sa.Connection,
    instance: Instance,
    item: DeclaredTable,
    row: CatalogRow | None,
    found: Finding,
) -> Finding:
    """Add to a finding on the number of rows that a copy has no more of them than its source."""
    origin = _origin(instance, item)
    if origin is None:
        return found
    source, table = origin
    behind = catalog.row(connection, source.catalog_schema, table)
    if behind is None or behind.row_count is None:
        return found
    found = replace(found, metadata={**found.metadata, "source_row_count": behind.row_count})
    if not found.passed or found.metadata["row_count"] <= behind.row_count:
        return found
    copied = (row.inputs if row else {}).get(f"{source.instance_id}/{table}")
    problem = (
        f"{committed(instance, item.table)} has {found.metadata['row_count']} row(s), more than "
        f"its source {committed(source, table)} with {behind.row_count}."
    )
    if copied != behind.data_version:
        return warning(
            f"{problem} The source changed since it was copied: run `{instance.name}` again.",
            found.metadata,
        )
    return Finding(f"{problem} Drop it and run `{instance.name}` again.", metadata=found.metadata)


def check_relationships(
    connection: sa.Connection,
    instance: Instance,
    item: DeclaredTable,
    keys: Sequence[ForeignKey],
    tables: DeclaredTables,
    found: Mapping[tuple[str, StageTable], FoundTable],
) -> Finding:
    """Check the relationships of a table.

    Where its rows are a sample, a relationship is worse than in the source when a larger share of
    its references dangles there than in the source, and not merely because references were chosen
    that dangle in the source as well: some lost the row they refer to by the sampling. Where they
    are not, references that dangle are counted, but are no problem: real sources have them.
    """
    records: list[dict[str, Any]] = []
    problems: list[str] = []
    severity = dg.AssetCheckSeverity.WARN
    for key in keys:
        # Dagster wants the same fields in all records, whatever is found out of each relationship.
        record = {**_EMPTY, "relationship": relationship_name(key)}
        records.append(record)
        try:
            # What PostgreSQL refuses of one relationship says nothing of the others.
            with connection.begin_nested():
                problem = _check_relationship(
                    connection, instance, item, key, tables, found, record
                )
        except (sa.exc.ProgrammingError, sa.exc.DataError) as error:
            problem = _does_not_fit(_relation(found, instance, item.table), key, error)
            severity = dg.AssetCheckSeverity.ERROR
        problems += [problem] if problem else []
    metadata = {
        "references": sum(record["references"] or 0 for record in records),
        "dangling": sum(record["dangling"] or 0 for record in records),
        "relationships": dg.MetadataValue.table(
            [dg.TableRecord(item) for item in records], _SCHEMA
        ),
    }
    if problems:
        return Finding("\n".join(problems), severity, metadata)
    return Finding(metadata=metadata)


def _check_relationship(
    connection: sa.Connection,
    instance: Instance,
    item: DeclaredTable,
    key: ForeignKey,
    tables: DeclaredTables,
    found: Mapping[tuple[str, StageTable], FoundTable],
    record: dict[str, Any],
) -> str | None:
    """Fill in the record of a relationship; gives what is wrong with it."""
    referenced = tables.referenced(item.table, key)
    target = _relation(found, instance, referenced)
    own = _relation(found, instance, item.table)
    origin = _origin(instance, item)
    if origin is None:
        if problem := _missing(connection, instance, key, target):
            return problem
        _note(record, references(connection, key, own, target))
        return None
    source, table = origin
    source_own = _relation(found, source, table)
    source_target = _relation(found, source, tables.referenced(table, key))
    for owner, relation in ((instance, target), (source, source_target), (source, source_own)):
        if problem := _missing(connection, owner, key, relation):
            return problem
    counted = references(connection, key, own, target, source_target)
    _note(record, counted)
    record["lost_by_sampling"] = counted.lost
    if not counted.lost:
        return None
    whole = references(connection, key, source_own, source_target)
    record["source_share"] = whole.share
    if counted.share <= whole.share:
        return None
    return (
        f"`{relationship_name(key)}` is worse in {own} than in its source {source_own}: "
        f"{counted.dangling} of {counted.total} references dangle ({counted.share:.2%}) instead of "
        f"{whole.share:.2%}. {counted.lost} of them lost their row by the sampling, for example "
        f"{listed(counted.examples)}. Keep more rows of `{referenced}` "
        f"(`copy_filter_overrides` in the attrs of `{instance.name}`)."
    )


def sources(
    instance: Instance, item: DeclaredTable, tables: DeclaredTables
) -> Iterator[tuple[Instance, StageTable]]:
    """Return all tables that the checks of a table look at, each with its instance."""
    origin = _origin(instance, item)
    yield instance, item.table
    for key in item.properties.foreign_keys:
        yield instance, tables.referenced(item.table, key)
    if origin is not None:
        source, table = origin
        yield source, table
        for key in item.properties.foreign_keys:
            yield source, tables.referenced(table, key)


def _origin(instance: Instance, item: DeclaredTable) -> tuple[Instance, StageTable] | None:
    """Return what a sampled table was copied from: a raw table, or another sample of it."""
    if item.raw is None or instance.source is None:
        return None
    return made_from(instance, item.raw, item.table)


def _relation(
    found: Mapping[tuple[str, StageTable], FoundTable], instance: Instance, table: StageTable
) -> RelationName:
    """Return where a table is; one that only an earlier version of the asset named is committed."""
    seen = found.get((instance.instance_id, table))
    return seen.relation if seen else committed(instance, table)


def _note(record: dict[str, Any], found: References) -> None:
    record |= {"references": found.total, "dangling": found.dangling, "share": found.share}
    record |= {"examples": "; ".join(found.examples)}


def _does_not_fit(own: RelationName, key: ForeignKey, error: sa.exc.DBAPIError) -> str:
    diagnosis = getattr(error.orig, "diag", None)
    reason = getattr(diagnosis, "message_primary", None) or error.orig
    return (
        f"`{relationship_name(key)}` cannot be checked: {own} does not fit what its asset "
        f"declares. PostgreSQL says: {reason}. Correct the ForeignKey, or the table."
    )


def _missing(
    connection: sa.Connection, owner: Instance, key: ForeignKey, relation: RelationName
) -> str | None:
    if relation_kind(connection, relation) is not None:
        return None
    return (
        f"`{relationship_name(key)}` cannot be checked: {relation} does not exist. Correct the "
        f"ForeignKey if the name is wrong, else build it: {owner.build_command}"
    )
