"""How well the weighted rows of a sample tell the counts, sums, means and shapes of the source."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from data_pipeline.instances.sample_settings import CheckSettings
from data_pipeline.sampling.report.distances import (
    expected_variation,
    for_one_of,
    ks_distance,
    total_variation,
)
from data_pipeline.sampling.report.figures import Figure, relative_error
from data_pipeline.sampling.report.key_columns import KeyColumns
from data_pipeline.sampling.report.moments import Moments
from data_pipeline.sampling.report.profile import Profile

_ROUNDING = 1e-9


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
    """Gives the figures of one table.

    Args:
        found: Source and sample.
        checks: How far they may be from each other.
        columns: The number of columns of all tables whose distributions are compared.
    """
    size = found.moments.effective_size
    if not found.moments.rows:
        return
    yield Figure(
        found.table,
        "effective sample size",
        None if math.isinf(size) else size,
        text="all rows are certain"
        if math.isinf(size)
        else "rows drawn one by one from an endless source that would tell as much",
    )
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
    off = relative_error(value, truth)
    figure = Figure(found.table, measure, value, truth, column)
    distance = abs(value - truth)
    if distance <= _ROUNDING * max(abs(truth), abs(value)):
        figure = Figure(found.table, measure, value, truth, column, text="exact")
        return figure.judged(0.0, checks, "estimates").judged(0.0, checks, "relative_error")
    errors = distance / error if error else math.inf
    text = f"{_percent(off)} off, {errors:.1f} standard errors" if error else f"{_percent(off)} off"
    figure = Figure(found.table, measure, value, truth, column, text=text)
    judged = figure.judged(errors, checks, "estimates")
    if judged.passed is False and judged.severity == "error":
        return judged
    strict = figure.judged(math.inf if off is None else off, checks, "relative_error")
    return strict if strict.passed is False else judged


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
    """Gives how far a distance is above the expected one, in roots of the effective size."""
    above = distance - expected
    if above <= _ROUNDING:
        return 0.0
    return above * root


def _percent(off: float | None) -> str:
    return "infinitely" if off is None else f"{100 * off:.2f} %"
