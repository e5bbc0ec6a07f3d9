"""Increments: rows that are to go into a committed table, looked at while they are staged alone.

Beside them lies a view of what becomes of the table, which is what the rest of the run reads.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import dagster as dg
import sqlalchemy as sa

from data_pipeline.database.connection import run, transaction
from data_pipeline.database.identifiers import RelationName, StageTable, quoted
from data_pipeline.database.relations import Shape, read_shapes
from data_pipeline.database.row_hash import differs
from data_pipeline.errors import ConfigurationError, UnsupportedDataError
from data_pipeline.instances import Instance
from data_pipeline.results.table_changes import KEY
from data_pipeline.store import staging
from data_pipeline.store.catalog import CatalogRow
from data_pipeline.store.lookup import committed
from data_pipeline.store.table_properties import Properties

if TYPE_CHECKING:
    import pyarrow as pa

_FROM_START = (
    "change its code, or have everything computed (cache validation `force_cache_invalid`)"
)
_SHOWN_KEYS = 3


@dataclass(frozen=True)
class Previous:
    """What was told to an asset that asked what is there of its table.

    Attributes:
        row: What the catalog says of the rows that an increment is to be added to; None: there are
            none, and the asset returns everything.
        reason: Why there are none.
    """

    row: CatalogRow | None
    reason: str | None = None


@dataclass(frozen=True)
class RowChanges:
    """How many rows of a table an increment inserts, updates and deletes."""

    inserted: int
    updated: int = 0
    deleted: int = 0

    def __bool__(self) -> bool:
        return bool(self.inserted or self.updated or self.deleted)

    def __str__(self) -> str:
        figures = {"added": self.inserted, "changed": self.updated, "removed": self.deleted}
        return ", ".join(f"{number:,} {what}" for what, number in figures.items())


PREFER_INDEX = (
    "SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off; SET LOCAL jit = off"
)
"""Lets each row of an increment be looked up, instead of reading the whole table."""

PLAN_AS_USUAL = "SET LOCAL enable_hashjoin = on; SET LOCAL enable_mergejoin = on"

_SMALL = 20


def is_small(rows: int, before: CatalogRow) -> bool:
    """Whether an increment has so few rows beside its table that an index finds each of them."""
    return rows * _SMALL <= (before.row_count or 0)


def check_asked(table: StageTable, properties: Properties, previous: Previous | None) -> None:
    """Refuse increments of assets that would not know when they have to return everything.

    Raises:
        ConfigurationError: The asset did not ask what is there, or its rows cannot be merged.
    """
    if properties.write is None:
        if properties.deleted is not None:
            raise ConfigurationError(
                f"Table `{table}`: `deleted` says which rows of an increment are to go, and needs "
                '`write="merge"`.'
            )
        return
    if properties.write == "append" and properties.deleted is not None:
        raise ConfigurationError(
            f'Table `{table}`: rows that are appended delete none. Write `write="merge"`, or leave '
            "out `deleted`."
        )
    if properties.write == "merge" and not properties.primary_key:
        raise ConfigurationError(
            f"Table `{table}`: rows are merged by the primary key. Declare `primary_key`."
        )
    if previous is None:
        raise ConfigurationError(
            f"Asset `{table}` returned an increment (`write={properties.write!r}`) and did not ask "
            "what is there, so that it would not know when to return everything: at first, and "
            "after its code has changed. Take a parameter `previous` (a function of a `Stage`), or "
            "call `previous()` or `watermark(column)` of the instance resource."
        )


def of_delta(properties: Properties) -> Properties:
    """Return the properties that the rows of an increment have while they are staged."""
    # A row that is to go has nothing but its key.
    nullable = None if properties.deleted else properties.nullable
    return Properties(
        primary_key=properties.primary_key,
        types=properties.types,
        nullable=nullable,
        unlogged=properties.unlogged,
    )


def marked_out(session: sa.Connection, query: str, deleted: str | None) -> str:
    """Return a query of all rows of a table without those that are marked as deleted."""
    if deleted is None:
        return query
    inner = f"(\n{query}\n) AS q"
    try:
        names = list(run(session, f"SELECT * FROM {inner} LIMIT 0").keys())
    except sa.exc.DBAPIError:
        return query  # it is said what is wrong with it when the table is built
    if deleted not in names:
        return query
    kept = ", ".join(quoted(name) for name in names if name != deleted)
    return f"SELECT {kept} FROM {inner} WHERE {quoted(deleted)} IS NOT TRUE"


def marked_out_of_batches(
    reader: "pa.RecordBatchReader", deleted: str | None
) -> "pa.RecordBatchReader":
    """Return batches without the rows that are marked as deleted.

    Raises:
        UnsupportedDataError: The column that marks them has no truth values.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    if deleted is None or deleted not in reader.schema.names:
        return reader
    place = reader.schema.get_field_index(deleted)
    kind = reader.schema.field(place).type
    if not (pa.types.is_boolean(kind) or pa.types.is_null(kind)):
        raise UnsupportedDataError(_no_truth_value(deleted, str(kind)))

    def batches() -> "Iterator[pa.RecordBatch]":
        for batch in reader:
            marked = pc.fill_null(batch.column(place).cast(pa.bool_()), False)
            yield batch.filter(pc.invert(marked)).remove_column(place)

    return pa.RecordBatchReader.from_batches(reader.schema.remove(place), batches())


