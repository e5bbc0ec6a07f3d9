"""Cache slots: earlier versions of tables and blobs, kept aside to be swapped back in.

A developer who switches between two branches gets the results of each back without computing them
again. Kept tables lie in `<instance_id>_<stage>__slots`, named by their cache key, and are listed
in `<instance_id>_catalog.slots`.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from data_pipeline.database.connection import ensure_schema, run
from data_pipeline.database.identifiers import RelationName, StageTable, literal, quoted
from data_pipeline.database.relations import read_shapes
from data_pipeline.database.sql_text import renamed
from data_pipeline.instances import Instance
from data_pipeline.store import catalog
from data_pipeline.store.blobs import blob_files
from data_pipeline.store.catalog import ONLY_ROW, CatalogRow
from data_pipeline.store.changed_by_hand import built_state, intact_relations, state_of
from data_pipeline.store.table_properties import (
    index_name,
    index_statement,
    key_name,
    key_statement,
)

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

_DEFINITIONS = sa.text("""
SELECT n.nspname AS schema, c.relname AS name, pg_get_viewdef(c.oid) AS definition
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.oid = ANY (SELECT to_regclass(name)::oid FROM unnest(CAST(:names AS text[])) name)
""")
_SAVEPOINT = "kept"


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
    """Name the relation of a kept table."""
    return RelationName(instance.slots_schema(row.stage), row.cache_key or "")


def is_kept(instance: Instance, earlier: CatalogRow, new: CatalogRow) -> bool:
    """Whether what is replaced, and is still there, is to be kept."""
    return (
        _limit(instance) > 0
        and earlier.kind in ("table", "blob", "tables")
        and earlier.cache_key is not None
        and (earlier.cache_key != new.cache_key or new.kind in catalog.WITHOUT_VALUE)
    )


@dataclass(frozen=True)
class Aside:
    """What it takes to keep versions, found out before anybody has to wait for it.

    Attributes:
        rows: What the catalog says of them.
        relations: Their tables, in the schemas of their stages, each with its name as a slot.
        statements: Those that move the tables into their slot schemas, under names of their own.
        indexes: The names that the indexes of each table had, by the names that they then have.
    """

    rows: Sequence[CatalogRow] = ()
    relations: Mapping[RelationName, RelationName] = field(default_factory=dict)
    statements: Sequence[str] = ()
    indexes: Mapping[StageTable, Mapping[str, str]] = field(default_factory=dict)


def aside(
    connection: sa.Connection,
    instance: Instance,
    rows: Sequence[CatalogRow],
    in_place: Collection[RelationName] = (),
) -> Aside:
    """Return what it takes to keep versions.

    Args:
        connection: The transaction of the commit.
        instance: Whose versions.
        rows: What the catalog says of them.
        in_place: Tables that stay, and get other rows: their versions are copied.
    """
    if not rows:
        return Aside()
    copies = {}
    for row in rows:
        name = RelationName(instance.schema(row.stage), row.name)
        if row.kind == "table" and name in in_place:
            copies[row.table] = _copied(connection, instance, row, name)
    moved = _moved_aside(connection, instance, [row for row in rows if row.table not in copies])
    return replace(
        moved,
        rows=[*moved.rows, *(row for row, _ in copies.values())],
        indexes={**moved.indexes, **{table: names for table, (_, names) in copies.items()}},
    )


def _moved_aside(
    connection: sa.Connection, instance: Instance, rows: Sequence[CatalogRow]
) -> Aside:
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
        index = quoted(old.schema, found.name)
        # One that goes by a function of the rows is dropped with that function before.
        statements.append(f"ALTER INDEX IF EXISTS {index} RENAME TO {quoted(name)}")
    for old, target in targets.items():
        statements += _moving(old, target)
    return Aside(rows, targets, statements, indexes)


def _copied(
    connection: sa.Connection, instance: Instance, row: CatalogRow, current: RelationName
) -> tuple[CatalogRow, Mapping[str, str]]:
    """Copy a version to where it is kept, before its rows are replaced in place.

    Args:
        connection: The transaction of the commit.
        instance: Whose version.
        row: What the catalog says of it.
        current: Its table.

    Returns:
        The row of the copy, and the names of its indexes in the stage, by their names here.
    """
    target = relation_of(instance, row)
    shape = read_shapes(connection, [current])[current]
    ensure_schema(connection, target.schema)
    unlogged = "UNLOGGED " if shape.persistence == "u" else ""
    run(connection, _dropping([target]))
    create = f"CREATE {unlogged}TABLE {target.quoted} AS SELECT * FROM ONLY {current.quoted}"
    rows = run(connection, create).rowcount
    indexes = [index_name(row.name, columns) for columns in row.declared.indexes]
    names = {f"{target.name}_{n}": name for n, name in enumerate([key_name(row.name), *indexes])}
    slot_names = list(names)
    changes = [
        f"ALTER COLUMN {quoted(column.name)} SET NOT NULL"
        for column in shape.columns
        if column.is_not_null
    ]
    statements = [f"ALTER TABLE {target.quoted} {', '.join(changes)}"] if changes else []
    if shape.key:
        statements.append(key_statement(target, slot_names[0], shape.key))
    else:
        del names[slot_names[0]]
    for name, columns in zip(slot_names[1:], row.declared.indexes, strict=True):
        statements.append(index_statement(target, name, columns))
    run(connection, "; ".join([*statements, f"ANALYZE {target.quoted}"]))
    query = (
        f"SELECT {state_of(f'{literal(target.quoted)}::regclass')}, pg_current_xact_id()::xid::text"
    )
    state, transaction = run(connection, query).one()
    return replace(row, relation=built_state(state, rows, transaction)), names


def definitions_of(
    connection: sa.Connection,
    aside: Mapping[RelationName, RelationName],
    back: Mapping[RelationName, RelationName],
    views: Iterable[RelationName],
) -> dict[RelationName, str]:
    """Return the queries that views will have when tables are kept as slots, or come again.

    PostgreSQL writes them by the names that the tables have, so they get these for a moment.

    Args:
        connection: The transaction of the commit.
        aside: Tables that will be kept, with their names as slots, whose schema must exist.
        back: Slots of tables that come again, with the names of these tables.
        views: Views and materialized views.
    """
    moves = [statement for old, target in aside.items() for statement in _moving(old, target)]
    for kept, table in back.items():
        moves.append(f"ALTER TABLE {kept.quoted} RENAME TO {quoted(table.name)}")
    run(connection, "; ".join([f"SAVEPOINT {_SAVEPOINT}", *moves]))
    found = connection.execute(_DEFINITIONS, {"names": [view.quoted for view in views]})
    definitions = {RelationName(item.schema, item.name): item.definition for item in found}
    run(connection, f"ROLLBACK TO SAVEPOINT {_SAVEPOINT}")
    names = {RelationName(kept.schema, table.name): table for kept, table in back.items()}
    return {view: renamed(query, names) for view, query in definitions.items()}


def _moving(old: RelationName, target: RelationName) -> list[str]:
    moved = quoted(old.schema, target.name)
    return [
        f"ALTER TABLE {old.quoted} RENAME TO {quoted(target.name)}",
        f"ALTER TABLE {moved} SET SCHEMA {quoted(target.schema)}",
    ]


def return_to_stage(
    connection: sa.Connection, instance: Instance, relations: Collection[RelationName]
) -> None:
    """Move kept tables into their stages, where their names must be free, and forget them."""
    for slot in all_slots(connection, instance):
        if relation_of(instance, slot.row) not in relations:
            continue
        put_back(connection, instance, slot, instance.schema(slot.row.stage))
        forget(connection, instance, slot.row)


def put_back(
    connection: sa.Connection, instance: Instance, slot: Slot, schema: str | None = None
) -> None:
    """Move a kept table into a schema, where its name must be free.

    Args:
        connection: A transaction.
        instance: Whose table.
        slot: The table.
        schema: The schema; None: the staging schema of its stage.
    """
    kept = relation_of(instance, slot.row)
    schema = schema or instance.staging_schema(slot.row.stage)
    ensure_schema(connection, schema)
    for name, original in slot.indexes.items():
        index = quoted(kept.schema, name)
        run(connection, f"ALTER INDEX IF EXISTS {index} RENAME TO {quoted(original)}")
    run(connection, f"ALTER TABLE {kept.quoted} SET SCHEMA {quoted(schema)}")
    moved = quoted(schema, kept.name)
    run(connection, f"ALTER TABLE {moved} RENAME TO {quoted(slot.row.name)}")


def keep(connection: sa.Connection, instance: Instance, kept: Aside) -> list[CatalogRow]:
    """List versions as kept, and drop the oldest of their tables for them.

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
    values = [{**vars(row), "indexes": dict(kept.indexes.get(row.table, {}))} for row in rows]
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
    """Return all kept versions of an instance, the newest of each table first."""
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
            else row.kind in ONLY_ROW or blob_files.is_intact(instance, row),
        )
        for row, indexes in found
    ]


