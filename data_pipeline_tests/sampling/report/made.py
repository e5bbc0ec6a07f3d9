"""Samples that are made by hand: sources, rows and roles as a test writes them down."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from data_pipeline import ForeignKey
from data_pipeline.database.identifiers import StageTable
from data_pipeline.instances.settings.sample import SampleSettings
from data_pipeline.sampling.plan.sample_plan import SamplePlan, sample_plan
from data_pipeline.sampling.plan.schema_graph import schema_graph
from data_pipeline.sampling.report.figures.comparison import Report, compared_sample
from data_pipeline.sampling.report.figures.figure import Compared, Figure
from data_pipeline.sampling.report.why import explain
from data_pipeline.store.table_properties import properties

Value = Any


@dataclass(frozen=True)
class Made:
    """One table and its sample.

    Attributes:
        columns: SQL of the columns; the first one is the primary key.
        source: The rows of the source.
        sample: For the key of each row in the sample its role, probability and unit, and a reason.
        foreign_keys: Its relationships.
    """

    columns: str
    source: Sequence[tuple[Value, ...]]
    sample: Mapping[Value, tuple[Any, ...]]
    foreign_keys: Sequence[ForeignKey] = ()

    @property
    def names(self) -> list[str]:
        return [part.split()[0] for part in self.columns.split(",")]


def sampled(*keys: Value, p: float = 0.5) -> dict[Value, tuple[str, float | None, int | None]]:
    """Gives rows that are units of their own."""
    return {key: ("sampled", p, number) for number, key in enumerate(keys)}


def extra(role: str, *keys: Value) -> dict[Value, tuple[str, float | None, int | None]]:
    """Gives rows without weight."""
    return dict.fromkeys(keys, (role, None, None))


def report_of(engine: sa.Engine, tables: Mapping[str, Made], settings: Mapping[str, Any]) -> Report:
    """Gives the report of a sample that is made by hand; nothing stays in the database."""
    with engine.connect() as connection:
        compared, plan = _sample(connection, tables, settings)
        return compared_sample(connection, plan, compared)


def explanation(
    engine: sa.Engine, tables: Mapping[str, Made], settings: Mapping[str, Any], table: str, key: str
) -> str:
    """Says why a row is in a sample that is made by hand."""
    with engine.connect() as connection:
        compared, plan = _sample(connection, tables, settings)
        return "\n".join(explain(connection, plan, compared[table], [key]))


def _sample(
    connection: sa.Connection, tables: Mapping[str, Made], settings: Mapping[str, Any]
) -> tuple[dict[str, Compared], SamplePlan]:
    compared = {name: _made(connection, name, made) for name, made in tables.items()}
    declared = {
        name: properties(primary_key=made.names[0], foreign_keys=made.foreign_keys)
        for name, made in tables.items()
    }
    raw = {name: StageTable("raw", name) for name in tables}
    plan = sample_plan(SampleSettings(**settings), schema_graph("inputs", raw, declared))
    assert plan is not None
    return compared, plan


def figures(report: Report, measure: str, table: str | None = None) -> list[Figure]:
    return [f for f in report.figures if f.measure == measure and table in (None, f.table)]


def one(report: Report, measure: str, table: str, column: str | None = None) -> Figure:
    """Gives the one figure of a measure of a table or column."""
    [found] = [f for f in figures(report, measure, table) if f.column == column]
    return found


def _made(connection: sa.Connection, name: str, made: Made) -> Compared:
    run = connection.exec_driver_sql
    run("CREATE SCHEMA IF NOT EXISTS source")
    run("CREATE SCHEMA IF NOT EXISTS sample")
    run("CREATE SCHEMA IF NOT EXISTS roles")
    key = made.names[0]
    kind = made.columns.split(",")[0].split(maxsplit=1)[1]
    for schema in ("source", "sample"):
        run(f"CREATE TABLE {schema}.{name} ({made.columns}, PRIMARY KEY ({key}))")
    run(
        f"CREATE TABLE roles.{name} ({key} {kind} PRIMARY KEY, role text, "
        "probability double precision, unit bigint, reason text, sample_size bigint)"
    )
    marks = ", ".join(["%s"] * len(made.names))
    kept = [row for row in made.source if row[0] in made.sample]
    roles = [(of, *facts, *[None] * (4 - len(facts))) for of, facts in made.sample.items()]
    for target, rows in (("source", list(made.source)), ("sample", kept)):
        if rows:
            run(f"INSERT INTO {target}.{name} VALUES ({marks})", rows)
    if roles:
        run(f"INSERT INTO roles.{name} VALUES (%s, %s, %s, %s, %s)", roles)
    tables = [
        sa.Table(name, sa.MetaData(), schema=schema, autoload_with=connection, resolve_fks=False)
        for schema in ("source", "sample", "roles")
    ]
    conditions = {i: k.where for i, k in enumerate(made.foreign_keys) if k.where}
    return Compared(name, *tables, conditions)
