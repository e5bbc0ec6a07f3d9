"""A table of a sample beside the table that it was taken from, as parts of a SELECT."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from data_pipeline.sampling.in_database.source_tables import is_true
from data_pipeline.sampling.key_hash import key_hash_sql
from data_pipeline.sampling.schema_graph import Relationship
from data_pipeline.sampling.weights import ROW_HASH

ROLE = "data_pipeline role"
PROBABILITY = "data_pipeline probability"
UNIT = "data_pipeline unit"
WEIGHT = "data_pipeline weight"
"""Columns of the rows of a sample, besides their own."""


@dataclass(frozen=True)
class Compared:
    """One input table.

    Attributes:
        name: Its name.
        source: The table that its rows come from.
        sample: Its rows.
        roles: Their roles and probabilities by key.
        conditions: The conditions of those of its relationships that have one, by number.
    """

    name: str
    source: sa.Table
    sample: sa.Table
    roles: sa.Table
    conditions: Mapping[int, str] = field(default_factory=dict)

    @property
    def key(self) -> tuple[str, ...]:
        """The primary key; empty where there is none."""
        return tuple(column.name for column in self.sample.primary_key)

    def source_rows(self, alias: str) -> sa.Subquery:
        """Gives the rows of the source, with whether conditions of relationships hold."""
        rows = self.source.alias("s")
        return sa.select(*rows.c, *self._conditions()).subquery(alias)

    def sample_rows(self, alias: str) -> sa.Subquery:
        """Gives the same for the rows of the sample."""
        rows = self.sample.alias("s")
        return sa.select(*rows.c, *self._conditions()).subquery(alias)

    def weighted_rows(self, alias: str) -> sa.Subquery:
        """Gives the rows of the sample with role, probability, unit and weight.

        The weight of rows without a probability is 0.
        """
        rows, roles = self.sample_rows("data"), self.roles.alias("roles")
        pairs: list[tuple[sa.ColumnElement[Any], sa.ColumnElement[Any]]]
        if self.key:
            pairs = [(rows.c[name], roles.c[name]) for name in self.key]
        else:
            columns = [rows.c[column.name] for column in self.sample.columns]
            pairs = [(key_hash_sql(columns, 0), roles.c[ROW_HASH])]
        weight = sa.func.coalesce(1.0 / roles.c.probability, sa.literal_column("0.0", sa.Double))
        return (
            sa.select(
                rows,
                roles.c.role.label(ROLE),
                roles.c.probability.label(PROBABILITY),
                roles.c.unit.label(UNIT),
                sa.cast(weight, sa.Double).label(WEIGHT),
            )
            .select_from(rows.join(roles, sa.and_(*(one == other for one, other in pairs))))
            .subquery(alias)
        )

    def _conditions(self) -> list[sa.Label[bool]]:
        return [is_true(text).label(_condition(n)) for n, text in self.conditions.items()]


def refers(item: Relationship, child: sa.FromClause) -> sa.ColumnElement[bool]:
    """Gives the condition that a row of the child refers to something at all."""
    parts: list[sa.ColumnElement[bool]] = [child.c[name].is_not(None) for name in item.columns]
    if item.where is not None:
        parts.append(child.c[_condition(item.number)])
    return sa.and_(*parts)


def referred_values(item: Relationship, parent: sa.FromClause, alias: str) -> sa.Subquery:
    """Gives the values that can be referred to, each once, as columns `k0`, `k1`, ..."""
    columns = [parent.c[name] for name in item.referenced_columns]
    query = sa.select(*(column.label(f"k{i}") for i, column in enumerate(columns)))
    if not item.refers_to_key:
        query = query.where(sa.and_(*(column.is_not(None) for column in columns))).distinct()
    return query.subquery(alias)


def is_value(
    item: Relationship, child: sa.FromClause, values: sa.FromClause
) -> sa.ColumnElement[bool]:
    """Gives the condition that a row of the child refers to one of the values."""
    pairs = [child.c[name] == values.c[f"k{i}"] for i, name in enumerate(item.columns)]
    return sa.and_(refers(item, child), *pairs)


def number_of(value: Any) -> float:
    """Gives a number of a query, 0 for NULL."""
    return 0.0 if value is None else float(value)


def _condition(number: int) -> str:
    return f"data_pipeline refers {number}"