def in_use(
    connection: sa.Connection, instance: Instance, rows: Iterable[CatalogRow]
) -> list[CatalogRow]:
    """Return those of the kept versions on which somebody has built something.

    The views of a table stay on its kept version when the table is not made any more.
    """
    names = {relation_of(instance, row): row for row in rows if row.kind == "table"}
    from data_pipeline.database.dependencies import read_dependents

    graph = read_dependents(connection, list(names))
    used = set().union(*map(graph.below, graph.built_on))
    return [names[name] for node, name in graph.roots.items() if node in used]


def of_tables(
    connection: sa.Connection, instance: Instance, tables: Iterable[StageTable]
) -> list[CatalogRow]:
    """Return the kept versions of some tables, the oldest of each first, from the list alone."""
    keys = [(table.stage, table.name) for table in tables]
    if not keys:
        return []
    slots = _table(instance)
    mine = sa.tuple_(slots.c.stage, slots.c.name).in_(keys)
    query = sa.select(*catalog.columns()).select_from(slots).where(mine).order_by("kept_at")
    return [catalog.row_of(item) for item in connection.execute(query)]


def unused_files(
    connection: sa.Connection, instance: Instance, dropped: Iterable[CatalogRow]
) -> frozenset[str]:
    """Return the files of dropped blobs that neither the catalog nor a kept version refers to."""
    files = frozenset(row.location for row in dropped if row.kind == "blob" and row.location)
    if not files:
        return files
    rows = [
        *catalog.rows(connection, instance.catalog_schema).values(),
        *_kept_rows(connection, instance),
    ]
    return files - {row.location for row in rows if row.kind == "blob"}


def _kept_rows(connection: sa.Connection, instance: Instance) -> list[CatalogRow]:
    """Return what is listed as kept; a commit has no time to look whether it is there."""
    if not catalog.exists(connection, instance.catalog_schema, SLOTS):
        return []
    query = sa.select(*catalog.columns()).select_from(_table(instance))
    return [catalog.row_of(item) for item in connection.execute(query)]


def forget(connection: sa.Connection, instance: Instance, row: CatalogRow) -> None:
    """Take a version off the list, without dropping it."""
    if catalog.exists(connection, instance.catalog_schema, SLOTS):
        slots = _table(instance)
        connection.execute(sa.delete(slots).where(slots.c.cache_key == row.cache_key))


def drop(connection: sa.Connection, instance: Instance, row: CatalogRow) -> None:
    """Drop a kept version; the file of a blob is left to the caller."""
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
