"""Weighted counts, sums and means of a table, with what tells their standard errors, in one pass.

The formulas are those of `data_pipeline.estimates`, which estimates one number at a time;
here all of a table come from one grouping of its rows by sampling unit.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from data_pipeline.sampling.report.figures.figure import PROBABILITY, UNIT, number_of


@dataclass(frozen=True)
class Stratum:
    """Units of one inclusion probability.

    Attributes:
        probability: Their probability.
        units: How many there are.
        drawn: How many were drawn, also such without rows here, where their number was fixed
            beforehand; None where each was drawn by itself.
        rows: Their rows.
        squared_rows: Sum over units of the squared number of rows.
        sums: By measure, the sum of its values, that of squared sums of units, the number of rows
            with a value, that of squared numbers of units, and that of products of both.
    """

    probability: float
    units: int
    drawn: int | None
    rows: float
    squared_rows: float
    sums: Mapping[str, tuple[float, float, float, float, float]]


@dataclass(frozen=True)
class Moments:
    """What the random part of a sample says of a table."""

    strata: tuple[Stratum, ...]

    @property
    def rows(self) -> float:
        """Rows of the random sample."""
        return sum(item.rows for item in self.strata)

    @property
    def weight(self) -> float:
        """The sum of all weights: the estimated number of rows."""
        return sum(item.rows / item.probability for item in self.strata)

    @property
    def effective_size(self) -> float:
        """Independent rows, each for itself in the sample, that would tell as much.

        (sum of weights)^2 over the sum of (1 - p) (weight of a unit's rows)^2 (Kish 1965, Survey
        Sampling, with units for rows): as if all rows of a unit were alike, so at least so many.
        Infinite where all rows are certain.
        """
        uncertain = sum(s.squared_rows * _factor(s) for s in self.strata)
        return self.weight**2 / uncertain if uncertain else math.inf

    @property
    def design_effect(self) -> float:
        """Variance of the estimated number of rows, over that of sampling rows one by one."""
        alone = sum(s.rows * _factor(s) for s in self.strata)
        return sum(s.squared_rows * _factor(s) for s in self.strata) / alone if alone else 1.0

    def count(self) -> tuple[float, float]:
        """Return the estimated number of rows, and its standard error."""
        variance = sum(_variance(s, s.rows, s.squared_rows) for s in self.strata)
        return self.weight, math.sqrt(variance)

    def total(self, measure: str) -> tuple[float, float]:
        """Return the estimated sum of a measure, and its standard error."""
        found = [(s, *s.sums[measure]) for s in self.strata]
        variance = sum(_variance(s, y, yy) for s, y, yy, _, _, _ in found)
        return sum(y / s.probability for s, y, *_ in found), math.sqrt(variance)

    def mean(self, measure: str) -> tuple[float, float] | None:
        """Return the estimated mean of a measure, and its standard error; None without a value."""
        found = [(s, *s.sums[measure]) for s in self.strata]
        base = sum(x / s.probability for s, _, _, x, _, _ in found)
        if not base:
            return None
        mean = sum(y / s.probability for s, y, *_ in found) / base
        variance = sum(
            _variance(s, y - mean * x, yy - 2 * mean * xy + mean * mean * xx)
            / _kept(s, base, x, xx)
            for s, y, yy, x, xx, xy in found
        )
        return mean, math.sqrt(variance) / base


def moments(
    connection: sa.Connection,
    rows: sa.FromClause,
    measures: Mapping[str, sa.ColumnElement[Any]],
    drawn: tuple[float, int] | None,
) -> Moments:
    """Return the moments of the weighted rows of a table.

    Args:
        connection: To the database.
        rows: The rows with probability and unit.
        measures: What is summed up, as double precision, by name.
        drawn: Probability and number of units whose number was fixed beforehand.
    """
    sums: list[sa.Label[Any]] = []
    for i, value in enumerate(measures.values()):
        sums.append(sa.func.coalesce(sa.func.sum(value), 0.0).label(f"y{i}"))
        sums.append(sa.cast(sa.func.count(value), sa.Double).label(f"x{i}"))
    probability, number = rows.c[PROBABILITY], sa.cast(sa.func.count(), sa.Double)
    units = (
        sa.select(sa.func.min(probability).label("p"), number.label("n"), *sums)
        .where(probability.is_not(None))
        .group_by(rows.c[UNIT])
        .subquery("units")
    )
    u = units.c
    parts: list[sa.ColumnElement[Any]] = [u.p, sa.func.count()]
    parts += [sa.func.sum(u.n), sa.func.sum(u.n * u.n)]
    for i in range(len(measures)):
        y, x = u[f"y{i}"], u[f"x{i}"]
        parts += [sa.func.sum(part) for part in (y, y * y, x, x * x, x * y)]
    found = connection.execute(sa.select(*parts).group_by(u.p).order_by(u.p))
    return Moments(tuple(_stratum(row, list(measures), drawn) for row in found))


def _stratum(
    row: Sequence[Any], measures: Sequence[str], drawn: tuple[float, int] | None
) -> Stratum:
    probability, units, n, nn, *others = row
    fixed = drawn is not None and math.isclose(probability, drawn[0], rel_tol=1e-12)
    sums = {}
    for i, name in enumerate(measures):
        y, yy, x, xx, xy = (number_of(value) for value in others[5 * i : 5 * i + 5])
        sums[name] = (y, yy, x, xx, xy)
    return Stratum(
        probability=float(probability),
        units=int(units),
        drawn=max(drawn[1], int(units)) if fixed and drawn is not None else None,
        rows=float(n),
        squared_rows=float(nn),
        sums=sums,
    )


def _factor(stratum: Stratum) -> float:
    return (1 - stratum.probability) / stratum.probability**2


def _variance(stratum: Stratum, total: float, squares: float) -> float:
    """Return the variance of an expanded total: Poisson, or simple random sampling of units."""
    factor = _factor(stratum)
    if stratum.drawn is None or stratum.drawn < 2:
        return max(0.0, factor * squares)
    n = stratum.drawn
    return max(0.0, factor * n / (n - 1) * (squares - total * total / n))


def _kept(stratum: Stratum, base: float, counted: float, squares: float) -> float:
    """Return what is left of a unit's squared deviation from a mean, which lies nearer to it.

    That of the estimates (see there), for units of average size.

    Args:
        stratum: The stratum.
        base: The estimated number of rows with a value, in all strata.
        counted: Those of the stratum's units.
        squares: The sum of their squares over units.
    """
    if not counted:
        return 1.0
    share = min(1.0, squares / counted / stratum.probability / base)
    if stratum.drawn is None:
        return 1 - (1 - stratum.probability) * share
    n = stratum.drawn
    return 1.0 if n < 2 else max(1 / n, min(1.0, (1 - share) * n / (n - 1)))