def look_at(
    session: sa.Connection,
    instance: Instance,
    before: CatalogRow,
    properties: Properties,
    rows: int,
    *,
    is_empty: bool,
) -> RowChanges:
    """Return what an increment that is staged will do to its table, having looked at its rows.

    Args:
        session: A session that commits each statement by itself.
        instance: The instance.
        before: What the catalog says of the table.
        properties: The properties of the table.
        rows: The number of rows of the increment.
        is_empty: Whether it has no rows, so that types mean nothing: of a frame without rows they
            are not known.

    Raises:
        UnsupportedDataError: Its columns or rows do not go into the table.
    """
    table = before.table
    old, new = committed(instance, table), staging.relation_of(instance, table)
    shapes = read_shapes(session, [old, new])
    _check_columns(table, shapes[old], shapes[new], properties, is_empty=is_empty)
    _check_key(table, shapes[old], properties)
    if is_empty:
        return RowChanges(0)
    names = shapes[new].names
    marker = properties.deleted if properties.deleted in names else None
    if marker is not None:
        _check_not_null(session, new, table, properties, names)
    with transaction(session):
        if is_small(rows, before):
            run(session, PREFER_INDEX)
        if properties.write == "merge":
            return _merged(session, (old, new), shapes[old], marker)
        _check_new(session, table, (old, new), properties.primary_key)
    return RowChanges(rows)


def _check_columns(
    table: StageTable, old: Shape, new: Shape, properties: Properties, *, is_empty: bool
) -> None:
    had = {column.name: column for column in old.columns}
    has = {column.name: column for column in new.columns}
    name = properties.deleted or ""
    marker = has.pop(name, None) if name not in had else None
    if marker is not None and not is_empty and marker.type != "boolean":
        raise UnsupportedDataError(f"Table `{table}`: {_no_truth_value(marker.name, marker.type)}")
    said = [f"has no column `{name}`" for name in had if name not in has]
    said += [f"has a column `{name}`, which the table has not" for name in has if name not in had]
    said += [
        f"has `{name}` as {column.type}, not as {had[name].type}"
        for name, column in has.items()
        if name in had
        and not is_empty
        and (column.type, column.collation) != (had[name].type, had[name].collation)
    ]
    if said:
        raise UnsupportedDataError(
            f"Table `{table}`: the increment does not fit: it {'; it '.join(said)}. Return the "
            f"columns that the table has; or build it from the start: {_FROM_START}."
        )


def _check_key(table: StageTable, old: Shape, properties: Properties) -> None:
    if old.key != properties.primary_key:
        now = ", ".join(properties.primary_key) or "none"
        raise UnsupportedDataError(
            f"Table `{table}` has the primary key ({', '.join(old.key) or 'none'}), and its "
            f"increment has ({now}). Keep it; or build the table from the start: {_FROM_START}."
        )


def _check_not_null(
    session: sa.Connection,
    new: RelationName,
    table: StageTable,
    properties: Properties,
    names: Sequence[str],
) -> None:
    needed = [name for name in properties.not_null(names) if name != properties.deleted]
    marker = quoted(properties.deleted or "")
    for name in needed:
        query = f"SELECT count(*) FROM {new.quoted} WHERE {quoted(name)} IS NULL"
        if count := run(session, f"{query} AND {marker} IS NOT TRUE").scalar_one():
            raise UnsupportedDataError(
                f"Table `{table}`: column `{name}` is NULL in {count:,} of the rows of its "
                "increment, and may not be (`nullable`)."
            )


