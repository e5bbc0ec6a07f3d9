"""The whole report of a sampled stage: all figures of all tables, and what plots need."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

import sqlalchemy as sa

from data_pipeline.database.session_settings import FOR_LARGE_QUERIES
from data_pipeline.sampling.earlier.source_facts import SourceFacts
from data_pipeline.sampling.engine.population import Populations
from data_pipeline.sampling.plan.hubs_and_thresholds import Role
from data_pipeline.sampling.plan.roots_and_children import SamplePart
from data_pipeline.sampling.plan.sample_plan import SamplePlan
from data_pipeline.sampling.report.figures.accuracy import Accuracy, accuracy
from data_pipeline.sampling.report.figures.compared_columns import (
    Ask,
    KeyColumns,
    as_measure,
    key_columns,
    profile,
)
from data_pipeline.sampling.report.figures.coverage_figures import coverage, predicate_coverage
from data_pipeline.sampling.report.figures.figure import ROLE, WEIGHT, Compared, Figure, number_of
from data_pipeline.sampling.report.figures.moments import moments
from data_pipeline.sampling.report.figures.references import (
    cut_references,
    design_effects,
    joins,
    violations,
)
from data_pipeline.sampling.report.figures.uncertain_means import uncertain_means

_ROLES = {
    "certain": "rows that every sample has: hubs, and tables that come whole",
    "sampled": "rows of the random sample",
    "pinned": "rows that the specification names",
    "witness": "rows that cover what the random sample does not show",
    "reference": "rows that others refer to",
}
_OVERHEAD = ("pinned", "witness", "reference")


def sizes(
    connection: sa.Connection, plan: SamplePlan, table: Compared, source_rows: float
) -> Iterator[Figure]:
    """Return the number of rows of a table: in all, and by role.

    Args:
        connection: To the database.
        plan: What was asked for.
        table: The table.
        source_rows: The number of rows of its source.
    """
    # Equal rows without a primary key stand in the roles once, so the rows are counted.
    role = table.fact("role") if table.key else table.weighted_rows("weighted").c[ROLE]
    counted = sa.select(role, sa.func.count()).group_by(role)
    by_role = {str(name): int(count) for name, count in connection.execute(counted)}
    rows = sum(by_role.values())
    share = rows / source_rows if source_rows else 0.0
    left = " that `where` leaves" if table.restriction else ""
    yield Figure(
        table.name,
        "rows",
        rows,
        source_rows,
        text=f"{100 * share:.2f} % of the source's rows{left}",
    )
    for name, text in _ROLES.items():
        if by_role.get(name):
            expected = None
            if name == "sampled":
                expected = _asked_for(plan, table.name, source_rows, by_role.get("certain", 0))
            yield Figure(table.name, f"{name} rows", by_role[name], expected, text=text)
    extra = sum(by_role.get(name, 0) for name in _OVERHEAD)
    if extra:
        others = sum(by_role.values()) - extra
        text = "pinned, witness and reference rows over the others"
        if not others:
            text = "all rows are pins, witnesses or references"
        yield Figure(table.name, "overhead", extra / others if others else None, text=text)


def _asked_for(plan: SamplePlan, table: str, source_rows: float, certain: int) -> float | None:
    """Return how many rows should be sampled, besides those that are certain."""
    found = plan.tables[table]
    settings = plan.roots.get(found.root or "")
    if plan.is_minimal or settings is None:
        return None
    if settings.rate is not None:
        return settings.rate * (source_rows - certain)
    if found.part is SamplePart.ROOT and settings.rows is not None:
        return number_of(settings.rows - certain)
    return None


@dataclass(frozen=True)
class Report:
    """A finished report.

    Attributes:
        figures: All figures, by table.
        accuracies: Source and weighted sample of each table that has weights.
    """

    figures: tuple[Figure, ...]
    accuracies: tuple[Accuracy, ...] = ()


@dataclass
class _Comparison:
    connection: sa.Connection
    plan: SamplePlan
    tables: Mapping[str, Compared]
    facts: SourceFacts
    whole: dict[str, bool] = field(default_factory=dict)

    def _ask_source(self, name: str, *others: str) -> Ask:
        """Return what asks for rows of the source of some tables, unless they are known."""
        names = {name, *others}
        if any(self.tables[table].restriction for table in names):
            names |= self.tables.keys()
        about = f"report of {name}"
        return lambda query: self.facts.answer(self.connection, query, about, names)

    def accuracy(self, name: str) -> Accuracy:
        """Compare source and weighted sample of a table."""
        table = self.tables[name]
        references = (c for item in self.plan.graph.of_child(name) for c in item.columns)
        columns = KeyColumns()
        if not self._is_whole(table):
            altered = self.plan.altered(name)
            columns = key_columns(self.connection, table, frozenset(references), altered)
        rows = table.weighted_rows("weighted")
        measures = {column: as_measure(rows.c[column]) for column in columns.measures}
        found = moments(self.connection, rows, measures, self._drawn(name))
        source = profile(self._ask_source(name), table.source_rows("source"), columns)
        sample = profile(self.connection.execute, rows, columns, rows.c[WEIGHT])
        return Accuracy(name, columns, source, sample, found)

    def _is_whole(self, table: Compared) -> bool:
        """Whether a table has all rows of its source, so that there is nothing to compare."""
        whole = self.whole.get(table.name)
        if whole is None:
            others = sa.exists().where(table.fact("role") != Role.CERTAIN.word)
            count = sa.select(sa.func.count())
            whole = not self.connection.scalar(sa.select(others))
            if whole:
                rows = count.select_from(table.source_rows("source"))
                [[number]] = self._ask_source(table.name)(rows)
                whole = number == self.connection.scalar(count.select_from(table.sample))
            self.whole[table.name] = whole
        return whole

    def _drawn(self, name: str) -> tuple[float, int] | None:
        """Return probability and number of the rows of a root, where their number was fixed."""
        root = self.plan.tables[name].root
        if root is None or self.plan.is_minimal or self.plan.roots[root].rows is None:
            return None
        table = self.tables[root]
        drawn = table.fact("sample_size")
        query = sa.select(table.fact("probability"), drawn).where(drawn.is_not(None)).limit(1)
        row = self.connection.execute(query).one_or_none()
        return None if row is None else (float(row[0]), int(row[1]))

    def figures(self, name: str, found: Accuracy, columns: int) -> Iterator[Figure]:
        """Return all figures of a table."""
        checks, table = self.plan.settings.checks, self.tables[name]
        yield from sizes(self.connection, self.plan, table, found.full.rows)
        items = list(self.plan.graph.of_child(name))
        masks = self.plan.masks.get(name, {})
        for column in masks:
            text = "masked: it has other values than the source, and is not compared with it"
            yield Figure(name, "masked column", None, column=column, text=text)
        for column in self.plan.cuts.get(name, ()):
            yield cut_references(self.connection, table, column, is_masked=bool(masks))
        for item in items:
            masks = self.plan.masks.get(item.parent, {})
            yield violations(self.connection, self.tables, item, masks, checks)
        items = [item for item in items if not self.plan.is_cut(item)]
        if not self.plan.is_minimal and not self._is_whole(table):
            yield from self._coverage(name)
            if items and found.moments.rows:
                source = self._ask_source(name, *(item.parent for item in items))
                asks = source, self.connection.execute
                yield from joins(asks, self.tables, items, found.moments, checks)
        yield from design_effects(name, found.moments, checks)
        yield from accuracy(found, checks, columns)
        if found.moments.rows and not self._is_whole(table):
            rows = table.weighted_rows("weighted")
            yield from uncertain_means(self.connection, name, rows, found.columns, checks)

    def _coverage(self, name: str) -> Iterator[Figure]:
        checks, table, columns = self.plan.settings.checks, self.tables[name], self.plan.columns
        names = table.sample.c.keys() if columns is None else columns.get(name, ())
        altered = self.plan.altered(name)
        names = [column for column in names if column not in altered]
        limit = self.plan.cover.category_limit
        ask = self._ask_source(name)
        yield from coverage(self.connection, ask, table, names, limit, checks)
        predicates = self.plan.predicates.get(name, {})
        yield from predicate_coverage(self.connection, ask, table, predicates, checks)


def compared_sample(
    connection: sa.Connection,
    plan: SamplePlan,
    tables: Mapping[str, Compared],
    facts: SourceFacts | None = None,
) -> Report:
    """Compare a sample with its source, inside the database.

    The source of a table that is not whole is read a few times: for its distributions, for what the
    sample does not cover, and for its references. What is known of it is not looked for again.

    Args:
        connection: A transaction. Meanwhile, the tables must not be replaced.
        plan: What the sample was chosen by.
        tables: Its tables.
        facts: What is known of the source.
    """
    connection.exec_driver_sql(FOR_LARGE_QUERIES)
    populations = Populations(plan, {name: table.source for name, table in tables.items()})
    tables = {
        name: replace(table, restriction=populations.restriction(name))
        for name, table in tables.items()
    }
    comparison = _Comparison(connection, plan, tables, facts or SourceFacts())
    found = {name: comparison.accuracy(name) for name in tables}
    weighted = [item for item in found.values() if item.moments.rows]
    columns = sum(item.compared_columns for item in weighted)
    figures = [f for name, item in found.items() for f in comparison.figures(name, item, columns)]
    return Report(tuple(figures), tuple(weighted))


def unsampled_report(
    connection: sa.Connection, tables: Mapping[str, sa.FromClause], text: str
) -> Report:
    """Return the report of tables that are no sample by specification: their sizes.

    Args:
        connection: To the database.
        tables: The tables.
        text: Why there is nothing to compare.
    """
    figures = []
    for name, table in tables.items():
        count = connection.scalar(sa.select(sa.func.count()).select_from(table)) or 0
        figures.append(Figure(name, "rows", float(count)))
    figures.append(Figure("(all tables)", "nothing compared", None, text=text))
    return Report(tuple(figures))
