"""The interval of a statistic of one's own from a weighted sample: a delete-a-group jackknife."""

from collections.abc import Callable
from typing import Any, Unpack

import numpy as np
import numpy.typing as npt
import pandas as pd

from data_pipeline.errors import ConfigurationError
from data_pipeline.estimates.frame_sums import design_columns, problem_of
from data_pipeline.estimates.intervals import (
    PROBABILITY,
    DesignChoice,
    Estimate,
    check_columns,
    check_level,
    check_problem,
    fact_name,
    half_width,
)
from data_pipeline.estimates.totals_means_ratios import Options

Weights = npt.NDArray[np.float64]
Statistic = Callable[[pd.DataFrame, Weights], float]
"""Gives a number from a frame and the weight of each of its rows."""

_SEED = 20_050_401  # the same groups in every run


def interval(
    frame: pd.DataFrame, statistic: Statistic, *, groups: int = 100, **options: Unpack[Options]
) -> Estimate:
    """Estimate a statistic of the full data by a delete-a-group jackknife.

    Use it for what `total`, `mean` and `ratio` do not give, and only for smooth statistics that
    stay the same when all weights are multiplied by a number: ratios, correlations, log loss, ROC
    AUC; not for totals and not for minimum or maximum.

    The units are dealt to groups. One group after the other gives up its weight to the others, to
    the extent to which its units are uncertain: by sqrt(1 - probability), so that units that are in
    every sample keep theirs. Weights stay above zero. The variance is (groups - 1) / groups times
    the sum of the squared changes of the statistic; its degrees of freedom are those of
    `estimates`, with a group in place of a unit.

    Kott, P. S. (2001), The delete-a-group jackknife, Journal of Official Statistics 17(4), 521-526.
    Rao, J. N. K. and Wu, C. F. J. (1988), Resampling inference with complex survey data, Journal of
    the American Statistical Association 83(401), 231-241 (weights scaled for large rates).

    Example:
        `interval(frame, lambda rows, weights: roc_auc_score(rows.late, rows.score,
        sample_weight=weights))`

    Args:
        frame: Rows with the columns of `design`; those without a probability are left out.
        statistic: Called with the rows that count and their weights, once for each group and once
            for all.
        groups: How many groups; no more than units are made.
        options: `level` and `design`, as for `total`.

    Returns:
        The estimate. Its standard error is NaN when there is a single, uncertain unit, or when the
        statistic is NaN without some group.

    Raises:
        ConfigurationError: A column is missing, there are fewer than two groups, or an option is
            impossible.
        UnsupportedDataError: The weights make no sense.
    """
    level = options.get("level", 0.95)
    check_level(level)
    if groups < 2:
        raise ConfigurationError(
            f"A jackknife of {groups} groups is impossible. Ask for 2 or more."
        )
    choice = DesignChoice(options.get("design"), options.get("sample_size"))
    choice.check()
    check_columns("The frame", list(frame.columns), [])
    rows = frame[frame[fact_name(frame.columns, PROBABILITY)].notna().to_numpy(dtype=bool)]
    design = design_columns(rows, choice)
    check_problem("the frame", problem_of(design))
    weights = 1 / design["p"].to_numpy()
    value = float(statistic(rows, weights)) if len(rows) else np.nan
    changes = [
        float(statistic(rows, weights * factors)) - value for factors in _replicates(design, groups)
    ]
    units = design["unit"].nunique()
    error, degrees = _spread(np.array(changes), bool((design["p"] == 1).all()), units)
    half = half_width(error, degrees, level)
    return Estimate(value, error, value - half, value + half, units, len(rows))


def _replicates(design: pd.DataFrame, groups: int) -> Any:
    """Yield the factors of the weights of all rows, for one group after the other."""
    uncertain = design.loc[design["p"] < 1, ["unit", "p"]].drop_duplicates("unit")
    count = min(groups, len(uncertain))
    if count < 2:
        return
    # Dealt by probability, so that each group has its share of the units of each weight.
    drawn = uncertain.sort_values("unit")
    chance = np.random.default_rng(_SEED).random(len(drawn))
    order = np.lexsort((chance, drawn["p"].to_numpy()))
    group = pd.Series(np.arange(len(drawn)) % count, index=drawn["unit"].to_numpy()[order])
    of_row = design["unit"].map(group).fillna(-1).to_numpy(dtype=np.int64)
    extent = np.sqrt(1 - design["p"].to_numpy())
    for number in range(count):
        yield 1 + extent * np.where(of_row == number, -1, 1 / (count - 1))


def _spread(changes: Weights, all_certain: bool, units: int) -> tuple[float, float]:
    """Return the standard error and its degrees of freedom from the changes by each group."""
    if not len(changes):
        return (0.0 if all_certain and units else np.nan), 1.0
    squares = changes**2
    count, total = len(changes), float(squares.sum())
    if total == 0 or np.isnan(total):
        return total, 1.0
    degrees = max(1.0, total**2 / float((squares**2).sum()) - 1)
    return float(np.sqrt((count - 1) / count * total)), degrees
