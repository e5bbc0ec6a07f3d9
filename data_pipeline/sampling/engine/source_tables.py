"""The tables that a sample is taken from: their rows, with places and with what they refer to."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import CITEXT

from data_pipeline.database.row_security import is_refusal
from data_pipeline.errors import ConfigurationError
from data_pipeline.sampling.plan.hubs_and_thresholds import listed
from data_pipeline.sampling.plan.schema_graph import Relationship, SchemaGraph, type_kind

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
_WHERE = "data_pipeline where"


@dataclass(frozen=True)
class SourceTable:
    """One table of the source.

    Attributes:
        name: Its name as an input table.
        table: The relation, with its columns and their types.
        key: The columns that identify a row: the primary key, or all columns.
        conditions: The conditions of those of its relationships that have one, by number.
        restriction: The conditions of rows (alias `s`) that can be drawn; None: all can.
        where: That of them which the user wrote, on the columns of the table.
    """

    name: str
    table: sa.Table
    key: tuple[str, ...]
    conditions: Mapping[int, str]
    restriction: Callable[[sa.FromClause], Sequence[sa.ColumnElement[bool]]] | None = None
    where: str | None = None

    def rows(self, alias: str, flags: Mapping[str, str] | None = None) -> sa.Subquery:
        """Return the rows of its population with their places, and whether conditions hold.

        Args:
            alias: The name of the result.
            flags: Further conditions, by the names of the columns that say whether they hold.
        """
        held = (is_true(text).label(name) for name, text in (flags or {}).items())
        return self._rows(self.within).add_columns(*held).subquery(alias)

    def all_rows(self, alias: str) -> sa.Subquery:
        """Return the same for all rows: chosen ones may refer to any."""
        return self._rows().subquery(alias)

    def within(self, rows: sa.FromClause) -> Sequence[sa.ColumnElement[bool]]:
        """Return the conditions of rows (alias `s`) of its population."""
        return () if self.restriction is None else self.restriction(rows)

    def meets_where(self, rows: sa.FromClause) -> list[sa.ColumnElement[bool]]:
        """Return the condition that the user wrote of rows that can be drawn, if there is any."""
        return [] if self.where is None else [rows.c[_WHERE]]

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

    def rows_of(self, item: Relationship, parents: sa.FromClause, alias: str) -> sa.Subquery:
        """Return the rows that refer to some rows, which are few: each of these looks for its own.

        The planner, which expects more of them, would read the whole table.
        """
        same = zip(item.columns, item.referenced_columns, strict=True)
        rows = self._rows().subquery("s")
        own = sa.select(rows).where(*(rows.c[one] == parents.c[other] for one, other in same))
        found = own.correlate(parents).offset(sa.literal_column("0", sa.Integer)).lateral("found")
        return sa.select(*found.c).select_from(parents.join(found, sa.true())).subquery(alias)

    def _rows(
        self, within: Callable[[sa.FromClause], Sequence[sa.ColumnElement[bool]]] = lambda _: ()
    ) -> sa.Select[Any]:
        conditions = [
            is_true(text).label(_condition(number)) for number, text in self.conditions.items()
        ]
        if self.where is not None:
            conditions.append(is_true(self.where).label(_WHERE))
        rows = self.table.alias("s")
        return sa.select(_PLACE.label(TID), *rows.c, *conditions).where(*within(rows))

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


@contextmanager
def naming_failures(
    connection: sa.Connection, conditions: Iterable[tuple[str, sa.Table, str]]
) -> Iterator[None]:
    """Turn the error of a condition that fails on a row into one that names it.

    Args:
        connection: A transaction.
        conditions: What each is called in a message, its table, and its text.

    Raises:
        ConfigurationError: One of them fails.
    """
    conditions = list(conditions)
    if not conditions:
        yield
        return
    try:
        with connection.begin_nested():
            yield
    except sa.exc.DataError:
        for what, table, text in conditions:
            if reason := failure(connection, table, text):
                raise ConfigurationError(
                    f"{what}, {text!r}, fails on a row of the source: {reason}\nWrite it such that "
                    "it holds for such rows or not, with CASE for example."
                ) from None
        raise


def failure(connection: sa.Connection, table: sa.Table, text: str) -> str | None:
    """Say why a condition fails on a row; None where it does not."""
    query: sa.Select[Any] = sa.select(sa.func.count()).select_from(table.alias("s"))
    try:
        with connection.begin_nested():
            connection.execute(query.where(is_true(text)))
    except sa.exc.DataError as error:
        return str(error.orig).strip()
    return None


def source_tables(
    connection: sa.Connection,
    graph: SchemaGraph,
    tables: Mapping[str, sa.Table],
    restrictions: Mapping[str, Callable[[sa.FromClause], Sequence[sa.ColumnElement[bool]]] | None],
    where: Mapping[str, str],
) -> dict[str, SourceTable]:
    """Return the source tables of a stage.

    Args:
        connection: To the source.
        graph: The schema.
        tables: The relations, by the names of the input tables.
        restrictions: The conditions of their populations.
        where: What the user wrote of these.

    Raises:
        ConfigurationError: A relationship has a column that does not exist, columns of types
            that are not compared, or a condition that PostgreSQL does not understand.
    """
    for item in graph.relationships:
        _check(connection, item, tables)
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
            restrictions[name],
            where.get(name),
        )
        for name, table in tables.items()
    }


def _are_compared(connection: sa.Connection, own: sa.Column[Any], other: sa.Column[Any]) -> bool:
    """Whether PostgreSQL compares values of two types, such as of integer and numeric."""
    one, two = (sa.cast(sa.null(), column.type) for column in (own, other))
    try:
        with connection.begin_nested():
            connection.execute(sa.select(one == two))
    except sa.exc.ProgrammingError:
        return False
    return True


def hash_alike(item: Relationship, child: sa.Table, parent: sa.Table) -> bool:
    """Whether references hash as what they refer to, so that no row has to be looked up."""
    pairs = zip(item.columns, item.referenced_columns, strict=True)
    types = [(child.c[a].type, parent.c[b].type) for a, b in pairs]
    if any(isinstance(one, CITEXT) for pair in types for one in pair):
        return False  # equal values may be spelled in two ways
    return all(type_kind(own) == type_kind(other) for own, other in types)


def _condition(number: int) -> str:
    return f"data_pipeline refers {number}"


def _check(connection: sa.Connection, item: Relationship, tables: Mapping[str, sa.Table]) -> None:
    child, parent = tables[item.child], tables[item.parent]
    for table, name, names in (
        (child, item.child, item.columns),
        (parent, item.parent, item.referenced_columns),
    ):
        for column in names:
            if column not in table.c:
                raise ConfigurationError(
                    f"The relationship {item} names the column `{column}`, which `{name}` does not "
                    f"have. Its columns are {listed(table.c.keys())}. Correct the ForeignKey."
                )
    for own, other in zip(item.columns, item.referenced_columns, strict=True):
        kinds = type_kind(child.c[own].type), type_kind(parent.c[other].type)
        if kinds[0] != kinds[1] and not _are_compared(connection, child.c[own], parent.c[other]):
            raise ConfigurationError(
                f"The relationship {item} cannot be followed: `{item.child}.{own}` is of type "
                f"{kinds[0]}, but `{item.parent}.{other}` is of type {kinds[1]}. Declare `types` "
                "such that both raw tables have the same, or correct the ForeignKey."
            )
