"""What became of the relationships: references that were lost, joins, and numbers of children."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

import sqlalchemy as sa

from data_pipeline.instances.settings.sample import CheckSettings
from data_pipeline.sampling.plan.schema_graph import Relationship
from data_pipeline.sampling.report.figures.figure import (
    WEIGHT,
    Compared,
    Figure,
    is_value,
    number_of,
    referred_values,
    refers,
)
from data_pipeline.sampling.report.figures.moments import Moments

Tables = Mapping[str, Compared]


def violations(
    connection: sa.Connection, tables: Tables, item: Relationship, checks: CheckSettings
) -> Figure:
    """Return how many references hold in the source but dangle in the sample."""
    child = tables[item.child].sample_rows("child")
    there = referred_values(item, tables[item.parent].sample_rows("here"), "there")
    behind = referred_values(item, tables[item.parent].source_rows("origin"), "behind")
    lost = sa.select(sa.func.count()).where(
        refers(item, child),
        ~sa.exists().where(is_value(item, child, there)),
        sa.exists().where(is_value(item, child, behind)),
    )
    count = number_of(connection.scalar(lost.select_from(child)))
    text = "references that hold in the source and dangle in the sample"
    figure = Figure(item.child, "reference violations", count, 0.0, item=str(item), text=text)
    return figure.judged(count, checks, "reference_violations")


def joins(
    connection: sa.Connection,
    tables: Tables,
    items: list[Relationship],
    moments: Moments,
    checks: CheckSettings,
) -> Iterator[Figure]:
    """Return the rows of a child's joins that are kept, over what is expected, in one scan.

    Args:
        connection: To the database.
        tables: All tables.
        items: The relationships by which a child refers to others.
        moments: The moments of the child.
        checks: How far the share may be from 1.
    """
    child = tables[items[0].child]
    full = _joined(connection, child.source_rows("child"), tables, items, in_sample=False)
    sample = _joined(connection, child.weighted_rows("child"), tables, items, in_sample=True)
    chance = 4 / math.sqrt(moments.effective_size)
    for item, expected, kept in zip(items, full, sample, strict=True):
        if expected:
            ratio = kept / expected
            text = f"weighted rows of the join over the {expected:,.0f} of the source"
            figure = Figure(item.child, "join retention", ratio, 1.0, item=str(item), text=text)
            yield figure.judged(max(0.0, abs(ratio - 1) - chance), checks, "join_retention")


def _joined(
    connection: sa.Connection,
    child: sa.Subquery,
    tables: Tables,
    items: list[Relationship],
    *,
    in_sample: bool,
) -> list[float]:
    joined: sa.FromClause = child
    counts: list[sa.ColumnElement[Any]] = []
    for i, item in enumerate(items):
        parent = tables[item.parent]
        rows = parent.sample_rows(f"p{i}") if in_sample else parent.source_rows(f"p{i}")
        values = referred_values(item, rows, f"values_{i}")
        joined = joined.outerjoin(values, is_value(item, child, values))
        count = sa.func.sum(child.c[WEIGHT]) if in_sample else sa.func.count()
        counts.append(count.filter(values.c.k0.is_not(None)))
    row = connection.execute(sa.select(*counts).select_from(joined)).one()
    return [number_of(value) for value in row]


def fan_outs(
    connection: sa.Connection, tables: Tables, item: Relationship
) -> dict[int, tuple[int, int]]:
    """Return for each number of children how many parents have it, in all and in the sample."""
    child = tables[item.child].source_rows("child")
    columns = [child.c[name] for name in item.columns]
    counted = (
        sa.select(*(c.label(f"k{i}") for i, c in enumerate(columns)), sa.func.count().label("n"))
        .where(refers(item, child))
        .group_by(*columns)
        .subquery("counted")
    )
    parents = referred_values(item, tables[item.parent].source_rows("origin"), "parents")
    here = referred_values(item, tables[item.parent].sample_rows("here"), "chosen")
    number = sa.func.coalesce(counted.c.n, 0)
    query = (
        sa.select(number, sa.func.count(), sa.func.count(here.c.k0))
        .select_from(
            parents.outerjoin(counted, _same(parents, counted, item)).outerjoin(
                here, _same(parents, here, item)
            )
        )
        .group_by(number)
    )
    return {int(n): (int(all_), int(there)) for n, all_, there in connection.execute(query)}


def fan_out_coverage(
    item: Relationship, counts: Mapping[int, tuple[int, int]], checks: CheckSettings
) -> Figure | None:
    """Say whether parents with no, one and the most children are there, as far as there are any.

    Args:
        item: The relationship.
        counts: Parents by number of children, in all and in the sample.
        checks: How many may be missing.
    """
    if not counts:
        return None
    wanted = {0: "no child", 1: "one child", max(counts): f"the most children ({max(counts):,})"}
    wanted = {n: text for n, text in wanted.items() if n in counts}
    missing = [text for n, text in wanted.items() if not counts[n][1]]
    share = len(missing) / len(wanted)
    text = f"no witness: parent with {', '.join(missing)}" if missing else "all obligations are met"
    met = len(wanted) - len(missing)
    figure = Figure(item.parent, "coverage", met, len(wanted), item=str(item), text=text)
    return figure.judged(share, checks, "uncovered")


def design_effects(
    table: str, moments: Moments, predicted: float | None, checks: CheckSettings
) -> Iterator[Figure]:
    """Return what sampling rows with their root costs, and what was to be expected of it.

    Args:
        table: The table.
        moments: What the sample says.
        predicted: What the source said before copying, for children of a root.
        checks: How large it may be.
    """
    if predicted is not None:
        figure = Figure(
            table,
            "predicted design effect",
            predicted,
            text="from the numbers of children in the source, before copying",
        )
        yield figure.judged(predicted, checks, "design_effect")
    if moments.rows and math.isfinite(moments.effective_size):
        figure = Figure(
            table,
            "design effect",
            moments.design_effect,
            predicted,
            text="variance of the number of rows, over that of rows sampled one by one",
        )
        yield figure.judged(moments.design_effect, checks, "design_effect")


def _same(one: sa.FromClause, other: sa.FromClause, item: Relationship) -> sa.ColumnElement[bool]:
    return sa.and_(*(one.c[f"k{i}"] == other.c[f"k{i}"] for i in range(len(item.columns))))
