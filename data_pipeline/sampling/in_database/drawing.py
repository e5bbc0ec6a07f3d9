"""The state of a selection: its tables, and what has been found out and chosen so far."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import distinct_on

from data_pipeline.sampling.in_database.source_tables import TID, SourceTable, Tid
from data_pipeline.sampling.in_database.workspace import Workspace, work_table
from data_pipeline.sampling.key_hash import check_hashable
from data_pipeline.sampling.rules import Cut, Role
from data_pipeline.sampling.sample_plan import Part, SamplePlan, TablePlan
from data_pipeline.sampling.schema_graph import Relationship
from data_pipeline.tables.names import RelationName


@dataclass
class Drawing:
    """A selection that is being made.

    Attributes:
        plan: What is to be selected.
        sources: The tables of the source.
        space: The working tables.
        whole: The tables that come whole.
        rows: The chosen rows of the others: place (column `TID`), role, probability, unit, reason,
            and how many units were drawn with it (`sample_size`; NULL: it was drawn for itself).
            Of the drawn ones also the values that they refer to, unless they came with them.
        cuts: Which rows of each root are sampled.
        hubs: The hubs of each root that has any: place, key columns `k0`, `k1`, ..., and for each
            relationship that makes it one `thinned_<number>`.
        fan_outs: By relationship, how many values are referred to, by the number of references.
        references: By relationship, each value that is referred to (`k0`, `k1`, ..., in the order
            of the relationship's columns) and the number of references `n`.
        representatives: By relationship that refers to no key, one parent row of each value.
        left_out: Columns with too many values for a witness of each, with the number at least.
    """

    plan: SamplePlan
    sources: Mapping[str, SourceTable]
    space: Workspace
    whole: set[str] = field(default_factory=set)
    rows: dict[str, sa.TableClause] = field(default_factory=dict)
    cuts: dict[str, Cut] = field(default_factory=dict)
    hubs: dict[str, sa.TableClause] = field(default_factory=dict)
    fan_outs: dict[int, dict[int, int]] = field(default_factory=dict)
    references: dict[int, sa.TableClause] = field(default_factory=dict)
    representatives: dict[int, sa.TableClause] = field(default_factory=dict)
    left_out: dict[tuple[str, str], int] = field(default_factory=dict)

    @property
    def connection(self) -> sa.Connection:
        """The transaction of the selection."""
        return self.space.connection

    @property
    def salt(self) -> int:
        """What is added to every hash."""
        return self.plan.salt

    def plan_of(self, table: str) -> TablePlan:
        """Gives the plan of a table."""
        return self.plan.tables[table]

    def is_sampled(self, table: str) -> bool:
        """Whether rows of the table are sampled, themselves or with their root."""
        part = self.plan_of(table).part
        return not self.plan.is_minimal and part in (Part.ROOT, Part.CHILD)

    def key_of(self, table: str, rows: sa.FromClause) -> list[sa.ColumnElement[Any]]:
        """Gives the columns that a row is told and hashed by: the primary key, or all columns.

        Raises:
            ConfigurationError: One cannot be hashed.
        """
        key, graph = self.sources[table].key_of(rows), self.plan.graph
        check_hashable(f"{graph.stage}/{table}", key, has_key=bool(graph.keys[table]))
        return key

    def came_with_parent(self, item: Relationship) -> bool:
        """Whether drawn rows were chosen because of the row they refer to, which is there then."""
        owner = self.plan_of(item.child).owner
        return owner is not None and owner.number == item.number and item.refers_to_key

    def add(
        self, table: str, places: sa.FromClause, role: Role, reason: str | sa.ColumnElement[str]
    ) -> int:
        """Adds rows to the chosen ones, unless they are there; gives how many are new.

        Args:
            table: The table.
            places: Places of rows.
            role: Their role.
            reason: Why they are there, in words.
        """
        if table in self.whole:
            return 0
        chosen = self.rows[table]
        there = sa.exists().where(chosen.c[TID] == places.c[TID])
        new = (
            sa.select(
                places.c[TID],
                sa.literal(int(role)).label("role"),
                (sa.literal(reason) if isinstance(reason, str) else reason).label("reason"),
            )
            .where(~there)
            .ext(distinct_on(places.c[TID]))
        )
        return self.space.insert(chosen, new)

    def add_new(
        self, table: str, places: sa.FromClause, role: Role, reason: sa.ColumnElement[str]
    ) -> None:
        """Adds rows that are all different, and none of which is there."""
        chosen = self.rows[table]
        role_column = sa.literal(int(role)).label("role")
        self.space.insert(chosen, sa.select(places.c[TID], role_column, reason.label("reason")))
        self.space.analyze(RelationName(chosen.schema or "public", chosen.name))


def chosen_rows(schema: str, stage: str, table: str) -> sa.TableClause:
    """Gives the working table of the chosen rows of a table."""
    name = work_table(schema, stage, "rows", table)
    columns = (sa.column(column.name, column.type) for column in row_columns())
    return sa.table(name.name, *columns, schema=name.schema)


def no_rows() -> sa.Select[Any]:
    """Gives the query of an empty table of chosen rows, of which none is drawn."""
    return sa.select(*row_columns()).where(sa.false())


def row_columns(
    place: sa.ColumnElement[Any] | None = None,
    role: sa.ColumnElement[Any] | None = None,
    probability: sa.ColumnElement[Any] | None = None,
    unit: sa.ColumnElement[Any] | None = None,
    sample_size: sa.ColumnElement[Any] | None = None,
) -> list[sa.ColumnElement[Any]]:
    """Gives the columns of chosen rows; NULL for what is not given."""
    columns: list[tuple[str, sa.ColumnElement[Any] | None, sa.types.TypeEngine[Any]]] = [
        (TID, place, Tid()),
        ("role", role, sa.SmallInteger()),
        ("probability", probability, sa.Double()),
        ("unit", unit, sa.BigInteger()),
        ("sample_size", sample_size, sa.BigInteger()),
        ("reason", None, sa.Text()),
    ]
    return [
        sa.cast(sa.null() if value is None else value, type_).label(name)
        for name, value, type_ in columns
    ]
