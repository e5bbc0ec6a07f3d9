"""The tables that a sample is taken from: their rows, with places and with what they refer to."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from data_pipeline.database.row_security import is_refusal
from data_pipeline.errors import ConfigurationError
from data_pipeline.sampling.plan.rules import (
    check_relationship_columns,
    check_relationship_types,
    listed,
)
from data_pipeline.sampling.plan.schema_graph import Relationship, SchemaGraph, family

TID = "data_pipeline_place"
"""The column with the place of a row (its `ctid`), which identifies it during a selection."""


class Tid(sa.types.UserDefinedType[Any]):
    """PostgreSQL's type of the place of a row."""

    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        """Return its name."""
        return "tid"


_PLACE = sa.literal_column("s.ctid", Tid())
_PIECE = 1_000_000


@dataclass(frozen=True)
class SourceTable:
    """One table of the source.

    Attributes:
        name: Its name as an input table.
        table: The relation, with its columns and their types.
        key: The columns that identify a row: the primary key, or all columns.
        conditions: The conditions of those of its relationships that have one, by number.
    """

    name: str
    table: sa.Table
    key: tuple[str, ...]
    conditions: Mapping[int, str]

    def rows(self, alias: str) -> sa.Subquery:
        """Return its rows with their places, and whether conditions of relationships hold."""
        return self._rows().subquery(alias)

    def rows_at(self, places: sa.FromClause, alias: str) -> sa.Subquery:
        """Return the rows at some places, which are all different.

        They are fetched by their places in large pieces, in the order in which they lie in the
        table. A join with the places would read the whole table for them.
        """
        place = places.c[TID]
        number = sa.func.row_number().over(order_by=place)
        numbered = sa.select(place, (number // _PIECE).label("piece")).subquery("numbered")
        together = sa.func.array_agg(numbered.c[TID], type_=sa.ARRAY(Tid())).label("places")
        piece = sa.select(together).group_by(numbered.c.piece).subquery("piece")
        there = self._rows().where(sa.any_(piece.c.places) == _PLACE)
        # The planner would turn it into a join without OFFSET.
        found = there.offset(sa.literal_column("0", sa.Integer)).lateral("found")
        return sa.select(*found.c).select_from(piece.join(found, sa.true())).subquery(alias)

    def _rows(self) -> sa.Select[Any]:
        conditions = [
            is_true(text).label(_condition(number)) for number, text in self.conditions.items()
        ]
        return sa.select(_PLACE.label(TID), *self.table.alias("s").c, *conditions)

    def key_of(self, rows: sa.FromClause) -> list[sa.ColumnElement[Any]]:
        """Return the columns that identify a row."""
        return [rows.c[name] for name in self.key]


def refers(item: Relationship, child: sa.FromClause) -> sa.ColumnElement[bool]:
    """Return the condition that a row of the child refers to something at all."""
    parts: list[sa.ColumnElement[bool]] = [child.c[name].is_not(None) for name in item.columns]
    if item.where is not None:
        parts.append(child.c[_condition(item.number)])
    return sa.and_(*parts)


def values_referred_to(item: Relationship, child: sa.FromClause) -> list[sa.Label[Any]]:
    """Return what rows of the child refer to, in the order of the referring columns.

    Where the relationship has a condition, it is NULL unless that holds.
    """
    columns: list[sa.ColumnElement[Any]] = [child.c[name] for name in item.columns]
    if item.where is not None:
        holds = child.c[_condition(item.number)]
        columns = [sa.case((holds, column)) for column in columns]
    return [column.label(name_of_value(item, i)) for i, column in enumerate(columns)]


def name_of_value(item: Relationship, number: int) -> str:
    """Name the column of a working table that holds what rows refer to."""
    return f"refers_{item.number}_{number}"


def matches(
    item: Relationship, child: sa.FromClause, parent: sa.FromClause
) -> sa.ColumnElement[bool]:
    """Return the condition that a row of the child refers to a row of the parent."""
    pairs = zip(item.columns, item.referenced_columns, strict=True)
    parts = [child.c[own] == parent.c[other] for own, other in pairs]
    if item.where is not None:
        parts.append(child.c[_condition(item.number)])
    return sa.and_(*parts)


def is_true(text: str) -> sa.ColumnElement[bool]:
    """Return a condition on the columns of a table that a user wrote, false where it is NULL.

    It may end with a comment, which ends with the line.
    """
    return sa.literal_column(f"(({text}\n) IS TRUE)", sa.Boolean)


def refused(connection: sa.Connection, table: sa.Table, text: str) -> str | None:
    """Say why PostgreSQL does not understand a condition on the columns of a table.

    What closes our parentheses and opens others, `true) OR (false`, is none without them.
    """
    bare = sa.literal_column(f"CASE WHEN {text}\nTHEN true END", sa.Boolean)
    query = sa.select(table.alias("s")).where(is_true(text), bare).limit(0)
    try:
        with connection.begin_nested():
            connection.execute(query)
    except sa.exc.DBAPIError as error:
        if is_refusal(error.orig):
            raise  # that has nothing to do with the condition
        return str(error.orig).strip()
    return None


def source_tables(
    connection: sa.Connection, graph: SchemaGraph, tables: Mapping[str, sa.Table]
) -> dict[str, SourceTable]:
    """Return the source tables of a stage.

    Args:
        connection: To the source.
        graph: The schema.
        tables: The relations, by the names of the input tables.

    Raises:
        ConfigurationError: A relationship has a column that does not exist, columns of different
            types, or a condition that PostgreSQL does not understand.
    """
    for item in graph.relationships:
        _check(item, tables)
        if item.where and (reason := refused(connection, tables[item.child], item.where)):
            raise ConfigurationError(
                f"The relationship {item}: PostgreSQL does not understand the condition: {reason}\n"
                f"Write an SQL condition on columns of `{item.child}`, which are "
                f"{listed(tables[item.child].c.keys())}."
            )
    return {
        name: SourceTable(
            name,
            table,
            graph.keys[name] or tuple(column.name for column in table.columns),
            {r.number: r.where for r in graph.of_child(name) if r.where is not None},
        )
        for name, table in tables.items()
    }


def _condition(number: int) -> str:
    return f"data_pipeline refers {number}"


def _check(item: Relationship, tables: Mapping[str, sa.Table]) -> None:
    check_relationship_columns(item, {name: table.c.keys() for name, table in tables.items()})
    child, parent = tables[item.child], tables[item.parent]
    for own, other in zip(item.columns, item.referenced_columns, strict=True):
        kinds = family(child.c[own].type), family(parent.c[other].type)
        check_relationship_types(item, (own, other), kinds)
