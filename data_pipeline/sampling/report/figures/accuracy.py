"""How well the weighted rows of a sample tell the counts, sums, means and shapes of the source."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from data_pipeline.instances.settings.limits_of_sample_checks import CheckSettings
from data_pipeline.sampling.report.figures.compared_columns import KeyColumns, Profile
from data_pipeline.sampling.report.figures.figure import Figure
from data_pipeline.sampling.report.figures.moments import Moments

Bins = Mapping[int | None, float]
Groups = Mapping[str | None, float]


def ks_distance(full: Bins, sample: Bins) -> float | None:
    """Return the largest difference of the cumulative shares at the cuts, of rows with a value.

    Between cuts, of which there are up to 500 with an equal share of the sample each, it may be up
    to a 500th larger.

    Args:
        full: Rows by bin, None for NULL.
        sample: Weights by bin.

    Returns:
        The distance; None where one of them has no value.
    """
    totals = [_values(item) for item in (full, sample)]
    if not all(totals):
        return None
    largest = below_full = below_sample = 0.0
    for number in sorted({n for item in (full, sample) for n in item if n is not None}):
        below_full += full.get(number, 0.0) / totals[0]
        below_sample += sample.get(number, 0.0) / totals[1]
        largest = max(largest, abs(below_full - below_sample))
    return largest


def total_variation(full: Groups, sample: Groups) -> float | None:
    """Return half the sum of differences of shares over categories, NULL being one.

    It is None where one of them has no rows.
    """
    shares = list(_shares(full, sample))
    return sum(abs(p - q) for p, q in shares) / 2 if shares else None


def expected_variation(full: Groups, effective_size: float) -> float:
    """Return the total variation that a random sample has on average.

    Args:
        full: Rows by category.
        effective_size: The sample's number of independent rows.
    """
    total = sum(full.values())
    parts = [count / total for count in full.values()] if total else []
    return sum(math.sqrt(p * (1 - p) / (2 * math.pi * effective_size)) for p in parts)


def for_one_of(columns: int, excess: float) -> float:
    """Return how far a distance is, in roots of the effective size, if it were the only one.

    Args:
        columns: The number of columns that are looked at.
        excess: The distance, times the root of the effective size.
    """
    return math.sqrt(max(0.0, excess**2 - math.log(max(columns, 1)) / 2))


def _values(bins: Bins) -> float:
    return sum(count for number, count in bins.items() if number is not None)


def _shares(full: Groups, sample: Groups) -> Iterator[tuple[float, float]]:
    totals = [sum(item.values()) for item in (full, sample)]
    if not all(totals):
        return
    for value in {**full, **sample}:
        yield full.get(value, 0.0) / totals[0], sample.get(value, 0.0) / totals[1]


_ROUNDING = 1e-9

_FEW = 30
"""With fewer independent rows, 95 % intervals of skewed values contain the truth in 90 %."""


@dataclass(frozen=True)
class Accuracy:
    """Source and weighted sample of one table, side by side.

    Attributes:
        table: The table.
        columns: What is compared.
        full: The profile of the source.
        sample: That of the weighted sample.
        moments: What the sample says of the errors of its estimates.
    """

    table: str
    columns: KeyColumns
    full: Profile
    sample: Profile
    moments: Moments

    @property
    def compared_columns(self) -> int:
        """The number of columns whose distributions are compared."""
        return len(self.full.bins) + len(self.full.groups)


def accuracy(found: Accuracy, checks: CheckSettings, columns: int) -> Iterator[Figure]:
    """Return the figures of one table.

    Args:
        found: Source and sample.
        checks: How far they may be from each other.
        columns: The number of columns of all tables whose distributions are compared.
    """
    size = found.moments.effective_size
    if not found.moments.rows:
        return
    text = "rows drawn one by one from an endless source that would tell as much"
    if math.isinf(size):
        text = "all rows are certain"
    elif size < _FEW:
        text += "; too few to trust intervals of skewed values, and of groups"
    shown = None if math.isinf(size) else size
    yield Figure(found.table, "effective sample size", shown, text=text)
    yield from _estimates(found, checks)
    yield from _distances(found, checks, columns)


def _estimates(found: Accuracy, checks: CheckSettings) -> Iterator[Figure]:
    value, error = found.moments.count()
    yield _estimate(found, checks, "weighted count", None, value, error, found.full.rows)
    for column in found.columns.measures:
        value, error = found.moments.total(column)
        truth = found.full.sums[column]
        yield _estimate(found, checks, "weighted sum", column, value, error, truth)
        mean = found.moments.mean(column)
        count = found.full.counts[column]
        if mean is not None and count:
            yield _estimate(found, checks, "weighted mean", column, *mean, truth / count)


def _estimate(
    found: Accuracy,
    checks: CheckSettings,
    measure: str,
    column: str | None,
    value: float,
    error: float,
    truth: float,
) -> Figure:
    distance = abs(value - truth)
    if distance <= _ROUNDING * max(abs(truth), abs(value)):
        figure = Figure(found.table, measure, value, truth, column, text="exact")
        return figure.judged(0.0, checks, "estimates")
    off = f"{100 * distance / abs(truth):.2f} % off" if truth else "infinitely off"
    errors = distance / error if error else math.inf
    text = f"{off}, {errors:.1f} standard errors" if error else off
    figure = Figure(found.table, measure, value, truth, column, text=text)
    return figure.judged(errors, checks, "estimates")


def _distances(found: Accuracy, checks: CheckSettings, columns: int) -> Iterator[Figure]:
    root = math.sqrt(found.moments.effective_size)
    for name, bins in found.full.bins.items():
        distance = ks_distance(bins, found.sample.bins[name])
        if distance is None:
            continue
        allowed = math.sqrt(1.36**2 + math.log(max(columns, 1)) / 2) / root
        figure = Figure(
            found.table,
            "KS distance",
            distance,
            allowed,
            name,
            text="weighted Kolmogorov-Smirnov distance; a random sample is seldom above the second",
        )
        yield figure.judged(for_one_of(columns, _excess(distance, 0.0, root)), checks, "ks")
    for name, groups in found.full.groups.items():
        distance = total_variation(groups, found.sample.groups[name])
        if distance is None:
            continue
        average = expected_variation(groups, root**2)
        figure = Figure(
            found.table,
            "total variation",
            distance,
            average,
            name,
            text="of the weighted categories; the second is that of random samples on average",
        )
        excess = for_one_of(columns, _excess(distance, average, root))
        yield figure.judged(excess, checks, "total_variation")


def _excess(distance: float, expected: float, root: float) -> float:
    """Return how far a distance is above the expected one, in roots of the effective size."""
    above = distance - expected
    if above <= _ROUNDING:
        return 0.0
    return above * root
