"""Estimates computed by PostgreSQL: one SELECT, no rows through the client."""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from data_pipeline.errors import UnsupportedDataError
from data_pipeline.estimates.intervals import (
    DESIGN,
    PROBABILITY,
    SAMPLE_SIZE,
    UNIT,
    Design,
    DesignChoice,
    check_columns,
    fact_name,
)

Float = sa.ColumnElement[float]
SqlMeasure = str | float | sa.ColumnElement[Any]
"""A column by name, an expression of columns, or a number that is the same in every row."""
NAN = sa.cast(sa.literal_column("'NaN'"), sa.Double)


def relation_name(relation: sa.FromClause) -> str:
    """Return the name of a relation, for messages."""
    if isinstance(relation, sa.Table):
        return f"`{relation.fullname}`"
    return "the query" if isinstance(relation, sa.Subquery) else f"`{relation}`"


def counting_rows(
    source: sa.FromClause,
    numerator: SqlMeasure,
    denominator: SqlMeasure | None,
    by: Sequence[str],
    choice: DesignChoice,
) -> sa.CTE:
    """Return the rows of the random sample with group, design and measures in standard columns.

    Where one of the measures is missing, `present` is false and both count as zero.
    """
    y = _number(source, numerator)
    x = _number(source, 0.0 if denominator is None else denominator)
    present = y.is_not(None) & x.is_not(None)
    return (
        sa.select(
            *(source.c[name].label(f"group_{i}") for i, name in enumerate(by)),
            source.c[fact_name(source.c.keys(), UNIT)].label("unit"),
            sa.cast(source.c[fact_name(source.c.keys(), PROBABILITY)], sa.Double).label("p"),
            _design(source, choice).label("design"),
            _sample_size(source, choice).label("size"),
            present.label("present"),
            sa.case((present, y), else_=0.0).label("y"),
            sa.case((present, x), else_=0.0).label("x"),
        )
        .where(source.c[fact_name(source.c.keys(), PROBABILITY)].is_not(None))
        .cte("counting_rows")
    )


def _number(source: sa.FromClause, measure: SqlMeasure) -> Float:
    """The measure as double precision; NULL where it is missing."""
    if isinstance(measure, int | float):
        return sa.cast(sa.literal(float(measure)), sa.Double)
    if isinstance(measure, str):
        check_columns(relation_name(source), list(source.c.keys()), [measure])
        measure = source.c[measure]
    type_ = measure.type
    match type_.data_type if isinstance(type_, postgresql.DOMAIN) else type_:
        case sa.Boolean():
            return sa.cast(sa.cast(measure, sa.Integer), sa.Double)
        case sa.Integer() | sa.Numeric() | sa.Float():
            return sa.func.nullif(sa.cast(measure, sa.Double), NAN, type_=sa.Double)
        case _:
            raise UnsupportedDataError(
                f"`{measure}` of {relation_name(source)} has type {type_!r}. Estimates are "
                "of numbers and booleans; cast it, or count rows by its values."
            )


def _design(source: sa.FromClause, choice: DesignChoice) -> sa.ColumnElement[str]:
    name = fact_name(source.c.keys(), DESIGN)
    if choice.design is None and name in source.c:
        return sa.cast(source.c[name], sa.Text)
    return sa.cast(sa.literal(choice.design or "poisson"), sa.Text)


def _sample_size(source: sa.FromClause, choice: DesignChoice) -> sa.ColumnElement[int]:
    name = fact_name(source.c.keys(), SAMPLE_SIZE)
    if choice.sample_size is None and name in source.c:
        return sa.cast(source.c[name], sa.BigInteger)
    return sa.cast(sa.literal(choice.sample_size, sa.BigInteger), sa.BigInteger)


def unit_sums(rows: sa.CTE, groups: int) -> sa.CTE:
    """Return one row for each unit and group: its sums, its design, and the problem with it."""
    by_unit = [*keys(rows, groups), rows.c.unit]
    found = (
        sa.select(
            *by_unit,
            sa.func.min(rows.c.p).label("p"),
            sa.func.max(rows.c.p).label("p_most"),
            sa.func.min(rows.c.design).label("design"),
            sa.func.max(rows.c.design).label("design_most"),
            sa.func.min(rows.c.size).label("size"),
            sa.func.max(rows.c.size).label("size_most"),
            sa.func.sum(rows.c.y).label("y"),
            sa.func.sum(rows.c.x).label("x"),
            sa.func.count().filter(rows.c.present).label("rows"),
        )
        .group_by(*by_unit)
        .cte("unit_sums")
    )
    return _with_strata(found, groups)


