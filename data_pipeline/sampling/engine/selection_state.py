"""The state of a selection: its tables, and what has been found out and chosen so far."""

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import distinct_on

from data_pipeline.database.advisory_locks import (
    lock_for_transaction,
    sampling_lock_name,
    try_for_transaction,
)
from data_pipeline.database.connection import ensure_schema, run
from data_pipeline.database.identifiers import MAX_IDENTIFIER_BYTES, RelationName, quoted
from data_pipeline.results.sql_query import compiled
from data_pipeline.sampling.code_identity import sampling_version
from data_pipeline.sampling.earlier.copies import CopyIdentity, EarlierCopy
from data_pipeline.sampling.earlier.source_facts import Fact, SourceFacts
from data_pipeline.sampling.engine.source_tables import TID, SourceTable, Tid
from data_pipeline.sampling.key_hash import check_hashable
from data_pipeline.sampling.plan.rules import Role, SampleThreshold
from data_pipeline.sampling.plan.sample_plan import SamplePlan
from data_pipeline.sampling.plan.schema_graph import Relationship
from data_pipeline.sampling.plan.table_plans import SamplePart, TablePlan
from data_pipeline.transfer.stable_hash import fingerprint

_SETTINGS = (
    "SET LOCAL work_mem = '256MB'",
    "SET LOCAL jit = off",
    # The planner needs little of working tables, which are joined and gone.
    "SET LOCAL default_statistics_target = 10",
)
_PURPOSE = re.compile("[0-9a-f]{8}_")
_DROPPED = sa.text(
    "SELECT relname FROM pg_class "
    "WHERE relnamespace = to_regnamespace(:schema) AND relkind IN ('r', 'p')"
)


@dataclass
class Workspace:
    """Working tables of one stage of one instance, of one pipeline.

    They are no temporary tables, since those rule out parallel plans and other sessions.

    Attributes:
        connection: A transaction.
        schema: Where they are.
        stage: What they are for, a stage and what is copied to it; others may be beside them.
        facts: What is known of the source.
        outputs: The tables whose copies may be written while their rows are chosen, and whether
            they are to be unlogged.
        earlier: Copies that are there as an earlier draw has made them.
    """

    connection: sa.Connection
    schema: str
    stage: str
    facts: SourceFacts = field(default_factory=SourceFacts)
    outputs: Mapping[str, bool] = field(default_factory=dict)
    earlier: Mapping[str, EarlierCopy] = field(default_factory=dict)

    @classmethod
    def open(
        cls, connection: sa.Connection, schema: str, stage: str, facts: SourceFacts | None = None
    ) -> "Workspace":
        """Make room for the working tables of a stage."""
        ensure_schema(connection, schema)
        for setting in _SETTINGS:
            run(connection, setting)
        space = cls(connection, schema, stage, facts or SourceFacts())
        space.drop_leftovers()
        return space

    def name(self, *parts: str) -> RelationName:
        """Name the working table of a purpose."""
        return work_table(self.schema, self.stage, *parts)

    def create(
        self, query: sa.Executable, *parts: str, analyzed: bool = True
    ) -> tuple[sa.TableClause, int]:
        """Make a working table of a query; return it, and its number of rows.

        Args:
            query: The query.
            parts: What it is for.
            analyzed: Whether the planner is to know what it holds: where it is joined.
        """
        table, rows = self.write(query, *parts)
        if analyzed:
            self.analyze(self.name(*parts))
        return table, rows

    def write(
        self, query: sa.Executable, *parts: str, unlogged: bool = True
    ) -> tuple[sa.TableClause, int]:
        """Make a table of a query, which may stay; return it, and its number of rows."""
        name = self.name(*parts)
        text = compiled(query)
        kind = "UNLOGGED TABLE" if unlogged else "TABLE"
        run(self.connection, f"DROP TABLE IF EXISTS {name.quoted}")
        rows = self._execute(f"CREATE {kind} {name.quoted} AS {text}")
        columns = [sa.column(c.name, c.type) for c in _columns(query)]
        return sa.table(name.name, *columns, schema=name.schema), rows

    def refill(self, table: sa.TableClause, statement: str) -> int:
        """Empty a working table and fills it by a statement; gives how many rows that adds.

        A table that is dropped keeps its lock until the transaction ends, and so does the next one
        of its name, so a loop of many turns must use its tables again. The planner still expects
        as many rows in a page as when the table was made.

        Args:
            table: A working table of this transaction.
            statement: What fills it.
        """
        name = RelationName(table.schema or "public", table.name)
        run(self.connection, f"TRUNCATE {name.quoted}")
        return self._execute(statement)

    def index(self, table: sa.TableClause, column: str) -> None:
        """Make an index, for many searches for few rows."""
        name = RelationName(table.schema or "public", table.name)
        run(self.connection, f"CREATE INDEX ON {name.quoted} ({quoted(column)})")

    @contextmanager
    def sorting(self, *, if_: bool) -> Iterator[None]:
        """Let rows be grouped by sorting, which takes next to no time if they lie in order."""
        run(self.connection, f"SET LOCAL enable_hashagg = {'off' if if_ else 'on'}")
        yield
        run(self.connection, "SET LOCAL enable_hashagg TO DEFAULT")

    @contextmanager
    def expecting_few_rows(self, *, if_: bool = True) -> Iterator[None]:
        """Let scans run in parallel of which the planner expects many rows, but which find few."""
        run(self.connection, f"SET LOCAL parallel_tuple_cost TO {'0' if if_ else 'DEFAULT'}")
        yield
        run(self.connection, "SET LOCAL parallel_tuple_cost TO DEFAULT")

    def insert(self, target: sa.TableClause, query: sa.Select[Any]) -> int:
        """Add the rows of a query to a working table; gives how many."""
        names = [column.name for column in query.selected_columns]
        return self._execute(compiled_insert(target, names, query))

    def analyze(self, name: RelationName) -> None:
        """Tell the planner what a working table holds."""
        run(self.connection, f"ANALYZE {name.quoted}")

    def drop(self, *parts: str) -> None:
        """Drop a working table that has done its service."""
        run(self.connection, f"DROP TABLE IF EXISTS {self.name(*parts).quoted}")

    def drop_leftovers(self) -> None:
        """Drop all working tables of the stage, also those that a killed process left behind."""
        for relname in self.connection.scalars(_DROPPED, {"schema": self.schema}).all():
            if relname.startswith(_prefix(self.stage)):
                run(
                    self.connection,
                    f"DROP TABLE IF EXISTS {RelationName(self.schema, relname).quoted}",
                )

    def drop_forgotten(self) -> None:
        """Drop what killed processes left for other stages or pipelines, which may be no more."""
        names = self.connection.scalars(_DROPPED, {"schema": self.schema}).all()
        found = (_PURPOSE.match(name) for name in names)
        for prefix in sorted({match[0] for match in found if match} - {_prefix(self.stage)}):
            if try_for_transaction(self.connection, sampling_lock_name(self.schema, prefix)):
                for name in (name for name in names if name.startswith(prefix)):
                    relation = RelationName(self.schema, name)
                    run(self.connection, f"DROP TABLE IF EXISTS {relation.quoted}")

    def _execute(self, statement: str) -> int:
        return int(run(self.connection, statement).rowcount)


