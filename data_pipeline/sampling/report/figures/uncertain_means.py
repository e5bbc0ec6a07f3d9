"""Means whose intervals rest on so few units that their level is not sure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from data_pipeline.instances.settings.limits_of_sample_checks import CheckSettings
from data_pipeline.sampling.report.figures.compared_columns import (
    KeyColumns,
    as_category,
    as_measure,
)
from data_pipeline.sampling.report.figures.figure import PROBABILITY, UNIT, Figure

LEAST_DEGREES_OF_FREEDOM = 8
"""With fewer, a mean is named in the report.

The rule is that of Parker, J. D. et al. (2017), National Center for Health Statistics data
presentation standards for proportions, Vital and Health Statistics 2(175), by which estimates of
fewer degrees of freedom are looked at before they are published. Degrees of freedom are those of
`data_pipeline.estimates`: the number of units where all contribute alike, and fewer where few
dominate, as with skewed values or hubs.
"""

_MOST_LISTED = 8
_LEAST_SHARE = 1e-9


@dataclass(frozen=True)
class _NamedMean:
    """A mean, and what its interval rests on."""

    measure: str
    group: str
    units: int
    degrees: float

    def __str__(self) -> str:
        where = f" where {self.group}" if self.group else ""
        return f"{self.measure}{where} ({self.units:,} units, {self.degrees:.1f})"


def uncertain_means(
    connection: sa.Connection,
    table: str,
    rows: sa.FromClause,
    columns: KeyColumns,
    checks: CheckSettings,
) -> Iterator[Figure]:
    """Return the figure that names means of few degrees of freedom: of all rows, and of groups.

    Args:
        connection: To the database.
        table: The table.
        rows: Its rows with probability and unit.
        columns: Whose means are looked at, and by which groups.
        checks: How many there may be.
    """
    if not columns.measures:
        return
    found = [
        mean
        for name in (None, *columns.categories)
        for mean in _means(connection, rows, columns, name)
        if mean.degrees < LEAST_DEGREES_OF_FREEDOM
    ]
    found.sort(key=lambda mean: mean.degrees)
    named = "; ".join(map(str, found[:_MOST_LISTED]))
    more = f"; and {len(found) - _MOST_LISTED} more" if len(found) > _MOST_LISTED else ""
    text = "means of which 95 % intervals may contain the truth in some 90 to 98 %: they rest on "
    text += f"fewer than {LEAST_DEGREES_OF_FREEDOM} degrees of freedom"
    figure = Figure(table, "uncertain means", len(found), 0.0, text=f"{text}: {named}{more}")
    if not found:
        figure = Figure(table, "uncertain means", 0, 0.0, text=text)
    yield figure.judged(len(found), checks, "uncertain_means")


def _means(
    connection: sa.Connection, rows: sa.FromClause, columns: KeyColumns, by: str | None
) -> Iterator[_NamedMean]:
    """Return the means of all measures, of all rows or by the categories of a column."""
    measures = {name: as_measure(rows.c[name]) for name in columns.measures}
    nothing = sa.cast(sa.literal("", sa.Text), sa.Text)
    group = nothing if by is None else as_category(rows.c[by])
    shares = _shares(_with_means(_units(rows, group, measures), len(measures)), len(measures))
    parts: list[sa.ColumnElement[Any]] = [shares.c.g]
    for i in range(len(measures)):
        share = shares.c[f"share{i}"]
        # Squares of smaller ones would be refused as underflow.
        squares = sa.func.sum(sa.case((share > _LEAST_SHARE, share * share), else_=0.0))
        parts += [sa.func.count().filter(shares.c[f"x{i}"] > 0), squares]
    for value, *found in connection.execute(sa.select(*parts).group_by(shares.c.g)):
        shown = "" if by is None else f"{by} = {value!r}"
        for name, count, squares_found in zip(measures, found[::2], found[1::2], strict=True):
            if squares_found:
                yield _NamedMean(name, shown, int(count), max(1.0, 1 / squares_found - 1))


def _units(
    rows: sa.FromClause,
    group: sa.ColumnElement[str],
    measures: Mapping[str, sa.ColumnElement[float]],
) -> sa.Subquery:
    sums: list[sa.Label[Any]] = []
    for i, value in enumerate(measures.values()):
        sums.append(sa.func.coalesce(sa.func.sum(value), 0.0, type_=sa.Double).label(f"y{i}"))
        sums.append(sa.cast(sa.func.count(value), sa.Double).label(f"x{i}"))
    probability = sa.func.min(rows.c[PROBABILITY], type_=sa.Double).label("p")
    query = sa.select(group.label("g"), probability, *sums)
    counting = query.where(rows.c[PROBABILITY].is_not(None))
    return counting.group_by(group, rows.c[UNIT]).subquery("units")


def _with_means(units: sa.Subquery, count: int) -> sa.Subquery:
    def total(name: str) -> sa.ColumnElement[float]:
        expanded = sa.type_coerce(units.c[name] / units.c.p, sa.Double)
        return sa.type_coerce(sa.func.sum(expanded).over(partition_by=units.c.g), sa.Double)

    means = (
        (total(f"y{i}") / sa.func.nullif(total(f"x{i}"), 0.0, type_=sa.Double)).label(f"mean{i}")
        for i in range(count)
    )
    return sa.select(units, *means).subquery("means")


def _shares(means: sa.Subquery, count: int) -> sa.Subquery:
    """Add the share of each unit in the variance of each mean."""
    p = sa.type_coerce(means.c.p, sa.Double)
    shares = []
    for i in range(count):
        own = sa.type_coerce(means.c[f"mean{i}"], sa.Double) * means.c[f"x{i}"]
        deviation = sa.type_coerce((means.c[f"y{i}"] - own) / p, sa.Double)
        part = sa.type_coerce((1 - p) * deviation * deviation, sa.Double)
        total = sa.type_coerce(sa.func.sum(part).over(partition_by=means.c.g), sa.Double)
        share = part / sa.func.nullif(total, 0.0, type_=sa.Double)
        shares.append(share.label(f"share{i}"))
    return sa.select(means, *shares).subquery("shares")
