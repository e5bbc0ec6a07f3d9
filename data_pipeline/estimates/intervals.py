"""What an estimate consists of, and how its interval follows from its standard error."""

import itertools
import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, Literal, NamedTuple

from data_pipeline.errors import ConfigurationError, UnsupportedDataError

if TYPE_CHECKING:
    import pandas as pd


def t_quantile(level: float, degrees_of_freedom: float) -> float:
    """Return the number t for which |T| <= t holds with a probability of `level`.

    Hill, G. W. (1970), Algorithm 396: Student's t-quantiles, Communications of the ACM 13(10),
    619-620. It is good to four digits and more, also for degrees of freedom that are no whole
    number. Between 1 and 2, where it is not, the exact ends are interpolated (at most 4 % wide).

    Args:
        level: Between 0 and 1, such as 0.95.
        degrees_of_freedom: At least 1; infinity gives the normal distribution.
    """
    n, tail = degrees_of_freedom, 1 - level
    if n > 1e9:
        return NormalDist().inv_cdf(1 - tail / 2)
    if n <= 2:
        one = 1 / math.tan(tail * math.pi / 2)
        two = math.sqrt(2 / (tail * (2 - tail)) - 2)
        return float(two * (one / two) ** (2 / n - 1))
    a = 1 / (n - 0.5)
    b = 48 / a**2
    c = ((20700 * a / b - 98) * a - 16) * a + 96.36
    d = ((94.5 / (b + c) - 3) / b + 1) * math.sqrt(a * math.pi / 2) * n
    y = (d * tail) ** (2 / n)
    if y > 0.05 + a:
        y = _near_normal(tail, n, (a, b, c, d))
    else:
        y = (
            (1 / (((n + 6) / (n * y) - 0.089 * d - 0.822) * (n + 2) * 3) + 0.5 / (n + 4)) * y - 1
        ) * (n + 1) / (n + 2) + 1 / y
    return math.sqrt(n * y)


def _near_normal(tail: float, n: float, terms: tuple[float, float, float, float]) -> float:
    """Return t^2 / n by an expansion about the normal quantile."""
    a, b, c, d = terms
    x = NormalDist().inv_cdf(tail / 2)
    y = x * x
    if n < 5:
        c += 0.3 * (n - 4.5) * (x + 0.6)
    c = (((0.05 * d * x - 5) * x - 7) * x - 2) * x + b + c
    y = (((((0.4 * y + 6.3) * y + 36) * y + 94.5) / c - y - 3) / b + 1) * x
    return math.expm1(a * y * y)


@dataclass(frozen=True)
class Estimate:
    """A number about the full data, as a sample tells it.

    What the sample cannot tell is NaN: a mean of no row, a standard error from a single unit.

    Attributes:
        value: The estimate.
        standard_error: The estimated standard deviation of `value` over all possible samples.
        low: Lower end of the confidence interval.
        high: Upper end of the confidence interval.
        units: Sampling units that contributed.
        rows: Rows that contributed.
    """

    value: float
    standard_error: float
    low: float
    high: float
    units: int
    rows: int


RESULT_COLUMNS = ["value", "standard_error", "low", "high", "units", "rows"]
"""Columns of a frame of estimates, after those of the groups."""


def half_width(standard_error: float, degrees_of_freedom: float, level: float) -> float:
    """Return half the length of a confidence interval; 0 where nothing is uncertain."""
    if standard_error == 0 or math.isnan(standard_error):
        return standard_error
    return standard_error * t_quantile(level, degrees_of_freedom)


def shift(skewness: float, half: float, standard_error: float, level: float) -> float:
    """Return how far the middle of an interval lies above the estimate, for its skewness.

    A sample without the largest values has a low estimate and a small standard error, too, so that
    symmetric intervals of skewed values miss the truth on one side. Johnson, N. J. (1978), Modified
    t tests and confidence intervals for asymmetrical populations, Journal of the American
    Statistical Association 73(363), 536-544; with the quantile, as Hall, P. (1992), The Bootstrap
    and Edgeworth Expansion, Springer, section 3.5 gives it. The estimate stays inside.
    """
    if not math.isfinite(skewness) or not math.isfinite(half):
        return 0.0
    z = NormalDist().inv_cdf((1 + level) / 2)
    return max(-half, min(half, skewness * (2 * z * z + 1) / 6 * standard_error))