def compiled_insert(target: sa.TableClause, names: list[str], query: sa.Select[Any]) -> str:
    """Return the statement that adds the rows of a query to a table."""
    relation = RelationName(target.schema or "public", target.name)
    columns = ", ".join(map(quoted, names))
    return f"INSERT INTO {relation.quoted} ({columns}) {compiled(query)}"


def work_table(schema: str, stage: str, *parts: str) -> RelationName:
    """Name the working table of a purpose; the name is unique, and fits into an identifier."""
    digest = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:10]
    text = f"{_prefix(stage)}{'_'.join(parts)}".encode()
    readable = text[: MAX_IDENTIFIER_BYTES - 11].decode(errors="ignore")
    return RelationName(schema, f"{readable}_{digest}")


def copied_view(source: sa.Table, copy: RelationName) -> sa.Table:
    """Return the working table that stands in for a view, which has no places."""
    table = source.to_metadata(sa.MetaData(), schema=copy.schema, name=copy.name)
    table.info.update(source.info)
    return table


def lock_for_selection(
    connection: sa.Connection, schema: str, stage: str, relations: list[RelationName]
) -> None:
    """Keep source tables from being replaced, and other steps from the same working tables.

    As long as the transaction lasts, every statement of any session finds the same rows of the
    sources in the same places.
    """
    lock_for_transaction(connection, sampling_lock_name(schema, _prefix(stage)))
    listed = ", ".join(relation.quoted for relation in relations)
    run(connection, f"LOCK TABLE {listed} IN ACCESS SHARE MODE")


def _prefix(stage: str) -> str:
    # Hashed: of two stages, one's name may be the beginning of the other's.
    return f"{hashlib.sha256(stage.encode()).hexdigest()[:8]}_"


def _columns(query: sa.Executable) -> list[sa.ColumnElement[Any]]:
    return list(query.selected_columns)  # type: ignore[attr-defined] # of all selects


@dataclass
class Output:
    """A copy that is written while its rows are chosen.

    Attributes:
        table: The table that it will be.
        rows: So many rows it has.
        drawn: Identity of its drawn rows; None where it is not known.
        earlier: The copy of an earlier draw that it is; None: it is written.
    """

    table: sa.TableClause
    rows: int
    drawn: str | None = None
    earlier: EarlierCopy | None = None


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
        restricted = self.sources[table].restriction is not None
        (self.complete if restricted else self.whole).add(table)

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
        if owner is not None and self.sources[table].restriction is not None:
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


def chosen_rows(schema: str, stage: str, table: str) -> sa.TableClause:
    """Return the working table of the chosen rows of a table."""
    name = work_table(schema, stage, "rows", table)
    columns = (sa.column(column.name, column.type) for column in row_columns())
    return sa.table(name.name, *columns, schema=name.schema)


def no_rows() -> sa.Select[Any]:
    """Return the query of an empty table of chosen rows, of which none is drawn."""
    return sa.select(*row_columns()).where(sa.false())


def row_columns(
    place: sa.ColumnElement[Any] | None = None,
    role: sa.ColumnElement[Any] | None = None,
    probability: sa.ColumnElement[Any] | None = None,
    unit: sa.ColumnElement[Any] | None = None,
    sample_size: sa.ColumnElement[Any] | None = None,
) -> list[sa.ColumnElement[Any]]:
    """Return the columns of chosen rows; NULL for what is not given."""
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
