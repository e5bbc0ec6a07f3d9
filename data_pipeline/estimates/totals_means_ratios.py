"""Totals, counts, means and ratios from a weighted sample, with their confidence intervals."""

from collections.abc import Sequence
from typing import Any, TypedDict, Unpack, overload

import pandas as pd
import sqlalchemy as sa

from data_pipeline.errors import ConfigurationError
from data_pipeline.estimates.frame_sums import (
    FrameMeasure,
    computed_estimates,
)
from data_pipeline.estimates.intervals import (
    RESULT_COLUMNS,
    Design,
    DesignChoice,
    Estimate,
    check_level,
    check_problem,
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