def with_intervals(computed: "pd.DataFrame", by: Sequence[str], level: float) -> "pd.DataFrame":
    """Return estimates with their intervals.

    Args:
        computed: Columns `by`, `value`, `standard_error`, `degrees_of_freedom`, `skewness`,
            `units`, `rows`.
        by: The columns of the groups.
        level: The confidence level.
    """
    import pandas as pd

    errors = computed["standard_error"]
    halves = list(map(half_width, errors, computed["degrees_of_freedom"], itertools.repeat(level)))
    shifts = list(map(shift, computed["skewness"], halves, errors, itertools.repeat(level)))
    half, middle = (
        pd.Series(numbers, index=computed.index, dtype="float64") for numbers in (halves, shifts)
    )
    middle = computed["value"] + middle
    finished = computed.assign(low=middle - half, high=middle + half)
    return finished[[*by, *RESULT_COLUMNS]]


def check_level(level: float) -> None:
    """Raise a ConfigurationError unless the confidence level is a number between 0 and 1."""
    if not 0 < level < 1:
        raise ConfigurationError(
            f"A confidence level of {level} is impossible. Give a number between 0 and 1: 0.95."
        )


Design = Literal["poisson", "srs"]
"""How units were drawn: independently of each other, or a fixed number of them."""

PROBABILITY, UNIT, DESIGN, SAMPLE_SIZE = "probability", "unit", "design", "sample_size"


def fact_name(present: Collection[str], name: str) -> str:
    """Return what a column of the design is called among columns.

    Where a table had a column of one of these names, all of its weights begin with `sample_`.
    """
    prefix, longer = "", "sample_"
    while {f"{longer}{PROBABILITY}", f"{longer}{UNIT}"} <= set(present):
        prefix, longer = longer, f"{longer}sample_"
    return f"{prefix}{name}"


PROBLEMS = {
    "unit": "a row with a probability has no `unit`. Give each row that counts its unit",
    "range": "a `probability` is not in (0, 1]. Set it to NULL where a row must not count",
    "varies": "a `unit` has rows of different probability, design or sample size. Give each part "
    "of it that was drawn by itself a number of its own",
    "design": "a `design` is neither 'poisson' nor 'srs'. Correct the column, or pass `design`",
    "size": "a `sample_size` is below the number of units that were drawn with this probability. "
    "Count the units of the sample before any filter",
}
"""What the column `problem` of a computation stands for: its key, then what is wrong."""


class DesignChoice(NamedTuple):
    """What the caller says about the design; None: the column of that name, if there is one.

    Attributes:
        design: The design of all units. Without a column it is `poisson`.
        sample_size: Units drawn in all. Without a column it is the number of those found.
    """

    design: Design | None = None
    sample_size: int | None = None

    def check(self) -> None:
        """Raise a ConfigurationError unless the choice makes sense."""
        if self.design not in (None, "poisson", "srs"):
            raise ConfigurationError(
                f"There is no sampling design {self.design!r}. Choose 'poisson' or 'srs'."
            )
        if self.sample_size is not None and self.sample_size < 1:
            raise ConfigurationError(
                f"A sample of {self.sample_size} units is impossible. Give a `sample_size` of at "
                "least 1, or leave it out."
            )


def check_columns(where: str, present: list[str], by: list[str]) -> None:
    """Raise a ConfigurationError unless the columns of the design and the groups are there."""
    needed = (fact_name(present, PROBABILITY), fact_name(present, UNIT), *by)
    missing = [name for name in needed if name not in present]
    if missing:
        raise ConfigurationError(
            f"{where} has no column {', '.join(map(repr, missing))}. Estimates need the weighted "
            f"view of a sampled table; this has the columns {', '.join(map(repr, present))}."
        )


def check_problem(where: str, problem: object) -> None:
    """Raise an UnsupportedDataError when a computation found that the weights make no sense."""
    if isinstance(problem, str):
        raise UnsupportedDataError(f"No estimate from {where}: {PROBLEMS[problem]}.")
