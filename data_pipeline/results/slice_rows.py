"""The rows of a slice, looked at while they are staged: are they of it, and do they fit the table?

What is checked here need not be looked at again while readers wait for the commit.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import sqlalchemy as sa

from data_pipeline.database.connection import run, transaction
from data_pipeline.database.identifiers import RelationName, StageTable, literal, quoted
from data_pipeline.database.relations import Shape, ShapeColumn, read_shapes
from data_pipeline.errors import ConfigurationError, UnsupportedDataError
from data_pipeline.instances import Instance
from data_pipeline.results.ranges.ranged_rows import RangedRows
from data_pipeline.results.sql_query import is_query
from data_pipeline.store import catalog, staging
from data_pipeline.store.catalog import CatalogRow
from data_pipeline.store.changed_by_hand import read_states, remembered
from data_pipeline.store.lookup import committed
from data_pipeline.store.sliced_tables import SliceBounds, bounds_of, build_command, drop_command
from data_pipeline.store.table_properties import Properties

WITHIN = "rows_of_slice"
"""The constraint by which PostgreSQL knows that the rows of a staged slice belong to it."""

_CUT_BY = "SELECT pg_get_partkeydef(to_regclass({relation}))"
_SHOWN_ROWS = 3


def check_slice(table: StageTable, obj: Any, properties: Properties, bounds: SliceBounds) -> None:
    """Refuse what cannot be a slice of a table, and properties that such tables cannot have.

    Raises:
        UnsupportedDataError: It is no table: a view, or an object.
        ConfigurationError: There is such a property.
    """
    from data_pipeline.transfer.frames import is_frame

    if not (is_query(obj) or is_frame(obj) or isinstance(obj, RangedRows)):
        what = f"{type(obj).__module__}.{type(obj).__qualname__}"
        raise UnsupportedDataError(
            f"Asset `{table.whole}` has slices, and returned a {what} for `{table}`. Slices are "
            "parts of a table: return a frame or a query."
        )
    check_properties(table, properties, bounds)


def check_properties(table: StageTable, properties: Properties, bounds: SliceBounds) -> None:
    """Refuse properties that tables with slices cannot have.

    Raises:
        ConfigurationError: There is one.
    """
    if properties.write is not None:
        raise ConfigurationError(
            f"Table `{table.whole}` has slices and returns increments (`write`). A slice is "
            "rebuilt as a whole: leave out `write`, or the slices."
        )
    if properties.primary_key and bounds.column not in properties.primary_key:
        listed = ", ".join(properties.primary_key)
        raise ConfigurationError(
            f"Table `{table.whole}` has slices by `{bounds.column}`, which its primary key "
            f"({listed}) lacks: PostgreSQL keeps keys unique within a slice only. Write "
            f"primary_key=({', '.join(map(repr, (bounds.column, *properties.primary_key)))})."
        )


def fit_slice(session: sa.Connection, instance: Instance, row: CatalogRow) -> CatalogRow:
    """Make sure that a staged slice can become a part of a table; return its catalog row.

    Whether it has the columns of the other slices says `check_fits`, when it is on the list.

    Args:
        session: A session that commits each statement by itself.
        instance: The instance.
        row: The row of the staged slice.

    Raises:
        UnsupportedDataError: Rows do not belong to it, or it has none to tell the types by.
    """
    bounds = bounds_of(row)
    whole = committed(instance, row.table.whole)
    own = staging.relation_of(instance, row.table)
    shapes = read_shapes(session, [whole, own])
    new, old = shapes[own], shapes.get(whole)
    if old is not None and has_others(session, instance, row.table):
        if not row.row_count:
            if said := misfits(old, new, ignoring_types=True):
                drop = drop_command(instance, row.table.whole)
                raise UnsupportedDataError(
                    f"{_misfit(row.table, said)} To change them, drop the table, and run its "
                    f"slices again, this one after one that has rows: {drop}"
                )
            if retyped := _other_types(old, new):
                row, new = _adopted(session, own, retyped, row), replace(new, columns=old.columns)
    elif not row.row_count:
        row, new = _with_likely_type(session, own, new, bounds, row)
    kind = _kind_of(row.table, new, bounds)
    _check_rows(session, row.table, own, bounds, kind)
    condition = bounds.condition(kind)
    constraint = f"ADD CONSTRAINT {quoted(WITHIN)} CHECK ({condition})"
    run(session, f"ALTER TABLE {own.quoted} {constraint}")
    return row


def _with_likely_type(
    session: sa.Connection, own: RelationName, shape: Shape, bounds: SliceBounds, row: CatalogRow
) -> tuple[CatalogRow, Shape]:
    """Give the column of a first slice without rows the type that it most likely has later."""
    columns = {column.name: column for column in shape.columns}
    found = columns.get(bounds.column)
    if found is None or bounds.start is None or bounds.by(found.type).startswith("RANGE"):
        return row, shape
    likely = replace(found, type=bounds.likely_type, collation=0)
    columns[bounds.column] = likely
    shape = replace(shape, columns=tuple(columns.values()))
    return _adopted(session, own, [likely], row), shape


def has_others(connection: sa.Connection, instance: Instance, table: StageTable) -> bool:
    """Whether a table has other slices than one, with rows."""
    rows = catalog.slices(connection, instance.catalog_schema, table.whole)
    return any(row.row_count and row.name != table.name for row in rows)


def misfits(old: Shape, new: Shape, *, ignoring_types: bool = False) -> list[str]:
    """Say what a slice has other than its table; nothing where it fits.

    Args:
        old: The shape of the table.
        new: That of the slice.
        ignoring_types: Whether types mean nothing: of a frame without rows they are not known.
    """
    if old.kind != "p":
        return ["is a slice of what is no table with slices now"]
    had = {column.name: column for column in old.columns}
    has = {column.name: column for column in new.columns}
    said = [f"has no column `{name}`" for name in had if name not in has]
    said += [f"has a column `{name}`, which they have not" for name in has if name not in had]
    if not ignoring_types:
        said += [
            f"has `{column.name}` as {column.type}, not as {had[column.name].type}"
            for column in _other_types(new, old)
        ]
    if set(old.key) != set(new.key):
        said.append(f"has the key ({', '.join(new.key)}), not ({', '.join(old.key)})")
    return said


def _other_types(old: Shape, new: Shape) -> list[ShapeColumn]:
    """Return the columns of a shape that another one has with other types."""
    has = {column.name: column for column in new.columns}
    return [
        column
        for column in old.columns
        if column.name in has
        and (column.type, column.collation) != (has[column.name].type, has[column.name].collation)
    ]


def _kind_of(table: StageTable, shape: Shape, bounds: SliceBounds) -> str:
    kinds = {column.name: column.type for column in shape.columns}
    if bounds.column not in kinds:
        raise UnsupportedDataError(
            f"Slice `{table}` has no column `{bounds.column}`, which says what belongs to which "
            f"slice; it has {', '.join(f'`{name}`' for name in kinds)}. Return that column, or "
            'name another one: metadata={"partition_expr": "column"}.'
        )
    if not bounds.cuts(kinds[bounds.column]):
        raise UnsupportedDataError(
            f"Slice `{table}`: column `{bounds.column}` is of type {kinds[bounds.column]}, which "
            "does not tell slices of less than a day apart, nor that of the hour through which "
            "clocks go twice. Return it as a timestamp, with a time zone where there are hours."
        )
    return kinds[bounds.column]


def other_cut(
    session: sa.Connection, whole: RelationName, bounds: SliceBounds, kind: str
) -> list[str]:
    """Say by what a table is cut into slices, where that is something else; nothing otherwise."""
    found = run(session, _CUT_BY.format(relation=literal(whole.quoted))).scalar()
    wanted = bounds.by(kind)
    is_other = found is not None and found.replace('"', "") != wanted.replace('"', "")
    return [f"would be cut by {wanted}, not by {found}"] if is_other else []


def check_fits(connection: sa.Connection, instance: Instance, row: CatalogRow) -> None:
    """Refuse a staged slice with other columns: readers never see a mix, nor lose other slices.

    It is on the list already, so that it is taken when the table is dropped.

    Raises:
        UnsupportedDataError: It has.
    """
    whole = committed(instance, row.table.whole)
    own = staging.relation_of(instance, row.table)
    shapes = read_shapes(connection, [whole, own])
    if whole not in shapes:
        return
    bounds, new = bounds_of(row), shapes[own]
    said = misfits(shapes[whole], new)
    said += other_cut(connection, whole, bounds, _kind_of(row.table, new, bounds))
    if not said or not has_others(connection, instance, row.table):
        return
    slices = [*catalog.slices(connection, instance.catalog_schema, row.table.whole), row]
    build = build_command(instance, slices)
    raise UnsupportedDataError(
        f"{_misfit(row.table, said)} To change them, build all slices: each fails like this one, "
        "and what is built of it is kept. Then drop the table, and run them again, which takes "
        f"what is kept; until then, readers miss the slices.\n{build}\n"
        f"{drop_command(instance, row.table.whole)}\n{build}"
    )


def _misfit(table: StageTable, said: Sequence[str]) -> str:
    return (
        f"Slice `{table}` does not fit the other slices of its table: it {'; it '.join(said)}. All "
        "slices have the same columns and key."
    )


def _adopted(
    session: sa.Connection, own: RelationName, columns: Sequence[ShapeColumn], row: CatalogRow
) -> CatalogRow:
    """Give a slice without rows the types of its table."""
    actions = ", ".join(
        f"ALTER COLUMN {quoted(c.name)} TYPE {c.type} USING NULL::{c.type}" for c in columns
    )
    with transaction(session):
        run(session, f"ALTER TABLE {own.quoted} {actions}")
    state = read_states(session, [own])[own] or {}
    return replace(row, relation=remembered(state, writer=row.relation.get("writer")))


def _check_rows(
    session: sa.Connection,
    table: StageTable,
    own: RelationName,
    bounds: SliceBounds,
    kind: str,
) -> None:
    column = quoted(bounds.column)
    where = f"FROM {own.quoted} WHERE ({bounds.condition(kind)}) IS NOT TRUE"
    try:
        count = run(session, f"SELECT count(*) {where}").scalar_one()
    except sa.exc.DataError as error:
        raise UnsupportedDataError(
            f"Slice `{table}`: {bounds.key!r} is no value of column `{bounds.column}` ({kind}): "
            f"{error.orig}"
        ) from None
    if not count:
        return
    query = f"SELECT DISTINCT coalesce({column}::text, 'NULL') {where} LIMIT {_SHOWN_ROWS}"
    examples = ", ".join(value for (value,) in run(session, query))
    raise UnsupportedDataError(
        f"Slice `{table}` has {count:,} row(s) that belong to another one: `{bounds.column}` is "
        f"{examples}, but is to be {_described(bounds, kind)}. Return rows of the slice only."
    )


def _described(bounds: SliceBounds, kind: str) -> str:
    if bounds.by(kind).startswith("LIST"):
        return repr(bounds.key)
    return f"from {bounds.start} and before {bounds.end}"
