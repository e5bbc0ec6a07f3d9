"""What a change does to full, from the rows of a sample before and after it.

Both versions come from the same sampled units, so each unit tells what the change does to it. The
total of that over full is estimated as any other total (Horvitz and Thompson 1952; this is the
difference estimator of Saerndal et al. 1992, chapter 6), with the interval of `estimates`. What all
units have in common cancels out, which two independent samples could not know. That of a mean is
the difference of two ratios; a unit counts with the difference of its residuals (Taylor
linearisation, chapter 5 there), so that the units that did not change are looked at, too. All of it
is summed up in the database.

With few changed units such intervals are too narrow. Then the number of units of full is bounded:
if more than U of them changed, so few of them in the sample would have had a probability below 5 %
(the exact binomial bound of Clopper and Pearson 1934, Biometrika 26(4)).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from data_pipeline.database.connection import run
from data_pipeline.database.identifiers import RelationName, quoted
from data_pipeline.difference.columns import ColumnPair
from data_pipeline.difference.effect_on_full.units import NO_UNIT, Units
from data_pipeline.difference.result import Effect, EffectFigure
from data_pipeline.difference.rows import RowComparison
from data_pipeline.estimates.intervals import (
    DESIGN,
    PROBABILITY,
    SAMPLE_SIZE,
    UNIT,
    half_width,
    shift,
)

LEAST_UNITS = 30
"""From so many changed units on, intervals are given."""

LEVEL = 0.95
_MOST_SUMS = 4
_LARGEST, _SMALLEST = "1e60", "1e-60"  # fourth powers of these are within the range of floats
_OWN = frozenset({UNIT, PROBABILITY, SAMPLE_SIZE, "weight"})


@dataclass(frozen=True)
class Powers:
    """Sums over units of the powers of something: of z, f z^2, f^1.5 z^3 and f^2 z^4.

    z is what a unit tells, over its probability p. f is 1 - p where each unit was drawn by itself,
    and 1 where the number of units was fixed beforehand.
    """

    first: float
    second: float
    third: float
    fourth: float


@dataclass(frozen=True)
class EffectStratum:
    """Units that were drawn in one way.

    Attributes:
        probability: Their probability, where their number was fixed beforehand; else None.
        drawn: That number.
        units: How many of them have rows in the table.
        changed: How many of these changed.
        uncertain: How many of those are not in every sample.
        powers: For each figure.
    """

    probability: float | None
    drawn: int
    units: int
    changed: int
    uncertain: int
    powers: Sequence[Powers]

    def spread(self, number: int) -> tuple[float, float, float]:
        """Return the variance of a total, the sum of the squares of its parts, and of the cubes.

        These are the formulas of `data_pipeline.estimates`, by powers.
        """
        z = self.powers[number]
        if self.probability is None:
            return z.second, z.fourth, z.third
        if self.probability >= 1:
            return 0.0, 0.0, 0.0
        n = max(self.drawn, self.units)
        factor = (1 - self.probability) * (n / (n - 1) if n > 1 else 1.0)
        m = z.first / n
        fourth = z.fourth - 4 * m * z.third + 6 * m**2 * z.second - 4 * m**3 * z.first + n * m**4
        third = z.third - 3 * m * z.second + 3 * m**2 * z.first - n * m**3
        second = max(0.0, z.second - m * z.first)
        return factor * second, factor**2 * max(0.0, fourth), factor**1.5 * third


@dataclass(frozen=True)
class _Mean:
    """The mean of a column in one version, as the sample estimates it."""

    value: float
    rows: float


def units_bound(changed: int, probability: float) -> float:
    """Return how many units of full change at most, with 95 % confidence.

    Args:
        changed: The sampled units that change.
        probability: The smallest probability with which a unit is in the sample.
    """
    if probability >= 1:
        return float(changed)
    low, high = changed, changed + 8
    while _at_most(changed, high, probability) >= 1 - LEVEL:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        if _at_most(changed, middle, probability) >= 1 - LEVEL:
            low = middle
        else:
            high = middle
    return float(low)


def _at_most(successes: int, trials: int, probability: float) -> float:
    """Return the probability of so many successes at most."""
    if successes >= trials:
        return 1.0
    terms = (
        math.lgamma(trials + 1)
        - math.lgamma(k + 1)
        - math.lgamma(trials - k + 1)
        + k * math.log(probability)
        + (trials - k) * math.log1p(-probability)
        for k in range(successes + 1)
    )
    return math.fsum(math.exp(term) for term in terms)


def least_probability(
    connection: sa.Connection, relation: RelationName, units: Units
) -> float | None:
    """Return the smallest probability with which a unit is in a sample; None without any.

    Args:
        connection: A transaction.
        relation: A table of the sample.
        units: How to find the unit of its rows.
    """
    place = relation if units.roles is None else units.roles.relation
    least = run(connection, f"SELECT min({quoted(PROBABILITY)}) FROM {place.quoted}").scalar_one()
    return None if least is None else float(least)


def effect(
    connection: sa.Connection,
    comparison: RowComparison,
    units: Units | None,
    changed: Sequence[str],
) -> Effect:
    """Return the effect on full of the rows that differ.

    Args:
        connection: A connection.
        comparison: How rows are paired.
        units: How to find the unit of a row.
        changed: The columns that differ, those with the most changed rows first.
    """
    if units is None or not comparison.key:
        return Effect(0, math.inf, (), NO_UNIT)
    pairs = [pair for name in changed if (pair := comparison.columns.pair(name)) is not None]
    numbers = [p for p in pairs if p.before.is_number and p.after.is_number and p.name not in _OWN]
    sums = numbers[:_MOST_SUMS]
    means = {} if comparison.faults else _means(connection, comparison, units, sums)
    with_mean = [pair for pair in sums if pair.name in means]
    found = run(connection, _query(comparison, units, sums, with_mean, means))
    strata = [_stratum(row) for row in found]
    figures: list[tuple[str, float | None]] = [("rows changed", None), ("rows", None)]
    figures += [(f"sum of {pair.name}", None) for pair in sums]
    for pair in with_mean:
        before, after = means[pair.name]
        figures.append((f"mean of {pair.name}", after.value - before.value))
    return estimated(strata, figures, least_probability(connection, comparison.after, units) or 1.0)


def _means(
    connection: sa.Connection, comparison: RowComparison, units: Units, pairs: Sequence[ColumnPair]
) -> dict[str, tuple[_Mean, _Mean]]:
    """Return the estimated means of columns before and after, where both have values."""
    if not pairs:
        return {}
    sides = []
    for alias, relation in (("a", comparison.before), ("b", comparison.after)):
        p = units.facts(alias)[PROBABILITY]
        values = [_finite(alias, pair) for pair in pairs]
        parts = [f"sum({v} / {p}), sum(1 / {p}) FILTER (WHERE {v} IS NOT NULL)" for v in values]
        query = f"SELECT {', '.join(parts)} FROM {relation.quoted} AS {alias}{units.join(alias)}"
        row = run(connection, query).one()
        sides.append([(row[2 * n], row[2 * n + 1]) for n in range(len(pairs))])
    return {
        pair.name: (_Mean(old / rows_then, rows_then), _Mean(new / rows_now, rows_now))
        for pair, (old, rows_then), (new, rows_now) in zip(pairs, *sides, strict=True)
        if rows_then and rows_now
    }


def _query(
    comparison: RowComparison,
    units: Units,
    sums: Sequence[ColumnPair],
    with_mean: Sequence[ColumnPair],
    means: dict[str, tuple[_Mean, _Mean]],
) -> str:
    """Return the query for the powers of what the change does to units, by how they were drawn."""
    before, after = units.facts("a"), units.facts("b")
    facts = [f"coalesce({after[name]}, {before[name]}) AS {quoted(name)}" for name in before]
    differs = f"{comparison.is_added} OR {comparison.is_removed} OR {comparison.any_differs}"
    values = [
        f"CASE WHEN {differs} THEN 1 ELSE 0 END",
        f"CASE WHEN {comparison.is_added} THEN 1 WHEN {comparison.is_removed} THEN -1 ELSE 0 END",
        *(
            f"coalesce({_finite('b', pair)}, 0) - coalesce({_finite('a', pair)}, 0)"
            for pair in sums
        ),
        *(
            f"{_residual('b', pair, means[pair.name][1])} - "
            f"{_residual('a', pair, means[pair.name][0])}"
            for pair in with_mean
        ),
    ]
    named = [f"{value} AS y{n}" for n, value in enumerate(values)]
    rows = (
        f"SELECT {', '.join([*facts, *named])} "
        f"FROM {comparison.joined()}{units.join('a')}{units.join('b')}"
    )
    if not with_mean:
        rows += f" WHERE {differs}"
    p = f"min({quoted(PROBABILITY)})"
    told = ["(sum(y0) > 0)::int::float8 / {p}", *(f"sum(y{n}) / {{p}}" for n in range(len(values)))]
    expanded = ", ".join(f"{text.format(p=p)} AS w{n}" for n, text in enumerate(told))
    by_unit = (
        f"SELECT {p} AS p, min({quoted(DESIGN)}) = 'srs' AS srs, "
        f"min({quoted(SAMPLE_SIZE)}) AS size, {expanded} FROM ({rows}) AS touched "
        f"WHERE {quoted(PROBABILITY)} IS NOT NULL GROUP BY {quoted(UNIT)}"
    )
    within = ", ".join(
        f"CASE WHEN abs(w{n}) BETWEEN {_SMALLEST} AND {_LARGEST} THEN w{n} ELSE 0 END AS z{n}"
        for n in range(len(told))
    )
    powers = "".join(
        f", sum(z{n}), sum(f * z{n} * z{n}), sum(f * sqrt(f) * z{n} * z{n} * z{n}), "
        f"sum(f * f * z{n} * z{n} * z{n} * z{n})"
        for n in range(len(told))
    )
    return (
        f"SELECT g, coalesce(max(size), 0), count(*), count(*) FILTER (WHERE z0 > 0), "
        f"count(*) FILTER (WHERE z0 > 0 AND p < 1){powers} FROM ("
        f"SELECT p, size, CASE WHEN srs THEN p END AS g, CASE WHEN srs THEN 1 ELSE 1 - p END AS f, "
        f"{within} FROM ({by_unit}) AS units) AS strata GROUP BY g, CASE WHEN g > 0 THEN size END"
    )


def _finite(alias: str, pair: ColumnPair) -> str:
    """Return the SQL of a number; NULL where none can be computed with it."""
    column = pair.before if alias == "a" else pair.after
    return column.as_float(f"{alias}.{quoted(pair.name)}")


def _residual(alias: str, pair: ColumnPair, mean: _Mean) -> str:
    return f"coalesce(({_finite(alias, pair)} - {_number(mean.value)}) / {_number(mean.rows)}, 0)"


def _number(value: float) -> str:
    return f"'{value!r}'::float8"


def _stratum(row: Sequence[float]) -> EffectStratum:
    probability, drawn, units, changed, uncertain, *found = row
    powers = [Powers(*map(float, found[n : n + 4])) for n in range(0, len(found), 4)]
    return EffectStratum(probability, int(drawn), int(units), int(changed), int(uncertain), powers)


def estimated(
    strata: Sequence[EffectStratum], names: Sequence[tuple[str, float | None]], least: float
) -> Effect:
    """Return the effect on full of what units tell.

    Args:
        strata: What they tell: the number of changed units, rows that differ, the number of rows,
            then as in `names`.
        names: The figures behind the first, and their values where these are no totals.
        least: The smallest probability with which a unit is in the sample.
    """
    changed = sum(stratum.changed for stratum in strata)
    if changed < LEAST_UNITS:
        uncertain = sum(stratum.uncertain for stratum in strata)
        most = changed - uncertain + units_bound(uncertain, least)
        seen = f"{changed} sampled units changed" if changed else "no sampled unit changed"
        text = f"{seen}: with 95 % confidence, at most {most:,.0f} units of full change"
        return Effect(changed, most, (), text)
    figures = []
    for number, (name, value) in enumerate(names, start=1):
        found = _figure(strata, number, name, value)
        if name != "rows" or found.high or found.low:
            figures.append(found)
    most = _figure(strata, 0, "units", None).high
    text = f"{changed:,} sampled units changed; what that means for full, from paired rows:"
    return Effect(changed, most, tuple(figures), text)


def _figure(
    strata: Sequence[EffectStratum], number: int, name: str, value: float | None
) -> EffectFigure:
    if value is None:
        value = math.fsum(stratum.powers[number].first for stratum in strata)
    spreads = [stratum.spread(number) for stratum in strata]
    variance, squares, cubes = (math.fsum(item) for item in zip(*spreads, strict=True))
    degrees = max(1.0, variance**2 / squares - 1) if squares else 1.0
    error = math.sqrt(variance)
    half = half_width(error, degrees, LEVEL)
    middle = value + shift(cubes / error**3 if error else 0.0, half, error, LEVEL)
    return EffectFigure(name, value, middle - half, middle + half)
