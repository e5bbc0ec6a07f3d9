"""What an instance has: its schemas with their relations, its catalog rows and its blobs' files.

What is its own follows from its catalog, never from how a name begins: a schema or a relation that
the catalog does not list may be another instance's, or a user's.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

import sqlalchemy as sa

from data_pipeline.database.dependencies import Node, describe, read_dependents
from data_pipeline.database.identifiers import RelationName, StageTable
from data_pipeline.errors import ConfigurationError
from data_pipeline.instances import Instance
from data_pipeline.store import catalog, slots
from data_pipeline.store.blobs import blob_files
from data_pipeline.store.catalog import CatalogRow
from data_pipeline.store.staging import STAGED


@dataclass(frozen=True)
class OwnRelation:
    """A table or view that an instance has made.

    Attributes:
        name: Its name.
        oid: Its identity in the database.
        kind: `r` or `p` for a table, `v` for a view.
        bytes: Its size on disk with indexes.
        row: What the catalog says of it; None for what is being built, or works for others.
    """

    name: RelationName
    oid: int
    kind: str
    bytes: int
    row: CatalogRow | None


@dataclass(frozen=True)
class OwnSchema:
    """A schema of an instance, with those of its relations that are meant.

    Attributes:
        name: Its name.
        relations: What is meant of it.
        others: What somebody else has put there, in words.
        goes: Whether the schema is empty without these relations.
    """

    name: str
    relations: tuple[OwnRelation, ...]
    others: tuple[str, ...]
    goes: bool

    def staying(self) -> "OwnSchema":
        """Return the same, for the case that the schema is needed further."""
        return replace(self, goes=False)


@dataclass(frozen=True)
class InventoryItem:
    """What one transaction drops.

    Attributes:
        stage: The stage; None for the catalog and the working tables of sampling.
        schemas: The schemas, with the relations that are meant.
        rows: The rows of the catalog that are meant.
        kept: The same of earlier versions in cache slots.
        files: Files of blobs.
        everything: Whether all of the stage is meant.
    """

    stage: str | None
    schemas: tuple[OwnSchema, ...]
    rows: tuple[CatalogRow, ...]
    kept: tuple[CatalogRow, ...]
    files: tuple[Path, ...]
    everything: bool

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to drop."""
        return not (self.schemas or self.rows or self.kept or self.files)

    @property
    def relations(self) -> Iterator[OwnRelation]:
        """All relations that are meant."""
        for schema in self.schemas:
            yield from schema.relations


_RELATIONS = sa.text("""
SELECT c.oid::bigint AS oid, c.relname AS name, c.relkind::text AS kind,
       CASE WHEN c.relkind = 'v' THEN 0
            ELSE coalesce(pg_total_relation_size(c.oid), 0) END AS bytes  -- 0: dropped by now
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = :schema AND c.relkind IN ('r', 'p', 'v') ORDER BY c.relname
""")

_PRESENT = sa.text("SELECT 1 FROM pg_namespace WHERE nspname = :schema")

_IN_SCHEMA = sa.text("""
SELECT d.classid::regclass::text AS catalog, d.objid::bigint AS oid
FROM pg_depend d
WHERE d.refclassid = 'pg_namespace'::regclass AND d.deptype = 'n'
  AND d.refobjid = (SELECT oid FROM pg_namespace WHERE nspname = :schema)
""")


@dataclass(frozen=True)
class DropSelection:
    """Which part of an instance is meant.

    Attributes:
        stages: The stages that the code has, beside those of the catalog.
        stage: Only this stage; None: all of the instance.
        older_than: Only tables and blobs that were committed longer ago.
        tables: Only these; None: all.
        seen_in: Only what this code location was the last to have; None: whoever was.
    """

    stages: frozenset[str]
    stage: str | None = None
    older_than: timedelta | None = None
    tables: frozenset[StageTable] | None = None
    seen_in: str | None = None

    @property
    def is_whole(self) -> bool:
        """Whether all of the instance is meant."""
        return self.stage is None and self.older_than is None and self.tables is None


@dataclass(frozen=True)
class _Listed:
    """What the catalog lists, and what of it is meant."""

    rows: tuple[CatalogRow, ...]
    kept: tuple[CatalogRow, ...]
    staged: tuple[tuple[str, str | None], ...]
    before: datetime | None
    tables: frozenset[StageTable] | None
    seen_in: str | None

    @property
    def stages(self) -> set[str]:
        return {row.stage for row in (*self.rows, *self.kept)} | {stage for stage, _ in self.staged}

    @property
    def everything(self) -> bool:
        return self.before is None and self.tables is None

    def is_meant(self, row: CatalogRow) -> bool:
        if self.tables is not None and row.table not in self.tables:
            return False
        if self.seen_in is not None and row.seen_in != self.seen_in:
            return False
        return self.before is None or (
            row.committed_at is not None and row.committed_at < self.before
        )

    def remaining_files(self) -> set[str]:
        rows = [row for row in (*self.rows, *self.kept) if not self.is_meant(row)]
        files = {row.location for row in rows if row.kind == "blob"}
        return {file for file in files | {file for _, file in self.staged} if file}


def inventory_of(
    connection: sa.Connection, instance: Instance, selection: DropSelection
) -> list[InventoryItem]:
    """Return what an instance has of a selection, by stage; catalog and sampling come last.

    Raises:
        ConfigurationError: The instance has no such stage.
    """
    listed = _listed(connection, instance, selection)
    known = listed.stages | selection.stages
    if selection.stage is not None and selection.stage not in known:
        raise ConfigurationError(
            f"Instance `{instance.name}` has no stage `{selection.stage}`: neither its catalog "
            f"{instance.catalog_schema} nor the code names one. Stages: {', '.join(sorted(known))}."
        )
    stages = sorted(known) if selection.stage is None else [selection.stage]
    parts = [_of_stage(connection, instance, stage, listed) for stage in stages]
    if selection.is_whole:
        parts.append(_rest(connection, instance, stages))
    return [part for part in parts if not part.is_empty]


