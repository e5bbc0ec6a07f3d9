"""What became of the relationships: references that were lost, joins, and what they cost."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

import sqlalchemy as sa

from data_pipeline.database.identifiers import RelationName
from data_pipeline.instances.settings.limits_of_sample_checks import CheckSettings
from data_pipeline.results.data_checks import references
from data_pipeline.sampling.engine.masks import masked
from data_pipeline.sampling.plan.schema_graph import Relationship
from data_pipeline.sampling.report.figures.compared_columns import Ask
from data_pipeline.sampling.report.figures.figure import (
    WEIGHT,
    Compared,
    Figure,
    condition_column,
    number_of,
)
from data_pipeline.sampling.report.figures.moments import Moments
from data_pipeline.store.table_properties import ForeignKey

Tables = Mapping[str, Compared]


def violations(
    connection: sa.Connection,
    tables: Tables,
    item: Relationship,
    masks: Mapping[str, str],
    checks: CheckSettings,
) -> Figure:
    """Return how many references hold in the source but dangle in the sample."""
    parent = tables[item.parent]
    key = ForeignKey(item.columns, item.parent, item.referenced_columns, item.where)
    relations = (tables[item.child].sample, parent.sample)
    names = [RelationName(table.schema or "", table.name) for table in relations]
    rows = parent.source.alias("s")
    shown = (
        masked(masks[name], rows.c[name].type) if name in masks else rows.c[name]
        for name in dict.fromkeys(item.referenced_columns)
    )
    values = zip(dict.fromkeys(item.referenced_columns), shown, strict=True)
    source = sa.select(*(value.label(name) for name, value in values)).select_from(rows)
    elsewhere = source.subquery("elsewhere")
    count = references(connection, key, names[0], names[1], elsewhere).lost
    text = "references that hold in the source and dangle in the sample"
    figure = Figure(item.child, "reference violations", count, 0.0, item=str(item), text=text)
    return figure.judged(count, checks, "reference_violations")


def cut_references(
    connection: sa.Connection, table: Compared, column: str, *, is_masked: bool
) -> Figure:
    """Return how many references of a column are NULL in the sample alone."""
    text = "references are NULL since the rows that they refer to are not in the sample"
    if not table.key or is_masked:  # its rows are not told from those of the source
        return Figure(table.name, "references cut", None, column=column, text=text)
    rows, source = table.sample.alias("rows"), table.source.alias("source")
    same = (rows.c[name] == source.c[name] for name in table.key)
    query = sa.select(sa.func.count()).select_from(rows.join(source, sa.and_(*same)))
    cut = query.where(rows.c[column].is_(None), source.c[column].is_not(None))
    count = number_of(connection.scalar(cut))
    return Figure(table.name, "references cut", count, column=column, text=text)


def joins(
    asks: tuple[Ask, Ask],
    tables: Tables,
    items: list[Relationship],
    moments: Moments,
    checks: CheckSettings,
) -> Iterator[Figure]:
    """Return the rows of a child's joins that are kept, over what is expected, in one scan.

    Args:
        asks: Ask the database for rows of the source, and of the sample.
        tables: All tables.
        items: The relationships by which a child refers to others.
        moments: The moments of the child.
        checks: How far the share may be from 1.
    """
    child = tables[items[0].child]
    full = _joined(asks[0], child.source_rows("child"), tables, items, in_sample=False)
    sample = _joined(asks[1], child.weighted_rows("child"), tables, items, in_sample=True)
    chance = 4 / math.sqrt(moments.effective_size)
    for item, expected, kept in zip(items, full, sample, strict=True):
        if expected:
            ratio = kept / expected
            text = f"weighted rows of the join over the {expected:,.0f} of the source"
            figure = Figure(item.child, "join retention", ratio, 1.0, item=str(item), text=text)
            yield figure.judged(max(0.0, abs(ratio - 1) - chance), checks, "join_retention")


def _joined(
    ask: Ask,
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
        rows = parent.sample_rows(f"p{i}") if in_sample else parent.all_source_rows(f"p{i}")
        values = _referred_values(item, rows, f"values_{i}")
        joined = joined.outerjoin(values, _is_value(item, child, values))
        count = sa.func.sum(child.c[WEIGHT]) if in_sample else sa.func.count()
        counts.append(count.filter(values.c.k0.is_not(None)))
    [row] = ask(sa.select(*counts).select_from(joined))
    return [number_of(value) for value in row]


def design_effects(table: str, moments: Moments, checks: CheckSettings) -> Iterator[Figure]:
    """Return what sampling rows with their root costs."""
    if moments.rows and math.isfinite(moments.effective_size):
        text = "variance of the number of rows, over that of rows sampled one by one"
        figure = Figure(table, "design effect", moments.design_effect, text=text)
        yield figure.judged(moments.design_effect, checks, "design_effect")


def _refers(item: Relationship, child: sa.FromClause) -> sa.ColumnElement[bool]:
    """Return the condition that a row of the child refers to something at all."""
    parts: list[sa.ColumnElement[bool]] = [child.c[name].is_not(None) for name in item.columns]
    if item.where is not None:
        parts.append(child.c[condition_column(item.number)])
    return sa.and_(*parts)


def _referred_values(item: Relationship, parent: sa.FromClause, alias: str) -> sa.Subquery:
    """Return the values that can be referred to, each once, as columns `k0`, `k1`, ..."""
    columns = [parent.c[name] for name in item.referenced_columns]
    query = sa.select(*(column.label(f"k{i}") for i, column in enumerate(columns)))
    if not item.refers_to_key:
        query = query.where(sa.and_(*(column.is_not(None) for column in columns))).distinct()
    return query.subquery(alias)


def _is_value(
    item: Relationship, child: sa.FromClause, values: sa.FromClause
) -> sa.ColumnElement[bool]:
    """Return the condition that a row of the child refers to one of the values."""
    pairs = [child.c[name] == values.c[f"k{i}"] for i, name in enumerate(item.columns)]
    return sa.and_(_refers(item, child), *pairs)
