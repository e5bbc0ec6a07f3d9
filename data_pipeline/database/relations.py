"""What a relation is, if it is there."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import sqlalchemy as sa

from data_pipeline.database.connection import run
from data_pipeline.database.identifiers import RelationName, literal
from data_pipeline.database.sql_text import stored_query

_SHAPES = stored_query(__file__, "relations_shapes")


@dataclass(frozen=True)
class ShapeColumn:
    """A column, as far as rows of one table may go into another one."""

    name: str
    type: str
    collation: int
    is_not_null: bool
    is_generated: bool


@dataclass(frozen=True)
class Shape:
    """What a table is, besides its rows.

    Attributes:
        kind: As in pg_class.
        persistence: The same.
        columns: In their order.
        constraint: The name of its primary key.
        key: The columns of that.
        has_comparable_key: Whether PostgreSQL's own operators compare it.
        has_other_unique: Whether rows exclude each other by more than the primary key.
        is_referenced: Whether foreign keys refer to it.
    """

    kind: str
    persistence: str
    columns: tuple[ShapeColumn, ...]
    constraint: str | None
    key: tuple[str, ...]
    has_comparable_key: bool
    has_other_unique: bool
    is_referenced: bool

    @property
    def names(self) -> tuple[str, ...]:
        """The names of its columns."""
        return tuple(column.name for column in self.columns)

    def misfit(self, new: "Shape") -> tuple[str | None, str] | None:
        """Return why rows of another table do not go into this one; None if they do.

        Returns:
            The column at fault, where it is one, and the reason.
        """
        if (self.kind, new.kind) != ("r", "r"):
            return None, "it was, or becomes, another kind of relation than a table"
        return self._misfit(new)

    def misfit_of_view(self, new: "Shape") -> tuple[str | None, str]:
        """Return why a view cannot get the columns of another one; they may only be more."""
        known = replace(new, columns=new.columns[: len(self.columns)])
        return self._misfit(known) or (None, "its columns change")

    def _misfit(self, new: "Shape") -> tuple[str | None, str] | None:
        old = {column.name: column for column in self.columns}
        for column in new.columns:
            known = old.pop(column.name, None)
            if known is None:
                return column.name, f"column {column.name} is new"
            if known.is_generated:
                return column.name, f"column {column.name} is generated"
            if known.type != column.type:
                return column.name, (
                    f"column {column.name} is of type {column.type}, no longer {known.type}"
                )
            if known.collation != column.collation:
                return column.name, f"column {column.name} has another collation"
        for name in old:
            return name, f"column {name} is gone"
        if self.names != new.names:
            moved = next(new for old, new in zip(self.names, new.names, strict=True) if old != new)
            return moved, f"column {moved} has another place among the columns"
        return None


def read_shapes(
    connection: sa.Connection, relations: Sequence[RelationName]
) -> dict[RelationName, Shape]:
    """Return the shapes of those relations that exist."""
    names = {relation.quoted: relation for relation in relations}
    if not names:
        return {}
    query = _SHAPES.format(names=", ".join(map(literal, names)))
    found = {}
    for name, kind, persistence, columns, constraint, key, *flags in run(connection, query):
        shape = (tuple(ShapeColumn(*column) for column in columns or ()), constraint, tuple(key))
        found[names[name]] = Shape(kind, persistence, *shape, *flags)
    return found


_KIND = sa.text("SELECT relkind::text FROM pg_class WHERE oid = to_regclass(:relation)")


def relation_kind(connection: sa.Connection, relation: RelationName) -> str | None:
    """Return TABLE, VIEW or MATERIALIZED VIEW for a relation, None where there is none."""
    kind = connection.scalar(_KIND, {"relation": relation.quoted})
    if kind is None:
        return None
    return {"v": "VIEW", "m": "MATERIALIZED VIEW"}.get(kind, "TABLE")
