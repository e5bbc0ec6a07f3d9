"""Estimates computed by PostgreSQL: one SELECT, no rows through the client."""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from data_pipeline.sampling.estimates.design import Design, DesignChoice, check_columns
from data_pipeline.sampling.estimates.unit_sums import (
    NAN,
    Float,
    SqlMeasure,
    counting_rows,
    keys,
    relation_name,
    unit_sums,
)


def estimate_query(
    relation: sa.FromClause | sa.Select[Any],
    numerator: SqlMeasure,
    denominator: SqlMeasure | None = None,
    *,
    by: Sequence[str] = (),
    design: Design | None = None,
    sample_size: int | None = None,
) -> sa.Select[Any]:
    """Gives the query for a total, or for a ratio of two totals.

    Use it where the result should stay in the database: an asset may return it. `total`, `mean`,
    `ratio` and `count` run it and add the interval. What is computed is in the package's docstring.

    Args:
        relation: Data with the columns of `design`: the weighted view of a sampled table.
        numerator: What is summed up.
        denominator: What its total is divided by; 1 gives the mean, None leaves the total.
        by: Columns whose values make groups.
        design: How units were drawn; default: the column of that name, or `poisson`.
        sample_size: Units that a simple random sample drew; default: the column of that name, or
            the number of units in the relation.

    Returns:
        A query of the columns `by`, `value`, `standard_error`, `degrees_of_freedom`, `units`,
        `rows` and `problem`, which is NULL unless the weights make no sense (see `PROBLEMS`).

    Raises:
        ConfigurationError: A column is missing, or the design is impossible.
        UnsupportedDataError: A measure is not a number or boolean.
    """
    choice = DesignChoice(design, sample_size)
    choice.check()
    source = relation.subquery() if isinstance(relation, sa.Select) else relation
    check_columns(relation_name(source), list(source.c.keys()), list(by))
    units = unit_sums(counting_rows(source, numerator, denominator, by, choice), len(by))
    contributions = _contributions(_linearised(units, len(by), denominator is not None), len(by))
    groups = [contributions.c[f"group_{i}"].label(name) for i, name in enumerate(by)]
    results = _results(contributions, denominator is not None)
    query = sa.select(*groups, *results).select_from(contributions)
    if not by:
        return query
    by_group = keys(contributions, len(by))
    return query.group_by(*by_group).order_by(*by_group)


def _linearised(units: sa.CTE, groups: int, is_ratio: bool) -> sa.CTE:
    """Adds the estimate, and `z`: what a unit contributes to its deviation from the truth."""
    u = units.c
    window: dict[str, Any] = {"partition_by": keys(units, groups) or None}
    z: Float = sa.type_coerce(u.y / u.p, sa.Double)
    value: Float = sa.type_coerce(sa.func.sum(z).over(**window), sa.Double)
    if is_ratio:
        base: Float = sa.func.nullif(sa.func.sum(u.x / u.p).over(**window), 0.0, type_=sa.Double)
        value = sa.type_coerce(value / base, sa.Double)
        z = sa.type_coerce((u.y - value * u.x) / u.p / base, sa.Double)
    return sa.select(units, value.label("value"), z.label("z")).cte("linearised")


def _contributions(linearised: sa.CTE, groups: int) -> sa.CTE:
    """Adds what each unit contributes to the variance, and to the sum of squares of these.

    Units that were drawn but have no row in the group deviate from the mean too, all by the same;
    the units of the stratum that have rows share what they contribute.
    """
    u = linearised.c
    window: dict[str, Any] = {"partition_by": [*keys(linearised, groups), u.p, u.srs, u.drawn]}
    mean = sa.case((u.srs, sa.func.sum(u.z).over(**window) / u.drawn), else_=0.0)
    absent = u.drawn / sa.func.count().over(**window) - 1
    factor = sa.case(
        (u.p == 1, 0.0),
        (sa.not_(u.srs), 1 - u.p),
        (u.drawn == 1, NAN),
        else_=(1 - u.p) * u.drawn / (sa.func.nullif(u.drawn, 1.0, type_=sa.Double) - 1),
    )
    of_unit, of_absent = factor * (u.z - mean) * (u.z - mean), factor * mean * mean
    return sa.select(
        linearised,
        (of_unit + absent * of_absent).label("variance"),
        (of_unit * of_unit + absent * of_absent * of_absent).label("squares"),
    ).cte("contributions")


def _results(contributions: sa.CTE, is_ratio: bool) -> list[sa.ColumnElement[Any]]:
    u = contributions.c
    variance, squares = sa.func.sum(u.variance), sa.func.sum(u.squares)
    counted = sa.func.count().filter(u.rows > 0)
    unknown = counted == 0
    if is_ratio:
        unknown |= (counted == 1) & (sa.func.count().filter((u.rows > 0) & (u.p < 1)) == 1)
    error = sa.case((unknown, NAN), else_=sa.func.coalesce(sa.func.sqrt(variance), NAN))
    degrees = variance * variance / sa.func.nullif(squares, 0.0, type_=sa.Double) - 1
    nothing = NAN if is_ratio else sa.literal(0.0, sa.Double)
    return [
        sa.func.coalesce(sa.func.min(u.value), nothing, type_=sa.Double).label("value"),
        sa.type_coerce(error, sa.Double).label("standard_error"),
        sa.func.greatest(degrees, 1.0, type_=sa.Double).label("degrees_of_freedom"),
        counted.label("units"),
        sa.cast(sa.func.coalesce(sa.func.sum(u.rows), 0), sa.BigInteger).label("rows"),
        sa.func.max(u.problem).label("problem"),
    ]
