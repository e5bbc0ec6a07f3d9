"""What an estimate consists of, and how its interval follows from its standard error."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from data_pipeline.errors import ConfigurationError
from data_pipeline.sampling.estimates.student_t import t_quantile


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
    """Gives half the length of a confidence interval; 0 where nothing is uncertain."""
    if standard_error == 0 or math.isnan(standard_error):
        return standard_error
    return standard_error * t_quantile(level, degrees_of_freedom)


def with_intervals(computed: pd.DataFrame, by: Sequence[str], level: float) -> pd.DataFrame:
    """Gives estimates with their intervals.

    Args:
        computed: Columns `by`, `value`, `standard_error`, `degrees_of_freedom`, `units`, `rows`.
        by: The columns of the groups.
        level: The confidence level.
    """
    half = pd.Series(
        [
            half_width(error, degrees, level)
            for error, degrees in zip(
                computed["standard_error"], computed["degrees_of_freedom"], strict=True
            )
        ],
        index=computed.index,
        dtype="float64",
    )
    finished = computed.assign(low=computed["value"] - half, high=computed["value"] + half)
    return finished[[*by, *RESULT_COLUMNS]]


def check_level(level: float) -> None:
    """Raises a ConfigurationError unless the confidence level is a number between 0 and 1."""
    if not 0 < level < 1:
        raise ConfigurationError(
            f"A confidence level of {level} is impossible. Give a number between 0 and 1: 0.95."
        )
