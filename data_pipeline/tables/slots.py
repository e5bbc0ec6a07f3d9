"""Cache slots: earlier versions of tables and blobs, kept aside to be swapped back in.

A developer who switches between two branches gets the results of each back without computing them
again. Kept tables lie in `<instance_id>_<stage>__slots`, named by their cache key, and are listed
in `<instance_id>_catalog.slots`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from data_pipeline.instances import Instance
from data_pipeline.tables import blobs, catalog
from data_pipeline.tables.catalog import WITHOUT_VALUE, CatalogRow
from data_pipeline.tables.connection import ensure_schema, run
from data_pipeline.tables.names import RelationName, StageTable, quoted
from data_pipeline.tables.relation_state import intact_relations

SLOTS = "slots"
_INDEXES = sa.text("""
SELECT n.nspname AS schema, t.relname AS relation, c.relname AS name
FROM pg_index i
JOIN pg_class t ON t.oid = i.indrelid
JOIN pg_namespace n ON n.oid = t.relnamespace
JOIN pg_class c ON c.oid = i.indexrelid
WHERE t.oid = ANY (SELECT to_regclass(name)::oid FROM unnest(CAST(:names AS text[])) name)
ORDER BY c.oid
""")


@dataclass(frozen=True)
class Slot:
    """An earlier version that is kept.

    Attributes:
        row: What the catalog said of it.
        indexes: Names of its indexes in the stage, by their names here.
        is_there: Whether its table or file still is, as it was kept.
    """

    row: CatalogRow
    indexes: Mapping[str, str]
    is_there: bool


def relation_of(instance: Instance, row: CatalogRow) -> RelationName:
    """Names the relation of a kept table."""
    return RelationName(instance.slots_schema(row.stage), row.cache_key or "")


def is_kept(instance: Instance, earlier: CatalogRow, new: CatalogRow) -> bool:
    """Whether what is replaced, and is still there, is to be kept."""
    return (
        _limit(instance) > 0
        and earlier.kind in ("table", "blob")
        and earlier.cache_key is not None
        and earlier.cache_key != new.cache_key
    )


@dataclass(frozen=True)
class Aside:
    """What it takes to keep versions, found out before anybody has to wait for it.

    Attributes:
        rows: What the catalog says of them.
        relations: Their tables, in the schemas of their stages.
        statements: Those that move the tables into their slot schemas, under names of their own.
        indexes: The names that the indexes of each table had, by the names that they then have.
    """

    rows: Sequence[CatalogRow] = ()
    relations: frozenset[RelationName] = frozenset()
    statements: Sequence[str] = ()
    indexes: Mapping[StageTable, Mapping[str, str]] = field(default_factory=dict)


def aside(connection: sa.Connection, instance: Instance, rows: Sequence[CatalogRow]) -> Aside:
    """Gives what it takes to keep versions.

    Args:
        connection: The transaction of the commit.
        instance: Whose versions.
        rows: What the catalog says of them.
    """
    if not rows:
        return Aside()
    tables = {
        RelationName(instance.schema(row.stage), row.name): row
        for row in rows
        if row.kind == "table"
    }
    if not tables:
        return Aside(rows)
    for schema in sorted({relation_of(instance, row).schema for row in tables.values()}):
        ensure_schema(connection, schema)
    targets = {old: relation_of(instance, row) for old, row in tables.items()}
    indexes: dict[StageTable, dict[str, str]] = {row.table: {} for row in tables.values()}
    statements = [_dropping(targets.values())]
    for found in connection.execute(_INDEXES, {"names": [old.quoted for old in tables]}):
        old = RelationName(found.schema, found.relation)
        mine = indexes[tables[old].table]
        name = f"{targets[old].name}_{len(mine)}"
        mine[name] = found.name
        statements.append(f"ALTER INDEX {quoted(old.schema, found.name)} RENAME TO {quoted(name)}")
    for old, target in targets.items():
        statements.append(f"ALTER TABLE {old.quoted} RENAME TO {quoted(target.name)}")
        moved = quoted(old.schema, target.name)
        statements.append(f"ALTER TABLE {moved} SET SCHEMA {quoted(target.schema)}")
    return Aside(rows, frozenset(tables), statements, indexes)


def put_back(connection: sa.Connection, instance: Instance, slot: Slot) -> None:
    """Moves a kept table into the staging schema of its stage, where its name must be free."""
    kept = relation_of(instance, slot.row)
    schema = instance.staging_schema(slot.row.stage)
    ensure_schema(connection, schema)
    for name, original in slot.indexes.items():
        run(connection, f"ALTER INDEX {quoted(kept.schema, name)} RENAME TO {quoted(original)}")
    run(connection, f"ALTER TABLE {kept.quoted} SET SCHEMA {quoted(schema)}")
    moved = quoted(schema, kept.name)
    run(connection, f"ALTER TABLE {moved} RENAME TO {quoted(slot.row.name)}")


def keep(connection: sa.Connection, instance: Instance, kept: Aside) -> list[CatalogRow]:
    """Lists versions as kept, and drops the oldest of their tables for them.

    Args:
        connection: The transaction of the commit.
        instance: Whose versions.
        kept: The versions; the statements must have been executed.

    Returns:
        Those that are dropped.
    """
    rows = kept.rows
    if not rows:
        return []
    slots = _table(instance)
    known = slots.c.cache_key.in_([row.cache_key for row in rows])
    connection.execute(sa.delete(slots).where(known))
    values = [{**asdict(row), "indexes": dict(kept.indexes.get(row.table, {}))} for row in rows]
    now = {"kept_at": sa.func.clock_timestamp()}
    connection.execute(sa.insert(slots).values(now), values)
    mine = sa.tuple_(slots.c.stage, slots.c.name).in_([(row.stage, row.name) for row in rows])
    newest_first = sa.over(
        sa.func.row_number(),
        partition_by=[slots.c.stage, slots.c.name],
        order_by=slots.c.kept_at.desc(),
    )
    ranked = sa.select(slots.c.cache_key, newest_first.label("place")).where(mine).subquery()
    oldest = sa.select(ranked.c.cache_key).where(ranked.c.place > _limit(instance))
    surplus = sa.delete(slots).where(slots.c.cache_key.in_(oldest)).returning(*catalog.columns())
    gone = [catalog.row_of(item) for item in connection.execute(surplus)]
    if tables := [relation_of(instance, row) for row in gone if row.kind == "table"]:
        run(connection, _dropping(tables))
    return gone


def all_slots(connection: sa.Connection, instance: Instance) -> list[Slot]:
    """Gives all kept versions of an instance, the newest of each table first."""
    if not catalog.is_readable(connection, instance.catalog_schema):
        return []
    slots = _table(instance)
    query = sa.select(slots).order_by("stage", "name", slots.c.kept_at.desc())
    found = [(catalog.row_of(item), item.indexes) for item in connection.execute(query)]
    relations = {relation_of(instance, row): row for row, _ in found if row.is_relation}
    intact = intact_relations(connection, relations)
    return [
        Slot(
            row,
            indexes,
            relation_of(instance, row) in intact
            if row.is_relation
            else row.kind in WITHOUT_VALUE or blobs.is_intact(instance, row),
        )
        for row, indexes in found
    ]


def unused_files(
    connection: sa.Connection, instance: Instance, dropped: Iterable[CatalogRow]
) -> frozenset[str]:
    """Gives the files of dropped blobs that neither the catalog nor a kept version refers to."""
    files = frozenset(row.location for row in dropped if row.kind == "blob" and row.location)
    if not files:
        return files
    rows = [
        *catalog.rows(connection, instance.catalog_schema).values(),
        *_kept_rows(connection, instance),
    ]
    return files - {row.location for row in rows if row.kind == "blob"}


def _kept_rows(connection: sa.Connection, instance: Instance) -> list[CatalogRow]:
    """Gives what is listed as kept; a commit has no time to look whether it is there."""
    if not catalog.exists(connection, instance.catalog_schema, SLOTS):
        return []
    query = sa.select(*catalog.columns()).select_from(_table(instance))
    return [catalog.row_of(item) for item in connection.execute(query)]


def forget(connection: sa.Connection, instance: Instance, row: CatalogRow) -> None:
    """Takes a version off the list, without dropping it."""
    if catalog.exists(connection, instance.catalog_schema, SLOTS):
        slots = _table(instance)
        connection.execute(sa.delete(slots).where(slots.c.cache_key == row.cache_key))


def drop(connection: sa.Connection, instance: Instance, row: CatalogRow) -> None:
    """Drops a kept version; the file of a blob is left to the caller."""
    forget(connection, instance, row)
    if row.kind == "table":
        run(connection, _dropping([relation_of(instance, row)]))


def _dropping(relations: Iterable[RelationName]) -> str:
    return f"DROP TABLE IF EXISTS {', '.join(relation.quoted for relation in relations)}"


def _limit(instance: Instance) -> int:
    return instance.cache_validation.cache_slots


def _table(instance: Instance) -> sa.TableClause:
    columns: list[sa.ColumnClause[Any]] = [
        sa.column("indexes", JSONB()),
        sa.column("kept_at", sa.DateTime(timezone=True)),
    ]
    return sa.table(SLOTS, *catalog.columns(), *columns, schema=instance.catalog_schema)