def _check_new(
    session: sa.Connection,
    table: StageTable,
    relations: tuple[RelationName, RelationName],
    key: Sequence[str],
) -> None:
    if not key:
        return
    old, new = relations
    shown = ", ".join(f"n.{quoted(name)}::text" for name in key)
    query = (
        f"SELECT {shown} FROM {_in_order(new, key)} AS n "
        f"JOIN {old.quoted} AS o ON {_same(key)} LIMIT {_SHOWN_KEYS}"
    )
    if found := run(session, query).all():
        examples = ", ".join(f"({', '.join(row)})" for row in found)
        raise UnsupportedDataError(
            f"Table `{table}`: rows to be appended have keys that are there already: "
            f"({', '.join(key)}) = {examples}{', ...' if len(found) == _SHOWN_KEYS else ''}. "
            'Return new rows only, or write `write="merge"`.'
        )


def _merged(
    session: sa.Connection,
    relations: tuple[RelationName, RelationName],
    shape: Shape,
    marker: str | None,
) -> RowChanges:
    old, new = relations
    first = quoted(shape.key[0])
    goes = f"n.{quoted(marker)} IS TRUE" if marker else "false"
    is_there = f"o.{first} IS NOT NULL"
    counted = (
        f"NOT ({is_there}) AND NOT ({goes})",
        f"{is_there} AND NOT ({goes}) AND {differs(shape.names, 'o', 'n')}",
        f"{is_there} AND {goes}",
    )
    counts = ", ".join(f"count(*) FILTER (WHERE {item})" for item in counted)
    rows = _in_order(new, shape.key)
    joined = f"{rows} AS n LEFT JOIN {old.quoted} AS o ON {_same(shape.key)}"
    return RowChanges(*run(session, f"SELECT {counts} FROM {joined}").one())


def whole_view(session: sa.Connection, instance: Instance, row: CatalogRow) -> str:
    """Return the statement that creates the view of a table with its staged increment."""
    old, new = committed(instance, row.table), staging.relation_of(instance, row.table)
    shapes = read_shapes(session, [old, new])
    names = ", ".join(map(quoted, shapes[old].names))
    marker = row.declared.deleted if row.declared.deleted in shapes[new].names else None
    kept = added = ""
    if row.increment["write"] == "merge":
        same = _same(row.declared.primary_key)
        kept = f" WHERE NOT EXISTS (SELECT FROM {new.quoted} AS n WHERE {same})"
        added = f" WHERE {quoted(marker)} IS NOT TRUE" if marker else ""
    view = staging.whole_relation(instance, row.table).quoted
    return (
        f"CREATE VIEW {view} AS SELECT {names} FROM {old.quoted} AS o{kept} "
        f"UNION ALL SELECT {names} FROM {new.quoted} AS n{added}"
    )


def from_start(row: CatalogRow, lineage: Mapping[str, str]) -> CatalogRow:
    """Return the row of a table that was built from the start, and may grow from now on."""
    begun = {"write": row.declared.write, "base": row.data_version, "number": 0}
    return replace(row, increment={**begun, "lineage": dict(lineage)})


def grown(
    before: CatalogRow, row: CatalogRow, changes: RowChanges, rows: int, lineage: Mapping[str, str]
) -> CatalogRow:
    """Return the row of a table with its increment.

    Args:
        before: What the catalog says of the table.
        row: What it will say, with the rows and the size of the increment.
        changes: What the increment does to the table.
        rows: How many rows it has.
        lineage: What went into its inputs besides data.
    """
    increment = {
        **before.increment,
        "write": row.declared.write,
        "number": before.increment["number"] + 1,
        "lineage": {**before.increment["lineage"], **lineage},
        "onto": before.data_version,
        "rows": rows,
    }
    return replace(
        row,
        row_count=(before.row_count or 0) + changes.inserted - changes.deleted,
        bytes=(before.bytes or 0) + (row.bytes or 0),
        increment=increment,
    )


def increment_metadata(before: CatalogRow, row: CatalogRow, changes: RowChanges) -> dict[str, Any]:
    """Return what the web UI shows of an increment."""
    lines = [
        f"rows: {before.row_count:,} → {row.row_count:,}",
        f"increment {row.increment['number']} ({row.increment['write']}): {changes}",
    ]
    return {KEY: dg.MetadataValue.md("\n".join(f"- {line}" for line in lines))}


def _in_order(relation: RelationName, key: Sequence[str]) -> str:
    """Return the SQL of rows in the order in which they lie in an index."""
    return f"(SELECT * FROM {relation.quoted} ORDER BY {', '.join(map(quoted, key))})"


def _same(key: Sequence[str]) -> str:
    return " AND ".join(f"o.{quoted(name)} = n.{quoted(name)}" for name in key)


def _no_truth_value(column: str, kind: str) -> str:
    return (
        f"column `{column}`, which says what is deleted, is of type {kind}. Give it truth values "
        "(boolean)."
    )
