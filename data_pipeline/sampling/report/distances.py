"""How far the weighted distribution of a sample is from that of its source.

A weighted sample of n independent rows has a Kolmogorov-Smirnov distance above c / sqrt(n) with a
probability of 2 exp(-2 c^2) (Smirnov 1948, Annals of Mathematical Statistics 19(2); 5 % at 1.36).
Of m columns, each may have an m-th of that (Bonferroni), which takes c^2 + log(m) / 2 for c^2.
The expected total variation is the sum over categories of sqrt(p (1 - p) / (2 pi n)) (half the
mean absolute deviation of a normal distribution); that it is c / sqrt(n) above has a probability
of at most exp(-2 c^2) (McDiarmid 1989, Surveys in Combinatorics).
"""

import math
from collections.abc import Iterator, Mapping

Bins = Mapping[int | None, float]
Groups = Mapping[str | None, float]


def ks_distance(full: Bins, sample: Bins) -> float | None:
    """Gives the largest difference of the cumulative shares at the cuts, of rows with a value.

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
    """Gives half the sum of differences of shares over categories, NULL being one.

    It is None where one of them has no rows.
    """
    shares = list(_shares(full, sample))
    return sum(abs(p - q) for p, q in shares) / 2 if shares else None


def expected_variation(full: Groups, effective_size: float) -> float:
    """Gives the total variation that a random sample has on average.

    Args:
        full: Rows by category.
        effective_size: The sample's number of independent rows.
    """
    total = sum(full.values())
    parts = [count / total for count in full.values()] if total else []
    return sum(math.sqrt(p * (1 - p) / (2 * math.pi * effective_size)) for p in parts)


def for_one_of(columns: int, excess: float) -> float:
    """Gives how far a distance is, in roots of the effective size, if it were the only one.

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
