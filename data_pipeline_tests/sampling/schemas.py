"""Small schemas in a database of the test, and samples that are chosen from them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from data_pipeline import ForeignKey
from data_pipeline.database.identifiers import StageTable, quoted
from data_pipeline.instances.settings.sample import SampleSettings
from data_pipeline.sampling.engine import Selection, selection
from data_pipeline.sampling.engine.source_tables import TID
from data_pipeline.sampling.engine.workspace import Workspace
from data_pipeline.sampling.plan.hubs_and_thresholds import Role
from data_pipeline.sampling.plan.roots_and_children import SamplePart
from data_pipeline.sampling.plan.sample_plan import SamplePlan, sample_plan
from data_pipeline.sampling.plan.schema_graph import Relationship, SchemaGraph, schema_graph
from data_pipeline.store.table_properties import Properties, properties

STAGE = "inputs"


@dataclass(frozen=True)
class Schema:
    """Tables in the database with their declarations.

    Attributes:
        engine: The database.
        declared: What is declared of each table.
    """

    engine: sa.Engine
    declared: Mapping[str, Properties]

    @property
    def graph(self) -> SchemaGraph:
        raw = {name: StageTable("raw", name) for name in self.declared}
        return schema_graph(STAGE, raw, self.declared)

    def plan(self, **settings: Any) -> SamplePlan:
        plan = sample_plan(SampleSettings(**settings), self.graph)
        assert plan is not None
        return plan

    def unreached(self, *roots: str) -> list[str]:
        """Names the tables that no root reaches, nor refers to."""
        plan = self.plan(roots={name: {"rate": 1} for name in roots})
        return [name for name, item in plan.tables.items() if item.part is SamplePart.WHOLE]

    def sample(self, **settings: Any) -> "Sample":
        """Chooses a sample; nothing stays in the database."""
        plan = self.plan(**settings)
        with self.engine.connect() as connection:
            tables = {
                name: sa.Table(
                    name, sa.MetaData(), schema="raw", autoload_with=connection, resolve_fks=False
                )
                for name in self.declared
            }
            chosen = selection(Workspace.open(connection, "work", STAGE), plan, tables)
            found = {name: _rows(connection, chosen, name) for name in tables}
            return Sample(self, found, chosen)

    def keys(self, table: str) -> set[tuple[Any, ...]]:
        """Gives the keys of all rows of the source."""
        columns = ", ".join(quoted(name) for name in self.declared[table].primary_key)
        return set(query(self.engine, f"SELECT {columns} FROM raw.{quoted(table)}"))


@dataclass(frozen=True)
class Row:
    """A row of a sample.

    Attributes:
        values: Its columns.
        key: Its primary key, or all values.
        role: Why it is there.
        probability: Its inclusion probability; None where it carries no weight.
        unit: Its primary sampling unit.
        reason: Why, in words.
    """

    values: Mapping[str, Any]
    key: tuple[Any, ...]
    role: str
    probability: float | None
    unit: int | None
    reason: str | None


@dataclass(frozen=True)
class Sample:
    """A chosen sample, with its rows in memory."""

    schema: Schema
    tables: Mapping[str, list[Row]]
    selection: Selection = field(repr=False)

    def keys(self, table: str, *roles: str) -> set[tuple[Any, ...]]:
        rows = self.tables[table]
        return {row.key for row in rows if not roles or row.role in roles}

    def values(self, table: str, column: str) -> list[Any]:
        return [row.values[column] for row in self.tables[table]]

    def weighted_count(self, table: str) -> float:
        return sum(1 / row.probability for row in self.tables[table] if row.probability)

    def is_within(self, other: "Sample") -> bool:
        return all(self.keys(name) <= other.keys(name) for name in self.tables)

    def violations(self) -> list[str]:
        """Names the references that hold in the source but not in the sample."""
        graph = self.schema.graph
        return [text for item in graph.relationships for text in self._violations(item)]

    def _violations(self, item: Relationship) -> Iterator[str]:
        there = {
            tuple(row.values[name] for name in item.referenced_columns)
            for row in self.tables[item.parent]
        }
        columns = [*item.columns]
        condition = f"({item.where}) IS TRUE" if item.where else "true"
        pairs = zip(item.columns, item.referenced_columns, strict=True)
        same = " AND ".join(f"c.{quoted(own)} = p.{quoted(other)}" for own, other in pairs)
        own = ", ".join(f"c.{quoted(name)}" for name in columns)
        child = f"(SELECT * FROM raw.{quoted(item.child)} WHERE {condition})"
        holding = set(
            query(
                self.schema.engine,
                f"SELECT DISTINCT {own} FROM {child} c JOIN raw.{quoted(item.parent)} p ON {same}",
            )
        )
        for row in self.tables[item.child]:
            reference = tuple(row.values[name] for name in columns)
            if item.where is not None and not self._holds(item, row):
                continue
            if reference in holding and reference not in there:
                yield f"{item}: {row.key} refers to {reference}, which is missing"

    def _holds(self, item: Relationship, row: Row) -> bool:
        key = self.schema.declared[item.child].primary_key
        where = " AND ".join(f"{quoted(name)} = :k{i}" for i, name in enumerate(key))
        statement = sa.text(
            f"SELECT ({item.where}) IS TRUE FROM raw.{quoted(item.child)} WHERE {where}"
        )
        with self.schema.engine.connect() as connection:
            values = {f"k{i}": value for i, value in enumerate(row.key)}
            return bool(connection.scalar(statement, values))


def schema(engine: sa.Engine, statements: Sequence[str], **declared: dict[str, Any]) -> Schema:
    """Makes tables in the schema `raw` and declares their keys.

    Args:
        engine: The database.
        statements: SQL that creates and fills the tables; `raw` is where unqualified names lie.
        declared: Properties by table.
    """
    with engine.begin() as connection:
        run = connection.execution_options(no_parameters=True).exec_driver_sql
        run("DROP SCHEMA IF EXISTS raw CASCADE")
        run("CREATE SCHEMA raw")
        run("SET LOCAL search_path = raw")
        for statement in statements:
            run(statement)
    return Schema(engine, {name: properties(**item) for name, item in declared.items()})


def query(engine: sa.Engine, text: str) -> list[tuple[Any, ...]]:
    with engine.connect() as connection:
        run = connection.execution_options(no_parameters=True).exec_driver_sql
        return [
            tuple(bytes(value) if isinstance(value, memoryview) else value for value in row)
            for row in run(text)
        ]


def to(columns: str, table: str, referenced: str, where: str | None = None) -> ForeignKey:
    """Gives a relationship; columns are divided by spaces."""
    return ForeignKey(columns.split(), table, referenced.split(), where)


def _rows(connection: sa.Connection, chosen: Selection, name: str) -> list[Row]:
    source = chosen.sources[name].all_rows("source")
    places = chosen.rows[name]
    facts: list[Any]
    rows: sa.FromClause
    if places is None:
        facts = [sa.literal(1), sa.literal(1.0), sa.null(), sa.null()]
        rows = source
    else:
        facts = [places.c.role, places.c.probability, places.c.unit, places.c.reason]
        rows = source.join(places, places.c[TID] == source.c[TID])
    columns = list(chosen.sources[name].table.c.keys())
    found = connection.execute(
        sa.select(*(source.c[column] for column in columns), *facts).select_from(rows)
    )
    key = chosen.sources[name].key
    result = []
    for row in found:
        *values, role, probability, unit, reason = row
        named = dict(zip(columns, values, strict=True))
        identity = tuple(named[column] for column in key)
        result.append(Row(named, identity, Role(role).word, probability, unit, reason))
    return result
