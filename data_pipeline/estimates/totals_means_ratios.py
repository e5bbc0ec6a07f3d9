"""Totals, counts, means and ratios from a weighted sample, with their confidence intervals."""

from collections.abc import Callable, Sequence
from typing import Any, TypedDict, Unpack, overload

import numpy as np
import numpy.typing as npt
import pandas as pd
import sqlalchemy as sa

from data_pipeline.errors import ConfigurationError
from data_pipeline.estimates.frame_sums import (
    FrameMeasure,
    computed_estimates,
    design_columns,
    problem_of,
)
from data_pipeline.estimates.intervals import (
    PROBABILITY,
    RESULT_COLUMNS,
    Design,
    DesignChoice,
    Estimate,
    check_columns,
    check_level,
    check_problem,
    fact_name,
    half_width,
    with_intervals,
)
from data_pipeline.estimates.sql import SqlMeasure, estimate_query, relation_name

Weighted = pd.DataFrame | sa.FromClause | sa.Select[Any]
"""Data with the columns of `design`: a frame, a table or view, or a query."""
Measure = SqlMeasure | FrameMeasure
"""A column by name, an expression of the data's columns, or one number for every row."""


class Options(TypedDict, total=False):
    """What all estimates can be told beside their measure.

    Attributes:
        level: The confidence level; default 0.95.
        design: How units were drawn; default: the column of that name, or `poisson`.
        sample_size: Units that a simple random sample drew, counting those without a row in the
            data; default: the column of that name, or the number of units in the data.
        connection: Where the relation is; a frame needs none.
    """

    level: float
    design: Design | None
    sample_size: int | None
    connection: sa.Connection


@overload
def total(data: Weighted, measure: Measure, **options: Unpack[Options]) -> Estimate: ...
@overload
def total(
    data: Weighted, measure: Measure, *, by: Sequence[str], **options: Unpack[Options]
) -> pd.DataFrame: ...
def total(
    data: Weighted,
    measure: Measure,
    *,
    by: Sequence[str] | None = None,
    **options: Unpack[Options],
) -> Estimate | pd.DataFrame:
    """Estimate the sum over all rows of the full data; a missing value adds nothing.

    Args:
        data: The weighted view of a sampled table, or a frame of it.
        measure: What is summed up; the sum of a boolean counts the rows for which it holds.
        by: Columns whose values make groups; a missing value makes one too.
        options: See `Options`.

    Returns:
        One estimate; with `by` a frame with the columns `by` and those of `Estimate`.

    Raises:
        ConfigurationError: A column or the connection is missing, or an option is impossible.
        UnsupportedDataError: The measure is no number, or the weights make no sense.
    """
    return _estimated(data, measure, None, by, options)


@overload
def count(data: Weighted, **options: Unpack[Options]) -> Estimate: ...
@overload
def count(data: Weighted, *, by: Sequence[str], **options: Unpack[Options]) -> pd.DataFrame: ...
def count(
    data: Weighted, *, by: Sequence[str] | None = None, **options: Unpack[Options]
) -> Estimate | pd.DataFrame:
    """Estimate the number of rows of the full data; otherwise like `total`."""
    return _estimated(data, 1.0, None, by, options)


@overload
def mean(data: Weighted, measure: Measure, **options: Unpack[Options]) -> Estimate: ...
@overload
def mean(
    data: Weighted, measure: Measure, *, by: Sequence[str], **options: Unpack[Options]
) -> pd.DataFrame: ...
def mean(
    data: Weighted,
    measure: Measure,
    *,
    by: Sequence[str] | None = None,
    **options: Unpack[Options],
) -> Estimate | pd.DataFrame:
    """Estimate the mean over the rows that have a value; otherwise like `total`.

    The mean of a boolean is the share of rows for which it holds.
    """
    return _estimated(data, measure, 1.0, by, options)


@overload
def ratio(
    data: Weighted, numerator: Measure, denominator: Measure, **options: Unpack[Options]
) -> Estimate: ...
@overload
def ratio(
    data: Weighted,
    numerator: Measure,
    denominator: Measure,
    *,
    by: Sequence[str],
    **options: Unpack[Options],
) -> pd.DataFrame: ...
def ratio(
    data: Weighted,
    numerator: Measure,
    denominator: Measure,
    *,
    by: Sequence[str] | None = None,
    **options: Unpack[Options],
) -> Estimate | pd.DataFrame:
    """Estimate a total over another, of the rows that have both values; otherwise like `total`."""
    return _estimated(data, numerator, denominator, by, options)


def _estimated(
    data: Weighted,
    numerator: Measure,
    denominator: Measure | None,
    by: Sequence[str] | None,
    options: Options,
) -> Estimate | pd.DataFrame:
    level = options.get("level", 0.95)
    check_level(level)
    groups = list(by or ())
    _check_groups(groups)
    choice = DesignChoice(options.get("design"), options.get("sample_size"))
    computed = _computed(data, numerator, denominator, groups, choice, options.get("connection"))
    finished = with_intervals(computed, groups, level)
    if by is not None:
        return finished
    row = finished.iloc[0]
    value, error, low, high = (float(row[name]) for name in RESULT_COLUMNS[:4])
    return Estimate(value, error, low, high, units=int(row["units"]), rows=int(row["rows"]))


def _check_groups(by: list[str]) -> None:
    taken = [name for name in by if name in RESULT_COLUMNS]
    if taken or len(set(by)) < len(by):
        raise ConfigurationError(
            f"Groups by {by} would give two columns of the same name. Name each column once, and "
            f"rename those called {', '.join(RESULT_COLUMNS)}."
        )


def _computed(
    data: Weighted,
    numerator: Any,
    denominator: Any,
    by: list[str],
    choice: DesignChoice,
    connection: sa.Connection | None,
) -> pd.DataFrame:
    if isinstance(data, pd.DataFrame):
        computed, where = computed_estimates(data, numerator, denominator, by, choice), "the frame"
    else:
        query = estimate_query(data, numerator, denominator, by=by, **choice._asdict())
        where = "the query" if isinstance(data, sa.Select) else relation_name(data)
        if connection is None:
            raise ConfigurationError(
                f"An estimate from {where} is computed in the database. Pass `connection`."
            )
        result = connection.execute(query)
        computed = pd.DataFrame(result.all(), columns=pd.Index(result.keys()))
    for problem in computed["problem"].dropna().unique():
        check_problem(where, problem)
    return computed


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
