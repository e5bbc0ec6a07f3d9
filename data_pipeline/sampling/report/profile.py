"""The profile of a table: its distribution over bins and categories, in one scan."""

from collections.abc import Mapping
from dataclasses import dataclass
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
class Profile:
    """What is compared of a table; of a weighted sample, sums of weights stand for numbers of rows.

    Attributes:
        rows: The number of rows.
        sums: The sum of each measure; none of a weighted sample (see `moments`).
        counts: The number of values of each measure, likewise.
        bins: For each column with cuts, the rows by bin: 0 below the first cut, `i` from the i-th
            cut to the next; None for NULL.
        groups: For each column with categories, the rows by category; None for NULL.
    """

    rows: float
    sums: Mapping[str, float]
    counts: Mapping[str, float]
    bins: Mapping[str, Mapping[int | None, float]]
    groups: Mapping[str, Mapping[str | None, float]]


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
    names = columns.measures if weight is None else ()
    measures = [as_measure(rows.c[name]).label(f"m{i}") for i, name in enumerate(names)]
    weighted = [] if weight is None else [weight.label("w")]
    columns_needed = [sa.literal(1).label("one"), *labels, *measures, *weighted]
    base = sa.select(*columns_needed).select_from(rows).subquery("base")
    keys = [base.c[label.name] for label in labels]
    sums = [sa.func.count() if weight is None else sa.func.sum(base.c.w)]
    for measure in measures:
        value = base.c[measure.name]
        sums += [sa.func.sum(value), sa.func.count(value)]
    query = sa.select(*([sa.func.grouping(*keys)] if keys else [sa.literal(0)]), *keys, *sums)
    query = query.select_from(base)
    if keys:
        query = query.group_by(
            sa.func.grouping_sets(sa.tuple_(), *(sa.tuple_(key) for key in keys))
        )
    found = [tuple(row) for row in connection.execute(query)]
    return _read(found, list(binned), list(columns.categories), names)


def _bin(column: sa.ColumnElement[Any], cuts: list[float]) -> sa.ColumnElement[int]:
    array = sa.cast(sa.literal(cuts, sa.ARRAY(sa.Double)), sa.ARRAY(sa.Double))
    return sa.func.width_bucket(as_number(column), array, type_=sa.Integer)


def _category(column: sa.ColumnElement[Any], values: list[str]) -> sa.ColumnElement[str]:
    text = as_category(column)
    known = sa.cast(sa.literal(values, sa.ARRAY(sa.Text)), sa.ARRAY(sa.Text))
    return sa.case((text.is_(None), sa.null()), (text == sa.any_(known), text), else_=OTHER)


def _read(
    found: list[tuple[Any, ...]], binned: list[str], grouped: list[str], measures: tuple[str, ...]
) -> Profile:
    columns = [*binned, *grouped]
    everything = (1 << len(columns)) - 1
    total = [0.0] * (1 + 2 * len(measures))
    bins: dict[str, dict[int | None, float]] = {name: {} for name in binned}
    groups: dict[str, dict[str | None, float]] = {name: {} for name in grouped}
    for which, *values in found:
        numbers = [number_of(value) for value in values[len(columns) :]]
        if which == everything:
            total = numbers
            continue
        # GROUPING has a bit for each column that was not grouped by, the last one lowest.
        place = next(i for i in range(len(columns)) if not which >> (len(columns) - 1 - i) & 1)
        name, value = columns[place], values[place]
        if place < len(binned):
            bins[name][value] = numbers[0]
        else:
            groups[name][value] = numbers[0]
    rows, *others = total
    sums, counts = (dict(zip(measures, others[i::2], strict=True)) for i in (0, 1))
    return Profile(rows, sums, counts, bins, groups)
