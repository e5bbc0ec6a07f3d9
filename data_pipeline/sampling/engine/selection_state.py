"""The state of a selection: what has been found out and chosen so far."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import distinct_on

from data_pipeline.database.identifiers import RelationName
from data_pipeline.sampling.code_identity import sampling_version
from data_pipeline.sampling.earlier.copies import CopyIdentity, EarlierCopy
from data_pipeline.sampling.earlier.source_facts import Fact
from data_pipeline.sampling.engine.source_tables import TID, SourceTable
from data_pipeline.sampling.engine.workspace import Workspace
from data_pipeline.sampling.key_hash import check_hashable
from data_pipeline.sampling.plan.hubs_and_thresholds import Role, SampleThreshold
from data_pipeline.sampling.plan.roots_and_children import SamplePart, TablePlan
from data_pipeline.sampling.plan.sample_plan import SamplePlan
from data_pipeline.sampling.plan.schema_graph import Relationship
from data_pipeline.transfer.stable_hash import fingerprint


@dataclass
class Output:
    """A copy that is written while its rows are chosen.

    Attributes:
        table: The table that it will be.
        rows: So many rows it has.
        drawn: Identity of its drawn rows; None where it is not known.
        earlier: The copy of an earlier draw that it is; None: it is written.
        is_finished: Whether it has all its rows, also those that are known by their places.
    """

    table: sa.TableClause
    rows: int
    drawn: str | None = None
    earlier: EarlierCopy | None = None
    is_finished: bool = False


@dataclass
class SelectionState:
    """A selection that is being made.

    Attributes:
        plan: What is to be selected.
        sources: The tables of the source.
        space: The working tables.
        whole: The tables that come whole.
        complete: Those that come whole but for rows outside of their population.
        rows: The chosen rows of the others: place (column `TID`), role, probability, unit, reason,
            and how many units were drawn with it (`sample_size`; NULL: it was drawn for itself).
            Of the drawn ones also the values that they refer to, unless they came with them.
        thresholds: Which rows of each root are sampled.
        hubs: The hubs of each root that has any: place, key columns `k0`, `k1`, ..., and for each
            relationship that makes it one `thinned_<number>`.
        fan_outs: By relationship, how many values are referred to, by the number of references.
        references: By relationship, each value that is referred to (`k0`, `k1`, ..., in the order
            of the relationship's columns) and the number of references `n`.
        representatives: By relationship that refers to no key, one parent row of each value.
        cuts: How many rows have NULL in the place of a reference, by table and column.
        brought: How many rows came since others refer to them, by table.
        left_out: Columns with too many values for a witness of each, with the number at least.
        outputs: The copies that are written already; of these tables, `rows` are only those that
            come for other reasons than most.
        drawn: The conditions of the drawn rows of such tables.
        outside: By root, the keys (`k0`, ...) of rows that `where` leaves out, of those with
            numbers of drawn ones.
        identities: The identity of copies, as far as they are known.
    """

    plan: SamplePlan
    sources: Mapping[str, SourceTable]
    space: Workspace
    whole: set[str] = field(default_factory=set)
    complete: set[str] = field(default_factory=set)
    rows: dict[str, sa.TableClause] = field(default_factory=dict)
    thresholds: dict[str, SampleThreshold] = field(default_factory=dict)
    hubs: dict[str, sa.TableClause] = field(default_factory=dict)
    fan_outs: dict[int, dict[int, int]] = field(default_factory=dict)
    references: dict[int, sa.TableClause] = field(default_factory=dict)
    representatives: dict[int, sa.TableClause] = field(default_factory=dict)
    cuts: dict[tuple[str, str], int] = field(default_factory=dict)
    brought: dict[str, int] = field(default_factory=dict)
    left_out: dict[tuple[str, str], int] = field(default_factory=dict)
    outputs: dict[str, Output] = field(default_factory=dict)
    drawn: dict[str, Callable[[sa.FromClause], sa.ColumnElement[bool]]] = field(
        default_factory=dict
    )
    outside: dict[str, sa.TableClause] = field(default_factory=dict)
    identities: dict[str, CopyIdentity | None] = field(default_factory=dict)

    @property
    def connection(self) -> sa.Connection:
        """The transaction of the selection."""
        return self.space.connection

    @property
    def salt(self) -> int:
        """What is added to every hash."""
        return self.plan.salt

    def plan_of(self, table: str) -> TablePlan:
        """Return the plan of a table."""
        return self.plan.tables[table]

    def is_sampled(self, table: str) -> bool:
        """Whether rows of the table are sampled, themselves or with their root."""
        part = self.plan_of(table).part
        return not self.plan.is_minimal and part in (SamplePart.ROOT, SamplePart.CHILD)

    def key_of(self, table: str, rows: sa.FromClause) -> list[sa.ColumnElement[Any]]:
        """Return the columns that a row is told and hashed by: the primary key, or all columns.

        Raises:
            ConfigurationError: One cannot be hashed.
        """
        key, graph = self.sources[table].key_of(rows), self.plan.graph
        check_hashable(f"{graph.stage}/{table}", key, has_key=bool(graph.keys[table]))
        return key

    def take_whole(self, table: str) -> None:
        """Let all rows of the population of a table come."""
        (self.complete if self.is_restricted(table) else self.whole).add(table)

    def is_restricted(self, table: str) -> bool:
        """Whether the population of a table may lack some of its rows."""
        return self.sources[table].restriction is not None

    def fact(
        self, about: str, tables: Iterable[str], settings: Any, take: Callable[[], Fact]
    ) -> Fact:
        """Return a fact of the source, which is taken where it is not known.

        Args:
            about: What it is, in words.
            tables: The tables that it is about.
            settings: What else it depends on, as JSON can hold it.
            take: Takes it.
        """
        names = sorted({name for table in tables for name in self._populated_by(table)})
        described = [
            [
                name,
                self.space.facts.versions.get(name),
                list(self.plan.graph.keys[name]),
                str(self.plan_of(name).owner),
                self.plan.where.get(name),
            ]
            for name in names
        ]
        key = fingerprint("fact-1", about, sampling_version(), self.salt, described, settings)
        return self.space.facts.fact(key, about, names, take)

    def _populated_by(self, table: str) -> Iterator[str]:
        """Name the tables that decide on the population of a table, and itself."""
        yield table
        owner = self.plan_of(table).owner
        if owner is not None and self.is_restricted(table):
            yield from self._populated_by(owner.parent)

    def came_with_parent(self, item: Relationship) -> bool:
        """Whether drawn rows were chosen because of the row they refer to, which is there then."""
        owner = self.plan_of(item.child).owner
        return owner is not None and owner.number == item.number and item.refers_to_key

    def add(
        self, table: str, places: sa.FromClause, role: Role, reason: str | sa.ColumnElement[str]
    ) -> int:
        """Add rows to the chosen ones, unless they are there; gives how many are new.

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
        if table in self.drawn:
            different = sa.select(places.c[TID]).distinct().subquery("different")
            rows = self.sources[table].rows_at(different, "looked_at")
            drawn = sa.select(rows.c[TID]).where(self.drawn[table](rows))
            new = new.where(places.c[TID].not_in(drawn))
        return self.space.insert(chosen, new)

    def add_new(
        self, table: str, places: sa.FromClause, role: Role, reason: sa.ColumnElement[str]
    ) -> None:
        """Add rows that are all different, and none of which is there."""
        chosen = self.rows[table]
        role_column = sa.literal(int(role)).label("role")
        self.space.insert(chosen, sa.select(places.c[TID], role_column, reason.label("reason")))
        self.space.analyze(RelationName(chosen.schema or "public", chosen.name))
