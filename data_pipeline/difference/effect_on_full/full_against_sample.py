"""A table of full against the same table of a sample: which figures are off by more than chance."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import sqlalchemy as sa

from data_pipeline.database.connection import run
from data_pipeline.database.identifiers import RelationName, literal, quoted
from data_pipeline.difference.columns import ComparedColumn
from data_pipeline.difference.effect_on_full.units import Units
from data_pipeline.difference.result import SampleComparison, SampleFigure
from data_pipeline.estimates.intervals import PROBABILITY as OWN_PROBABILITY
from data_pipeline.estimates.intervals import SAMPLE_SIZE
from data_pipeline.estimates.intervals import UNIT as OWN_UNIT
from data_pipeline.sampling.report.figures.figure import PROBABILITY, UNIT
from data_pipeline.sampling.report.figures.moments import Moments, moments

LEVEL = 0.05
"""The probability that any figure of a table is called off although only chance is at work."""

_MOST_VALUES = 20
_MOST_COLUMNS = 20
_LEAST_EXPECTED = 10
_ROUNDING = 1e-9
_NOT_MEASURED = frozenset({"unit", "probability", "weight", "sample_size", "role", "design"})


@dataclass(frozen=True)
class _Measure:
    """Something whose mean over all rows is compared.

    Attributes:
        what: Its name.
        sql: Its value in a row of `t`, as double precision.
        is_share: Whether it is 1 or 0.
    """

    what: str
    sql: str
    is_share: bool


def against_full(
    connection: sa.Connection,
    full: RelationName,
    sample: RelationName,
    columns: Sequence[ComparedColumn],
    units: Units,
) -> SampleComparison:
    """Compare counts, means and shares of full with what a sample says of them.

    Args:
        connection: A transaction.
        full: The table of full.
        sample: That of the sample.
        columns: The columns that both have.
        units: How to find the unit of a row of the sample.
    """
    measures = list(_measures(connection, sample, columns))
    rows = _weighted(sample, units, measures)
    names = {str(n): rows.c[f"m{n}"] for n in range(len(measures))}
    found = moments(connection, rows, names, _drawn(connection, units))
    truth = ", ".join(f"sum({m.sql}), count({m.sql})" for m in measures)
    query = f"SELECT count(*){f', {truth}' if truth else ''} FROM {full.quoted} AS t"
    count, *sums = run(connection, query).one()
    drawn = sum(item.units for item in found.strata)
    if not drawn:
        return SampleComparison(0, (), "no row of the sample has a weight, so it tells nothing")
    figures = [_figure("rows", float(count), *found.count())]
    for n, measure in enumerate(measures):
        figures += _of_measure(found, measure, str(n), sums[2 * n], sums[2 * n + 1])
    return _judged(figures, drawn)


def _of_measure(
    found: Moments, measure: _Measure, name: str, total: float | None, values: int
) -> Iterator[SampleFigure]:
    estimate = found.mean(name)
    if estimate is None or not values or total is None:
        return
    truth = float(total) / values
    if not all(map(math.isfinite, (truth, *estimate))):
        return
    if measure.is_share:
        if truth == estimate[0] and truth in (0, 1):
            return
        expected = min(truth, 1 - truth) * found.rows
        if 0 < expected < _LEAST_EXPECTED:
            return
    yield _figure(measure.what, truth, *estimate)


def _figure(what: str, truth: float, value: float, error: float) -> SampleFigure:
    apart = abs(value - truth)
    if apart <= _ROUNDING * max(abs(truth), abs(value)):
        errors = 0.0
    else:
        errors = apart / error if error else math.inf
    return SampleFigure(what, truth, value, error, errors, is_off=False)


def _judged(figures: Sequence[SampleFigure], units: int) -> SampleComparison:
    limit = NormalDist().inv_cdf(1 - LEVEL / 2 / len(figures))
    judged = [
        SampleFigure(f.what, f.full, f.sample, f.standard_error, f.errors, f.errors > limit)
        for f in sorted(figures, key=lambda item: -item.errors)
    ]
    off = sum(item.is_off for item in judged)
    text = (
        f"{off} of {len(judged)} figures are off by more than chance (over {limit:.1f} standard "
        f"errors), from {units:,} sampled units"
    )
    return SampleComparison(units, tuple(judged), text)


def _measures(
    connection: sa.Connection, sample: RelationName, columns: Sequence[ComparedColumn]
) -> Iterator[_Measure]:
    chosen = [c for c in columns if c.name not in _NOT_MEASURED][:_MOST_COLUMNS]
    for column in chosen:
        value = f"t.{quoted(column.name)}"
        yield _Measure(f"share of NULL in {column.name}", f"({value} IS NULL)::int::float8", True)
        if column.is_boolean:
            yield _Measure(f"share of {column.name}", f"{value}::int::float8", True)
        elif column.is_number:
            yield _Measure(f"mean of {column.name}", column.as_float(value), False)
        if column.is_word and not column.is_boolean:
            for text in _categories(connection, sample, column):
                same = f"(({value})::text = {literal(text)})::int::float8"
                yield _Measure(f"share of {column.name} = {literal(text)}", same, True)


def _categories(
    connection: sa.Connection, sample: RelationName, column: ComparedColumn
) -> Sequence[str]:
    own = f"(t.{quoted(column.name)})::text"
    query = (
        f"SELECT {own}, count(*) FROM {sample.quoted} AS t WHERE {own} IS NOT NULL GROUP BY 1 "
        f"ORDER BY 2 DESC, 1 LIMIT {_MOST_VALUES + 1}"
    )
    values = [text for text, _ in run(connection, query)]
    return values if len(values) <= _MOST_VALUES else []


def _weighted(sample: RelationName, units: Units, measures: Sequence[_Measure]) -> sa.FromClause:
    """Return the measures of the rows of a sample with unit and probability."""
    facts = units.facts("t")
    parts = [
        f"{facts[OWN_PROBABILITY]} AS {quoted(PROBABILITY)}",
        f"{facts[OWN_UNIT]} AS {quoted(UNIT)}",
        *(f"{measure.sql} AS m{n}" for n, measure in enumerate(measures)),
    ]
    query = f"SELECT {', '.join(parts)} FROM {sample.quoted} AS t{units.join('t')}"
    columns = [
        sa.column(PROBABILITY, sa.Double()),
        sa.column(UNIT, sa.BigInteger()),
        *(sa.column(f"m{n}", sa.Double()) for n in range(len(measures))),
    ]
    # A colon in a name is no parameter.
    return sa.text(query.replace(":", "\\:")).columns(*columns).subquery("weighted")


def _drawn(connection: sa.Connection, units: Units) -> tuple[float, int] | None:
    """Return probability and number of units where their number was fixed beforehand."""
    if units.roles is None:
        return None
    query = (
        f"SELECT {quoted(OWN_PROBABILITY)}, {quoted(SAMPLE_SIZE)} "
        f"FROM {units.roles.relation.quoted} WHERE {quoted(SAMPLE_SIZE)} IS NOT NULL LIMIT 1"
    )
    row = run(connection, query).one_or_none()
    return None if row is None else (float(row[0]), int(row[1]))
