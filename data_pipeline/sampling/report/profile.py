"""The profile of a table: its distribution over bins and categories, in one scan."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from data_pipeline.sampling.report.compared import number_of
from data_pipeline.sampling.report.key_columns import (
    KeyColumns,
    as_category,
    as_measure,
    as_number,
)

OTHER = "(other values)"
"""Stands for all values that are no categories of the sample."""


@dataclass(frozen=True)
class Group:
    """Some rows of a table.

    Attributes:
        count: Their number, or the sum of their weights.
        sums: The sum of each measure, weighted likewise.
        counts: The number of values of each measure, weighted likewise.
    """

    count: float
    sums: Mapping[str, float] = field(default_factory=dict)
    counts: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Profile:
    """What is compared of a table.

    Attributes:
        total: All rows.
        bins: For each column with cuts, the rows by bin: 0 below the first cut, `i` from the i-th
            cut to the next; None for NULL.
        groups: For each column with categories, the rows by category; None for NULL.
    """

    total: Group
    bins: Mapping[str, Mapping[int | None, float]]
    groups: Mapping[str, Mapping[str | None, Group]]


def profile(
    connection: sa.Connection,
    rows: sa.FromClause,
    columns: KeyColumns,
    weight: sa.ColumnElement[float] | None = None,
) -> Profile:
    """Gives the profile of some rows.

    Args:
        connection: To the database.
        rows: The rows.
        columns: What is compared.
        weight: How many rows each stands for; None: one.
    """
    binned = {name: cuts for name, cuts in columns.cuts.items() if cuts}
    labels: list[sa.Label[Any]] = [
        *(_bin(rows.c[name], cuts).label(f"b{i}") for i, (name, cuts) in enumerate(binned.items())),
        *(
            _category(rows.c[name], values).label(f"c{i}")
            for i, (name, values) in enumerate(columns.categories.items())
        ),
    ]
    measures = [as_measure(rows.c[name]).label(f"m{i}") for i, name in enumerate(columns.measures)]
    weighted = [] if weight is None else [weight.label("w")]
    columns_needed = [sa.literal(1).label("one"), *labels, *measures, *weighted]
    base = sa.select(*columns_needed).select_from(rows).subquery("base")
    keys = [base.c[label.name] for label in labels]
    sums = _sums(base, len(measures), is_weighted=weight is not None)
    query = sa.select(*([sa.func.grouping(*keys)] if keys else [sa.literal(0)]), *keys, *sums)
    query = query.select_from(base)
    if keys:
        query = query.group_by(
            sa.func.grouping_sets(sa.tuple_(), *(sa.tuple_(key) for key in keys))
        )
    found = [tuple(row) for row in connection.execute(query)]
    return _read(found, list(binned), list(columns.categories), columns.measures)


def _bin(column: sa.ColumnElement[Any], cuts: list[float]) -> sa.ColumnElement[int]:
    array = sa.cast(sa.literal(cuts, sa.ARRAY(sa.Double)), sa.ARRAY(sa.Double))
    return sa.func.width_bucket(as_number(column), array, type_=sa.Integer)


def _category(column: sa.ColumnElement[Any], values: list[str]) -> sa.ColumnElement[str]:
    text = as_category(column)
    known = sa.cast(sa.literal(values, sa.ARRAY(sa.Text)), sa.ARRAY(sa.Text))
    return sa.case((text.is_(None), sa.null()), (text == sa.any_(known), text), else_=OTHER)


def _sums(base: sa.Subquery, measures: int, *, is_weighted: bool) -> list[sa.ColumnElement[Any]]:
    w = base.c.w if is_weighted else None
    sums: list[sa.ColumnElement[Any]] = [sa.func.count() if w is None else sa.func.sum(w)]
    for i in range(measures):
        value = base.c[f"m{i}"]
        if w is None:
            sums += [sa.func.sum(value), sa.func.count(value)]
        else:
            sums += [sa.func.sum(w * value), sa.func.sum(w).filter(value.is_not(None))]
    return sums


def _read(
    found: list[tuple[Any, ...]], binned: list[str], grouped: list[str], measures: tuple[str, ...]
) -> Profile:
    columns = [*binned, *grouped]
    everything = (1 << len(columns)) - 1
    total = Group(0.0)
    bins: dict[str, dict[int | None, float]] = {name: {} for name in binned}
    groups: dict[str, dict[str | None, Group]] = {name: {} for name in grouped}
    for which, *values in found:
        group = _group(values[len(columns) :], measures)
        if which == everything:
            total = group
            continue
        # GROUPING has a bit for each column that was not grouped by, the last one lowest.
        place = next(i for i in range(len(columns)) if not which >> (len(columns) - 1 - i) & 1)
        name, value = columns[place], values[place]
        if place < len(binned):
            bins[name][value] = group.count
        else:
            groups[name][value] = group
    return Profile(total, bins, groups)


def _group(values: list[Any], measures: tuple[str, ...]) -> Group:
    count, *others = map(number_of, values)
    return Group(
        count,
        dict(zip(measures, others[0::2], strict=True)),
        dict(zip(measures, others[1::2], strict=True)),
    )
