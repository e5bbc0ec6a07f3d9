"""Cache slots: earlier versions of tables and blobs, kept aside to be swapped back in.

A developer who switches between two branches gets the results of each back without computing them
again. Kept tables lie in `<instance_id>_<stage>__slots`, named by their cache key, and are listed
in `<instance_id>_catalog.slots`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from data_pipeline.instances import Instance
from data_pipeline.instances.instance import SLOTS_SUFFIX
from data_pipeline.tables import blobs, catalog
from data_pipeline.tables.catalog import CatalogRow
from data_pipeline.tables.connection import ensure_schema, run
from data_pipeline.tables.names import RelationName, quoted

SLOTS = "slots"
_OWN_COLUMNS = {
    "indexes": ("jsonb", "Names of its indexes, in the stage, by their names here"),
    "kept_at": ("timestamptz", "When it was put aside"),
}

_INDEXES = sa.text("""
SELECT c.relname FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
WHERE i.indrelid = to_regclass(:relation) ORDER BY c.oid
""")


@dataclass(frozen=True)
class Slot:
    """An earlier version that is kept.

    Attributes:
        row: What the catalog said of it.
        indexes: Names of its indexes in the stage, by their names here.
        is_there: Whether its table or file still is.
    """

    row: CatalogRow
    indexes: Mapping[str, str]
    is_there: bool


def relation_of(instance: Instance, row: CatalogRow) -> RelationName:
    """Names the relation of a kept table."""
    return RelationName(instance.slots_schema(row.stage), row.cache_key or "")


def is_kept(
    connection: sa.Connection, instance: Instance, earlier: CatalogRow | None, new: CatalogRow
) -> bool:
    """Whether what is replaced is to be kept: not if somebody dropped or emptied it by hand."""
    return (
        earlier is not None
        and instance.cache_validation.cache_slots > 0
        and earlier.kind in ("table", "blob")
        and earlier.cache_key is not None
        and earlier.cache_key != new.cache_key
        and (earlier.kind == "blob" or _is_there(connection, instance, earlier))
    )


def put_aside(
    connection: sa.Connection, instance: Instance, old: RelationName, row: CatalogRow
) -> dict[str, str]:
    """Moves a table into its slot schema, under a name of its own.

    Args:
        connection: The transaction of the commit.
        instance: Whose table.
        old: The table, in its stage schema.
        row: What the catalog says of it.

    Returns:
        The names that its indexes had, by the names that they have now.
    """
    target = relation_of(instance, row)
    ensure_schema(connection, target.schema)
    _drop(connection, target)
    indexes = {}
    for number, name in enumerate(connection.scalars(_INDEXES, {"relation": old.quoted}).all()):
        indexes[f"{target.name}_{number}"] = name
        index = quoted(old.schema, name)
        run(connection, f"ALTER INDEX {index} RENAME TO {quoted(f'{target.name}_{number}')}")
    run(connection, f"ALTER TABLE {old.quoted} RENAME TO {quoted(target.name)}")
    moved = quoted(old.schema, target.name)
    run(connection, f"ALTER TABLE {moved} SET SCHEMA {quoted(target.schema)}")
    return indexes


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


def keep(
    connection: sa.Connection, instance: Instance, row: CatalogRow, indexes: Mapping[str, str]
) -> list[CatalogRow]:
    """Lists a version as kept; gives those that are dropped for it, the oldest of its table."""
    catalog.ensure(connection, instance.catalog_schema, SLOTS, _OWN_COLUMNS)
    slots = _table(instance)
    forget(connection, instance, row)
    values = {**asdict(row), "indexes": dict(indexes), "kept_at": sa.func.clock_timestamp()}
    connection.execute(sa.insert(slots).values(values))
    mine = sa.select(slots).where(slots.c.stage == row.stage, slots.c.name == row.name)
    newest_first = connection.execute(mine.order_by(slots.c.kept_at.desc())).all()
    surplus = [catalog.row_of(item) for item in newest_first[_limit(instance) :]]
    for item in surplus:
        drop(connection, instance, item)
    return surplus


def all_slots(connection: sa.Connection, instance: Instance) -> list[Slot]:
    """Gives all kept versions of an instance, the newest of each table first."""
    if not catalog.exists(connection, instance.catalog_schema, SLOTS):
        return []
    catalog.ensure(connection, instance.catalog_schema, SLOTS, _OWN_COLUMNS)
    slots = _table(instance)
    prefix = sa.literal(instance.table_store.schema_prefix)
    schema = prefix.op("||")(slots.c.stage).op("||")(SLOTS_SUFFIX)
    relation = sa.func.to_regclass(sa.func.format(sa.literal("%I.%I"), schema, slots.c.cache_key))
    present = catalog.is_there(relation, slots.c.kind, slots.c.row_count).label("present")
    query = sa.select(slots, present).order_by("stage", "name", slots.c.kept_at.desc())
    return [_slot(instance, item) for item in connection.execute(query)]


def unused_files(
    connection: sa.Connection, instance: Instance, dropped: Iterable[CatalogRow]
) -> frozenset[str]:
    """Gives the files of dropped blobs that neither the catalog nor a kept version refers to."""
    files = frozenset(row.location for row in dropped if row.kind == "blob" and row.location)
    if not files:
        return files
    rows = [
        *catalog.rows(connection, instance.catalog_schema).values(),
        *(slot.row for slot in all_slots(connection, instance)),
    ]
    return files - {row.location for row in rows if row.kind == "blob"}


def forget(connection: sa.Connection, instance: Instance, row: CatalogRow) -> None:
    """Takes a version off the list, without dropping it."""
    if catalog.exists(connection, instance.catalog_schema, SLOTS):
        slots = _table(instance)
        connection.execute(sa.delete(slots).where(slots.c.cache_key == row.cache_key))


def drop(connection: sa.Connection, instance: Instance, row: CatalogRow) -> None:
    """Drops a kept version; the file of a blob is left to the caller."""
    forget(connection, instance, row)
    if row.kind == "table":
        _drop(connection, relation_of(instance, row))


def _slot(instance: Instance, item: sa.Row[Any]) -> Slot:
    row = catalog.row_of(item)
    if row.kind != "blob":
        return Slot(row, item.indexes, item.present)
    there = row.location is not None and blobs.exists(instance, row.table, row.location)
    return Slot(row, item.indexes, there)


def _is_there(connection: sa.Connection, instance: Instance, row: CatalogRow) -> bool:
    relation = RelationName(instance.schema(row.stage), row.name)
    there = catalog.is_there(
        sa.func.to_regclass(relation.quoted), sa.literal(row.kind), sa.literal(row.row_count)
    )
    return bool(connection.scalar(sa.select(there)))


def _drop(connection: sa.Connection, relation: RelationName) -> None:
    run(connection, f"DROP TABLE IF EXISTS {relation.quoted}")


def _limit(instance: Instance) -> int:
    return instance.cache_validation.cache_slots


def _table(instance: Instance) -> sa.TableClause:
    columns: list[sa.ColumnClause[Any]] = [
        sa.column("indexes", JSONB()),
        sa.column("kept_at", sa.DateTime(timezone=True)),
    ]
    return sa.table(SLOTS, *catalog.columns(), *columns, schema=instance.catalog_schema)