def is_empty(connection: sa.Connection, schema: str) -> bool:
    """Whether a schema has nothing in it, of anybody."""
    return not _others(connection, schema, [])


def _others(connection: sa.Connection, schema: str, own: Sequence[OwnRelation]) -> list[str]:
    """Return what is in a schema and no part of the relations, as a sequence may be, in words."""
    found = {Node(*item) for item in connection.execute(_IN_SCHEMA, {"schema": schema})}
    found -= read_dependents(connection, [relation.name for relation in own]).belongings
    return sorted(item.text for item in describe(connection, found).values())


def _listed(connection: sa.Connection, instance: Instance, selection: DropSelection) -> _Listed:
    schema = instance.catalog_schema
    rows = catalog.rows(connection, schema).values()
    kept = [slot.row for slot in slots.all_slots(connection, instance)]
    staged: list[tuple[str, str | None]] = []
    if catalog.exists(connection, schema, STAGED):
        table = sa.table(
            STAGED, sa.column("stage"), sa.column("kind"), sa.column("location"), schema=schema
        )
        file = sa.case((table.c.kind == "blob", table.c.location))
        found = connection.execute(sa.select(table.c.stage, file.label("file")))
        staged = [(item.stage, item.file) for item in found]
    before = None
    if selection.older_than is not None:
        now: datetime = connection.scalars(sa.select(sa.func.clock_timestamp())).one()
        before = now - selection.older_than
    return _Listed(
        tuple(rows), tuple(kept), tuple(staged), before, selection.tables, selection.seen_in
    )


def _of_stage(
    connection: sa.Connection, instance: Instance, stage: str, listed: _Listed
) -> InventoryItem:
    everything = listed.everything
    mine = [row for row in listed.rows if row.stage == stage]
    kept = [row for row in listed.kept if row.stage == stage]
    rows = [row for row in mine if listed.is_meant(row)]
    gone = [row for row in kept if listed.is_meant(row)]
    named = {row.name: row for row in mine if row.is_relation}
    by_key = {row.cache_key: row for row in kept if row.kind == "table" and row.cache_key}
    schemas = []
    # A schema of a stage that never committed anything but rows may be somebody else's.
    if any(row.kind not in catalog.WITHOUT_VALUE for row in mine):
        own = _own(connection, instance.schema(stage), named, only=named)
        schemas.append(_schema(connection, instance.schema(stage), own, rows))
    own = _own(connection, instance.slots_schema(stage), by_key)
    schemas.append(_schema(connection, instance.slots_schema(stage), own, gone, everything))
    own = _own(connection, instance.staging_schema(stage), {})
    schemas.append(_schema(connection, instance.staging_schema(stage), own, [], everything))
    emptied = len(rows) == len(mine) and len(gone) == len(kept) and (everything or bool(mine))
    found = [schema if emptied else schema.staying() for schema in schemas if schema]
    if everything:
        files = blob_files.unreferenced(instance, stage, set())
    else:
        files = _files(instance, [*rows, *gone], listed.remaining_files())
    return InventoryItem(
        stage,
        tuple(schema for schema in found if schema.goes or schema.relations),
        tuple(rows),
        tuple(gone),
        tuple(files),
        everything,
    )


def _rest(connection: sa.Connection, instance: Instance, stages: Iterable[str]) -> InventoryItem:
    """Return catalog, the working tables of sampling, and files of stages that are forgotten."""
    names = (instance.catalog_schema, instance.sample_work_schema)
    found = [_schema(connection, name, _tables(connection, name), [], True) for name in names]
    root = blob_files.directory(instance)
    folders = sorted(path.name for path in root.iterdir()) if root.is_dir() else []
    forgotten = [name for name in folders if name not in set(stages) and (root / name).is_dir()]
    files = [path for name in forgotten for path in blob_files.unreferenced(instance, name, set())]
    schemas = tuple(schema for schema in found if schema)
    return InventoryItem(None, schemas, (), (), tuple(files), everything=True)


def _own(
    connection: sa.Connection,
    schema: str,
    rows: Mapping[str, CatalogRow],
    only: Iterable[str] | None = None,
) -> list[OwnRelation]:
    found = connection.execute(_RELATIONS, {"schema": schema})
    return [
        OwnRelation(RelationName(schema, item.name), item.oid, item.kind, item.bytes, row)
        for item in found
        if (row := rows.get(item.name)) is not None or only is None
    ]


def _tables(connection: sa.Connection, schema: str) -> list[OwnRelation]:
    return [item for item in _own(connection, schema, {}) if item.kind != "v"]


def _schema(
    connection: sa.Connection,
    schema: str,
    own: Sequence[OwnRelation],
    meant: Sequence[CatalogRow],
    everything: bool = False,
) -> OwnSchema | None:
    """Return a schema with those of its relations that are meant; None if there is none."""
    if connection.scalar(_PRESENT, {"schema": schema}) is None:
        return None
    others = _others(connection, schema, own)
    chosen = [item for item in own if everything or item.row in meant]
    goes = not others and len(chosen) == len(own)
    return OwnSchema(schema, tuple(chosen), tuple(others), goes)


def _files(instance: Instance, rows: Iterable[CatalogRow], remaining: set[str]) -> list[Path]:
    """Return the files of blobs that no other row refers to."""
    files = {row.location: row.table for row in rows if row.kind == "blob" and row.location}
    return [
        blob_files.directory(instance) / location
        for location, table in files.items()
        if location not in remaining and blob_files.exists(instance, table, location)
    ]
