"""The population of a table: the rows that `where` leaves of it, and of what is drawn with them.

Only these are drawn, weighted, and looked at for what a sample must show. Others may still come,
where a chosen row refers to them.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from data_pipeline.database.connection import run
from data_pipeline.database.identifiers import RelationName
from data_pipeline.errors import ConfigurationError
from data_pipeline.sampling.engine.source_tables import is_true, naming_failures, refused
from data_pipeline.sampling.engine.workspace import Workspace
from data_pipeline.sampling.plan.hubs_and_thresholds import listed
from data_pipeline.sampling.plan.sample_plan import SamplePlan
from data_pipeline.sampling.plan.schema_graph import Relationship

Restriction = Callable[[sa.FromClause], Sequence[sa.ColumnElement[bool]]]
"""The conditions of rows of a population; the rows must have the alias `s`."""


@dataclass(frozen=True)
class Populations:
    """The populations of the tables of a stage.

    Attributes:
        plan: What is said of them.
        tables: Their relations, all rows.
    """

    plan: SamplePlan
    tables: Mapping[str, sa.Table]

    def is_restricted(self, table: str) -> bool:
        """Whether rows of a table may be outside: by a condition, or with what they belong to."""
        return table in self.plan.where or self._restricted_owner(table) is not None

    def restriction(self, table: str) -> Restriction | None:
        """Return the conditions of the rows of a table; None where it has all rows."""
        if not self.is_restricted(table):
            return None
        return lambda rows: list(self._conditions(table, rows))

    def _conditions(self, table: str, rows: sa.FromClause) -> Iterator[sa.ColumnElement[bool]]:
        if (text := self.plan.where.get(table)) is not None:
            yield is_true(text)
        if (owner := self._restricted_owner(table)) is not None:
            yield ~self._belongs_outside(owner, rows)

    def _restricted_owner(self, table: str) -> Relationship | None:
        owner = self.plan.tables[table].owner
        return owner if owner and self.is_restricted(owner.parent) else None

    def _belongs_outside(self, item: Relationship, child: sa.FromClause) -> sa.ColumnElement[bool]:
        """Return the condition that a row belongs to one outside of the population.

        What belongs to no row, since its reference is NULL or dangles, is inside.
        """
        outside = self._values_outside(item).subquery("outside")
        same = [outside.c[_value(i)] == child.c[name] for i, name in enumerate(item.columns)]
        condition = [] if item.where is None else [is_true(item.where)]
        return sa.exists().select_from(outside).where(*same, *condition)

    def _values_outside(self, item: Relationship) -> sa.CompoundSelect[Any] | sa.Select[Any]:
        """Return the values that can be referred to of rows outside of the parent's population."""
        rows = self.tables[item.parent].alias("s")
        columns = [rows.c[n].label(_value(i)) for i, n in enumerate(item.referenced_columns)]
        values = sa.select(*columns)
        parts = []
        if (text := self.plan.where.get(item.parent)) is not None:
            parts.append(values.where(~is_true(text)))
        if (owner := self._restricted_owner(item.parent)) is not None:
            parts.append(values.where(self._belongs_outside(owner, rows)))
        outside = parts[0] if len(parts) == 1 else sa.union_all(*parts)
        if item.refers_to_key:
            return outside
        # Of several rows with a value, one inside is enough.
        inside = values.where(*self._conditions(item.parent, rows))
        return sa.except_(sa.select(outside.subquery("some")), inside)


def _value(number: int) -> str:
    # No column of the user has this name, which a condition of a relationship could then mean.
    return f"data_pipeline value {number}"


def check_where(
    connection: sa.Connection, plan: SamplePlan, tables: Mapping[str, sa.Table]
) -> None:
    """Check the conditions of populations.

    Raises:
        ConfigurationError: PostgreSQL does not understand one.
    """
    for name, text in plan.where.items():
        if reason := refused(connection, tables[name], text):
            raise ConfigurationError(
                f"sample.where: PostgreSQL does not understand the condition of "
                f"`{plan.graph.stage}/{name}`, {text!r}: {reason}\nWrite an SQL condition on its "
                f"columns, which are {listed(tables[name].c.keys())}."
            )


def changing(
    space: Workspace, plan: SamplePlan, tables: Mapping[str, sa.Table]
) -> dict[str, list[str]]:
    """Return what users wrote as SQL that depends on more than a row, such as the time, by table.

    PostgreSQL says so, which makes indexes of immutable expressions alone.
    """
    found: dict[str, list[str]] = {}
    for name, table in tables.items():
        conditions = (item.where for item in plan.graph.of_child(name))
        texts = [plan.where.get(name), *plan.predicates.get(name, {}).values(), *conditions]
        masks = plan.masks.get(name, {}).values()
        every = list(dict.fromkeys(text for text in (*texts, *masks) if text is not None))
        if every and (mutable := _mutable(space, table, every)):
            found[name] = mutable
    return found


def _mutable(space: Workspace, table: sa.Table, texts: Sequence[str]) -> list[str]:
    with space.connection.begin_nested() as trial:
        empty, _ = space.create(sa.select(*table.c).limit(0), "changing", analyzed=False)
        relation = RelationName(space.schema, empty.name)
        found = [text for text in texts if not _is_immutable(space.connection, relation, text)]
        trial.rollback()
    return found


def _is_immutable(connection: sa.Connection, relation: RelationName, text: str) -> bool:
    try:
        with connection.begin_nested():
            run(connection, f"CREATE INDEX ON {relation.quoted} ((({text}\n) IS NULL))")
    except (sa.exc.ProgrammingError, sa.exc.NotSupportedError):
        return False
    return True


def naming_where(
    connection: sa.Connection, plan: SamplePlan, tables: Mapping[str, sa.Table]
) -> AbstractContextManager[None]:
    """Name a condition that fails on a row in the error of the block."""
    return naming_failures(
        connection,
        (
            (f"sample.where: the condition of `{plan.graph.stage}/{name}`", tables[name], text)
            for name, text in plan.where.items()
        ),
    )