def _with_strata(found: sa.CTE, groups: int) -> sa.CTE:
    """Add the number of units that were drawn with each one, and what is wrong."""
    in_stratum = (
        sa.select(found.c.p, found.c.design, found.c.size)
        .add_columns(sa.func.count(found.c.unit.distinct()).label("found"))
        .group_by(found.c.p, found.c.design, found.c.size)
        .cte("strata")
    )
    u, s = found.c, in_stratum.c
    of_unit: dict[str, Any] = {"partition_by": u.unit}
    varies = sa.or_(
        *(
            sa.func.min(low).over(**of_unit) != sa.func.max(high).over(**of_unit)
            for low, high in ((u.p, u.p_most), (u.design, u.design_most), (u.size, u.size_most))
        )
    )
    problem = sa.case(
        (u.unit.is_(None), "unit"),
        (sa.not_((u.p > 0) & (u.p_most <= 1)), "range"),
        (varies, "varies"),
        (sa.func.coalesce(u.design, "").not_in(["poisson", "srs"]) & (u.p < 1), "design"),
        ((u.design == "srs") & (u.p < 1) & (s.found > u.size), "size"),
    )
    same = (s.p == u.p) & (s.design.is_not_distinct_from(u.design))
    return (
        sa.select(
            *keys(found, groups),
            u.unit,
            sa.func.nullif(u.p, 0.0, type_=sa.Double).label("p"),
            sa.func.coalesce(u.design == "srs", sa.false()).label("srs"),
            sa.cast(sa.func.coalesce(u.size, sa.func.greatest(s.found, 1)), sa.Double).label(
                "drawn"
            ),
            u.y,
            u.x,
            u.rows,
            problem.label("problem"),
        )
        .join_from(found, in_stratum, same & s.size.is_not_distinct_from(u.size))
        .cte("units")
    )


def keys(relation: sa.FromClause, groups: int) -> list[sa.ColumnElement[Any]]:
    """Return the columns of the groups, which carry numbers on the way to keep clear of others."""
    return [relation.c[f"group_{i}"] for i in range(groups)]


def estimate_query(
    relation: sa.FromClause | sa.Select[Any],
    numerator: SqlMeasure,
    denominator: SqlMeasure | None = None,
    *,
    by: Sequence[str] = (),
    design: Design | None = None,
    sample_size: int | None = None,
) -> sa.Select[Any]:
    """Return the query for a total, or for a ratio of two totals.

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
        A query of the columns `by`, `value`, `standard_error`, `degrees_of_freedom`, `skewness`,
        `units`, `rows` and `problem`, which is NULL unless the weights make no sense (see
        `PROBLEMS`).

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
    """Add the estimate, `z`: what a unit contributes to its deviation from the truth, and `kept`.

    `kept` is the share of its squared deviation that is left on average, since its own values move
    the estimate towards them.
    """
    u = units.c
    window: dict[str, Any] = {"partition_by": keys(units, groups) or None}
    z: Float = sa.type_coerce(u.y / u.p, sa.Double)
    value: Float = sa.type_coerce(sa.func.sum(z).over(**window), sa.Double)
    kept: Float = sa.literal(1.0, sa.Double)
    if is_ratio:
        base: Float = sa.func.nullif(sa.func.sum(u.x / u.p).over(**window), 0.0, type_=sa.Double)
        value = sa.type_coerce(value / base, sa.Double)
        z = sa.type_coerce((u.y - value * u.x) / u.p / base, sa.Double)
        share = sa.func.greatest(0.0, sa.func.least(1.0, u.x / u.p / base), type_=sa.Double)
        others = (1 - share) * u.drawn / sa.func.nullif(u.drawn - 1, 0.0, type_=sa.Double)
        within = sa.func.greatest(1 / u.drawn, sa.func.least(1.0, others), type_=sa.Double)
        kept = sa.case((u.srs, within), else_=1 - (1 - u.p) * share)
    linearised = (value.label("value"), z.label("z"), kept.label("kept"))
    return sa.select(units, *linearised).cte("linearised")


def _contributions(linearised: sa.CTE, groups: int) -> sa.CTE:
    """Add what each unit contributes to the variance, and to sums of its powers.

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
    of_unit, of_absent = factor * (u.z - mean) * (u.z - mean) / u.kept, factor * mean * mean
    return sa.select(
        linearised,
        (of_unit + absent * of_absent).label("variance"),
        (of_unit * of_unit + absent * of_absent * of_absent).label("squares"),
        (_cube(of_unit, u.z - mean) + absent * _cube(of_absent, -mean)).label("cubes"),
    ).cte("contributions")


def _cube(contribution: Any, deviation: Any) -> Any:
    """Return the third power of a deviation of which the second one is a contribution."""
    # It is negative where a probability is over 1, which is refused when the query has run.
    return sa.func.sign(deviation) * contribution * sa.func.sqrt(sa.func.abs(contribution))


def _results(contributions: sa.CTE, is_ratio: bool) -> list[sa.ColumnElement[Any]]:
    u = contributions.c
    variance, squares = sa.func.sum(u.variance), sa.func.sum(u.squares)
    counted = sa.func.count().filter(u.rows > 0)
    unknown = counted == 0
    if is_ratio:
        unknown |= (counted == 1) & (sa.func.count().filter((u.rows > 0) & (u.p < 1)) == 1)
    error = sa.case((unknown, NAN), else_=sa.func.coalesce(sa.func.sqrt(variance), NAN))
    degrees = variance * variance / sa.func.nullif(squares, 0.0, type_=sa.Double) - 1
    cubed = variance * sa.func.sqrt(variance)
    skewness = sa.func.sum(u.cubes) / sa.func.nullif(cubed, 0.0, type_=sa.Double)
    nothing = NAN if is_ratio else sa.literal(0.0, sa.Double)
    return [
        sa.func.coalesce(sa.func.min(u.value), nothing, type_=sa.Double).label("value"),
        sa.type_coerce(error, sa.Double).label("standard_error"),
        sa.func.greatest(degrees, 1.0, type_=sa.Double).label("degrees_of_freedom"),
        sa.func.coalesce(skewness, 0.0, type_=sa.Double).label("skewness"),
        counted.label("units"),
        sa.cast(sa.func.coalesce(sa.func.sum(u.rows), 0), sa.BigInteger).label("rows"),
        sa.func.max(u.problem).label("problem"),
    ]
