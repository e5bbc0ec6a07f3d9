"""The columns that a report compares, and their distributions over bins and categories."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from data_pipeline.sampling.plan.schema_graph import TIMESTAMP, TIMESTAMP_WITH_ZONE, type_kind
from data_pipeline.sampling.report.figures.figure import PROBABILITY, Compared, number_of

_NUMBERS = frozenset({"integer", "float", "numeric"})
_TIMES = frozenset({"date", "time", "interval", TIMESTAMP, TIMESTAMP_WITH_ZONE})
_WORDS = frozenset({"boolean", "enum", "text"})

_LOOKED_AT = 20_000
_MOST_NUMERIC = 6
_MOST_CATEGORICAL = 4
_MOST_MEASURES = 4
_MOST_CATEGORIES = 50
_FEW_NUMBERS = 12
_ROWS_OF_A_CATEGORY = 5
_QUANTILES = 500


@dataclass(frozen=True)
class KeyColumns:
    """The key columns of one table.

    Attributes:
        cuts: For each column of numbers or times the values, as numbers (times in seconds), below
            which the shares of rows are compared, ascending.
        categories: For each other column its values in the sample, as text.
        measures: The columns of which sums and means are compared.
        timed: Those of the columns in `cuts` that hold times.
    """

    cuts: dict[str, list[float]] = field(default_factory=dict)
    categories: dict[str, list[str]] = field(default_factory=dict)
    measures: tuple[str, ...] = ()
    timed: frozenset[str] = frozenset()


def key_columns(
    connection: sa.Connection,
    table: Compared,
    references: frozenset[str],
    altered: frozenset[str],
) -> KeyColumns:
    """Choose the key columns of a table.

    Numbers and times that take more than a few values are compared at up to 500 quantiles of the
    sample, words (and numbers of few values) by category. Constants, words of more than 50 values,
    the primary key, and numbers that refer to other rows are left out. So are words with less than
    five rows of the sample to a value: many of their values are not in the sample then, which is no
    fault of it.

    Args:
        connection: To the database.
        table: The table.
        references: Columns that refer to other rows.
        altered: Columns that have other values in the copy.
    """
    left_out = {*table.key, *altered}
    columns = [column for column in table.sample.columns if column.name not in left_out]
    rows, counts = _counts(connection, table, columns)
    most = min(_MOST_CATEGORIES, rows // _ROWS_OF_A_CATEGORY)
    numeric: list[str] = []
    categorical: list[str] = []
    for column in columns:
        kind, count = type_kind(column.type), counts[column.name]
        if kind in _NUMBERS | _TIMES and count > (_FEW_NUMBERS if kind == "integer" else 1):
            numeric += [] if column.name in references else [column.name]
        elif kind in _WORDS | {"integer"} and 1 < count <= (3 if kind == "boolean" else most):
            categorical.append(column.name)
    numeric, categorical = numeric[:_MOST_NUMERIC], categorical[:_MOST_CATEGORICAL]
    kinds = {column.name: type_kind(column.type) for column in columns}
    measures = [name for name in numeric if kinds[name] in _NUMBERS]
    return KeyColumns(
        cuts=_cuts(connection, table, numeric),
        categories=_categories(connection, table, categorical),
        measures=tuple(measures[:_MOST_MEASURES]),
        timed=frozenset(name for name in numeric if kinds[name] in _TIMES),
    )


def as_number(column: sa.ColumnElement[Any]) -> sa.ColumnElement[float]:
    """Return a number or time as double precision; a time as seconds."""
    if type_kind(column.type) in _TIMES:
        column = sa.extract("epoch", column)
    return sa.cast(column, sa.Double)


def as_measure(column: sa.ColumnElement[Any]) -> sa.ColumnElement[float]:
    """Return a number as double precision; NULL where it is not finite."""
    value = sa.cast(column, sa.Double)
    if type_kind(column.type) == "integer":
        return value
    infinity = sa.cast(sa.literal_column("'Infinity'"), sa.Double)
    # NaN is greater than infinity in PostgreSQL.
    return sa.case((sa.and_(value < infinity, value > -infinity), value))


def as_category(column: sa.ColumnElement[Any]) -> sa.ColumnElement[str]:
    """Return a value as text."""
    return sa.cast(column, sa.Text)


def _counts(
    connection: sa.Connection, table: Compared, columns: list[sa.Column[Any]]
) -> tuple[int, dict[str, int]]:
    """Count the rows of a part of the sample, and the values of columns, NULL being one."""
    known = [c for c in columns if type_kind(c.type) in _NUMBERS | _TIMES | _WORDS]
    counts, number = dict.fromkeys((column.name for column in columns), 0), 0
    if known:
        some = sa.select(*(table.sample.c[c.name] for c in known)).limit(_LOOKED_AT)
        rows = some.subquery("some")
        query = sa.select(
            sa.func.count(),
            *(
                sa.func.count(sa.distinct(rows.c[c.name]))
                + sa.func.coalesce(sa.func.max(sa.case((rows.c[c.name].is_(None), 1), else_=0)), 0)
                for c in known
            ),
        )
        number, *found = connection.execute(query).one()
        counts |= {c.name: int(n) for c, n in zip(known, found, strict=True)}
    return int(number), counts


def _cuts(connection: sa.Connection, table: Compared, names: list[str]) -> dict[str, list[float]]:
    if not names:
        return {}
    rows = table.weighted_rows("weighted")
    shares = sa.cast(
        sa.literal([i / _QUANTILES for i in range(_QUANTILES + 1)], sa.ARRAY(sa.Double)),
        sa.ARRAY(sa.Double),
    )
    quantiles = [
        sa.func.percentile_disc(shares).within_group(as_number(rows.c[name])) for name in names
    ]
    query = sa.select(*quantiles).where(rows.c[PROBABILITY].is_not(None))
    found = connection.execute(query).one()
    return {
        name: sorted({cut for value in values or () for cut in _around(float(value))})
        for name, values in zip(names, found, strict=True)
    }


def _around(value: float) -> tuple[float, ...]:
    """Return the cuts below and above a value; none for what is no number."""
    return () if math.isnan(value) else (value, math.nextafter(value, math.inf))


def _categories(
    connection: sa.Connection, table: Compared, names: list[str]
) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name in names:
        column = as_category(table.sample.c[name])
        query = sa.select(column).distinct().where(column.is_not(None)).limit(_MOST_CATEGORIES + 1)
        values = sorted(str(value) for value in connection.scalars(query))
        if len(values) <= _MOST_CATEGORIES:
            found[name] = values
    return found


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


Ask = Callable[[sa.Select[Any]], Iterable[Sequence[Any]]]
"""Gives the rows of a query."""


def profile(
    ask: Ask,
    rows: sa.FromClause,
    columns: KeyColumns,
    weight: sa.ColumnElement[float] | None = None,
) -> Profile:
    """Return the profile of some rows.

    Args:
        ask: Asks the database.
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
    found = [tuple(row) for row in ask(query)]
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
