"""Slices within a commit: each becomes a partition of its table, in place of the one before.

Readers of the table wait for a moment, as with one that is replaced as a whole. The table itself
stays, with grants, views and all else on it.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from data_pipeline.database.connection import run
from data_pipeline.database.identifiers import RelationName, StageTable, literal, quoted
from data_pipeline.database.relations import Shape, read_shapes
from data_pipeline.errors import DatabaseError
from data_pipeline.instances import Instance
from data_pipeline.results.build import descriptions
from data_pipeline.results.slice_rows import WITHIN, check_fits, misfits, other_cut
from data_pipeline.store import catalog, staging
from data_pipeline.store.catalog import CatalogRow
from data_pipeline.store.lookup import committed
from data_pipeline.store.sliced_tables import attached, bounds_of, drop_command, refresh_whole
from data_pipeline.store.table_properties import key_name, key_statement

_MISSING_CHECKS = """
SELECT format('ADD CONSTRAINT %I %s', conname, pg_get_constraintdef(oid)) FROM pg_constraint k
WHERE conrelid = {whole}::regclass AND contype = 'c' AND NOT EXISTS (
    SELECT FROM pg_constraint o WHERE o.conrelid = {part}::regclass AND o.conname = k.conname
)
UNION ALL
SELECT format('ALTER COLUMN %I SET NOT NULL', attname) FROM pg_attribute w
WHERE attrelid = {whole}::regclass AND attnum > 0 AND attnotnull AND EXISTS (
    SELECT FROM pg_attribute o
    WHERE o.attrelid = {part}::regclass AND o.attname = w.attname AND NOT o.attnotnull
)
"""


@dataclass(frozen=True)
class SliceSwap:
    """What a commit does to tables of which it replaces slices.

    Attributes:
        slices: The rows of the staged slices, by their tables.
        former: The tables that had slices, and are replaced by such as have none.
    """

    slices: Mapping[StageTable, Sequence[CatalogRow]]
    former: Sequence[StageTable]

    def begin(self, connection: sa.Connection, instance: Instance) -> None:
        """Keep the tables from being read while slices of them are replaced.

        Raises:
            DatabaseError: A relation of another kind has the name of one; or a table with slices is
                to be replaced by one without.
            UnsupportedDataError: A slice has other columns than the others.
        """
        for table in self.former:
            if attached(connection, relation := committed(instance, table)):
                raise _in_the_way(instance, table, relation, "no slices any more", "has some")
        for whole, rows in self.slices.items():
            relation = committed(instance, whole)
            shapes = _shapes(connection, instance, whole, rows)
            if (found := shapes.get(relation)) is None:
                continue
            if found.kind != "p":
                raise _in_the_way(instance, whole, relation, "slices now", "is a relation without")
            for row in rows:
                check_fits(connection, instance, row)
            run(connection, f"LOCK TABLE ONLY {relation.quoted} IN ACCESS EXCLUSIVE MODE")

    def attach(self, connection: sa.Connection, instance: Instance) -> None:
        """Make the slices, which are in their stage now, partitions of their tables."""
        for whole, rows in self.slices.items():
            relation = committed(instance, whole)
            names = [committed(instance, row.table) for row in rows]
            shapes = read_shapes(connection, [relation, *names])
            self._make_fit(connection, instance, relation, rows[0], shapes)
            there = attached(connection, relation)
            for row, name in zip(rows, names, strict=True):
                if name.name in there:  # it has got other rows, in place
                    continue
                _add_checks(connection, relation, name)
                kind = _kind(shapes[name], row)
                run(
                    connection,
                    f"ALTER TABLE {relation.quoted} ATTACH PARTITION {name.quoted} "
                    f"{bounds_of(row).values(kind)}",
                )
                run(
                    connection,
                    f"ALTER TABLE {name.quoted} DROP CONSTRAINT {quoted(WITHIN)}",
                )
            described = dict(rows[0].declared.columns)
            for statement in descriptions(relation, described):
                run(connection, statement)

    def _make_fit(
        self,
        connection: sa.Connection,
        instance: Instance,
        relation: RelationName,
        row: CatalogRow,
        shapes: Mapping[RelationName, Shape],
    ) -> None:
        """Create a table for a first slice, or give it other columns while others have no rows."""
        old, new = shapes.get(relation), shapes[committed(instance, row.table)]
        if old is None:
            _create(connection, relation, row, new)
            return
        said = misfits(old, new)
        is_cut = other_cut(connection, relation, bounds_of(row), _kind(new, row))
        if not (said or is_cut):
            return
        if is_cut:
            run(connection, f"DROP TABLE {relation.quoted}")
            _create(connection, relation, row, new)
        else:
            _adapt(connection, relation, old, new)

    def describe(
        self, connection: sa.Connection, instance: Instance, run_id: str
    ) -> list[CatalogRow]:
        """Let the catalog say of the tables what follows from their slices; return their rows."""
        for table in self.former:
            old = catalog.slices(connection, instance.catalog_schema, table)
            catalog.forget(connection, instance.catalog_schema, [row.table for row in old])
        found = (refresh_whole(connection, instance, whole, run_id) for whole in self.slices)
        return [row for row in found if row is not None]


def swap_of(rows: Sequence[CatalogRow], earlier: Mapping[StageTable, CatalogRow]) -> SliceSwap:
    """Return what is to be done for those of the rows of a commit that are slices.

    Args:
        rows: What is committed.
        earlier: What the catalog says of what that replaces.
    """
    found: defaultdict[StageTable, list[CatalogRow]] = defaultdict(list)
    for row in rows:
        if row.slice and row.is_relation:
            found[row.table.whole].append(row)
    former = [
        row.table
        for row in rows
        if (before := earlier.get(row.table)) is not None and before.kind == "sliced"
    ]
    return SliceSwap(dict(found), former)


def _shapes(
    connection: sa.Connection, instance: Instance, whole: StageTable, rows: Sequence[CatalogRow]
) -> dict[RelationName, Shape]:
    staged = [staging.relation_of(instance, row.table) for row in rows]
    return read_shapes(connection, [committed(instance, whole), *staged])


def _kind(shape: Shape, row: CatalogRow) -> str:
    column = bounds_of(row).column
    return next(item.type for item in shape.columns if item.name == column)


def _create(
    connection: sa.Connection, relation: RelationName, row: CatalogRow, shape: Shape
) -> None:
    """Create the table of a first slice; of its columns, only those of the key are NOT NULL."""
    one = RelationName(relation.schema, row.name)
    cut = bounds_of(row).by(_kind(shape, row))
    run(connection, f"CREATE TABLE {relation.quoted} (LIKE {one.quoted}) PARTITION BY {cut}")
    if free := [c.name for c in shape.columns if c.is_not_null and c.name not in shape.key]:
        actions = ", ".join(f"ALTER COLUMN {quoted(name)} DROP NOT NULL" for name in free)
        run(connection, f"ALTER TABLE {relation.quoted} {actions}")
    _add_key(connection, relation, shape)


def _add_key(connection: sa.Connection, relation: RelationName, shape: Shape) -> None:
    if shape.key:
        run(connection, key_statement(relation, key_name(relation.name), shape.key))


def _add_checks(connection: sa.Connection, relation: RelationName, name: RelationName) -> None:
    """Give a slice what users forbid in its table by checks or NOT NULL: it is to have the same."""
    query = _MISSING_CHECKS.format(whole=literal(relation.quoted), part=literal(name.quoted))
    for (action,) in run(connection, query).all():
        run(connection, f"ALTER TABLE {name.quoted} {action}")


def _adapt(connection: sa.Connection, relation: RelationName, old: Shape, new: Shape) -> None:
    """Give a table whose other slices have no rows other columns; these are built again."""
    for name in sorted(attached(connection, relation)):
        run(connection, f"DROP TABLE {RelationName(relation.schema, name).quoted}")
    had = {column.name: column for column in old.columns}
    has = {column.name: column for column in new.columns}
    actions = [f"DROP CONSTRAINT {quoted(old.constraint)}"] if old.constraint else []
    actions += [f"DROP COLUMN {quoted(name)}" for name in had if name not in has]
    actions += [
        f"ADD COLUMN {quoted(name)} {column.type}"
        for name, column in has.items()
        if name not in had
    ]
    actions += [
        f"ALTER COLUMN {quoted(name)} TYPE {column.type} USING NULL::{column.type}"
        for name, column in has.items()
        if name in had and had[name].type != column.type
    ]
    if actions:
        run(connection, f"ALTER TABLE {relation.quoted} {', '.join(actions)}")
    _add_key(connection, relation, new)


def _in_the_way(
    instance: Instance, whole: StageTable, relation: RelationName, now: str, there: str
) -> DatabaseError:
    return DatabaseError(
        f"Table `{whole}` of instance `{instance.name}` has {now}, and {relation} {there}. Nothing "
        "was committed of its stage, which has its earlier content as a whole. Drop that, then run "
        f"again: {drop_command(instance, whole)}"
    )
