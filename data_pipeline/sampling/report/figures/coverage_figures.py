"""Which values of a column have a row in the sample, and which have not."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from data_pipeline.instances.settings.limits_of_sample_checks import CheckSettings
from data_pipeline.sampling.engine.coverage_search import Seen, is_grouped, is_ordered, ordered
from data_pipeline.sampling.engine.source_tables import is_true
from data_pipeline.sampling.plan.schema_graph import type_kind
from data_pipeline.sampling.report.figures.compared_columns import Ask
from data_pipeline.sampling.report.figures.figure import Compared, Figure

_EXAMPLE_LENGTH = 40


@dataclass(frozen=True)
class _Beyond:
    """What the source has of a column beyond what the sample shows.

    Attributes:
        less: Values below all those of the sample.
        greater: Values above.
        null: NULL, where the sample has none.
        value: Any value, where the sample has none.
        empty: The empty text, where the sample does not have it.
        categories: The number of values that the sample does not have.
        example: One of them, as text.
    """

    less: bool
    greater: bool
    null: bool
    value: bool
    empty: bool
    categories: int
    example: str | None


def coverage(
    connection: sa.Connection,
    ask: Ask,
    table: Compared,
    columns: list[str],
    limit: int,
    checks: CheckSettings,
) -> Iterator[Figure]:
    """Return how many obligations of each column are met; those of too many values are named.

    Args:
        connection: To the database.
        ask: Asks it for rows of the source.
        table: The table.
        columns: The columns to be covered.
        limit: With more values than this, a column need not show each.
        checks: How many obligations may be left open.
    """
    if not columns:
        return
    seen = {name: _seen(connection, table, name, limit) for name in columns}
    beyond = _beyond(ask, table, seen)
    for name, item in seen.items():
        yield from _column(table.name, item, beyond[name], limit, checks)


def predicate_coverage(
    connection: sa.Connection,
    ask: Ask,
    table: Compared,
    predicates: Mapping[str, str],
    checks: CheckSettings,
) -> Iterator[Figure]:
    """Say of each predicate whether a row of the sample satisfies it, if any of the source does.

    Args:
        connection: To the database.
        ask: Asks it for rows of the source.
        table: The table.
        predicates: SQL conditions by name.
        checks: How many may be left open.
    """
    for name, text in predicates.items():
        here = _any(connection.execute, table.sample, text)
        wanted = here or _any(ask, table.source_rows("rows"), text)
        words = "a row satisfies it" if here else "no row satisfies it"
        figure = Figure(
            table.name, "coverage", float(here), float(wanted), item=name, text=f"{words}: {text}"
        )
        yield figure.judged(float(wanted and not here), checks, "uncovered")


def _seen(connection: sa.Connection, table: Compared, name: str, limit: int) -> Seen:
    column = table.sample.c[name]
    grouped, sorted_ = is_grouped(column), is_ordered(column)
    few = sa.select(column).where(column.is_not(None)).distinct().limit(limit + 1).subquery("few")
    value = ordered(column)
    least, greatest = (
        sa.cast(function(value), sa.Text) if sorted_ else sa.null()
        for function in (sa.func.min, sa.func.max)
    )
    row = connection.execute(
        sa.select(
            least,
            greatest,
            sa.func.coalesce(sa.func.bool_or(column.is_(None)), sa.false()),
            sa.func.coalesce(sa.func.bool_or(column.is_not(None)), sa.false()),
        )
    ).one()
    values, count = None, 0
    if grouped:
        array = sa.cast(sa.func.array_agg(few.c[name]), sa.Text)
        found, count = connection.execute(sa.select(array, sa.func.count())).one()
        values = (found or "{}") if count <= limit else None
    return Seen(table.source.c[name], values, int(count), row[0], row[1], row[2], row[3])


def _beyond(ask: Ask, table: Compared, seen: Mapping[str, Seen]) -> dict[str, _Beyond]:
    """Look for what the sample does not show, in one scan of the source."""
    rows = table.source.alias("s")
    conditions: list[sa.ColumnElement[bool]] = []
    parts: list[sa.ColumnElement[Any]] = []
    for name, item in seen.items():
        column = rows.c[name]
        flags = _flags(item, column)
        conditions += [flag for flag in flags if flag is not None]
        parts += [sa.false() if flag is None else sa.func.bool_or(flag) for flag in flags[:-1]]
        unseen = flags[-1]
        if unseen is None:
            parts += [sa.literal(0), sa.null()]
            continue
        text = sa.func.left(sa.cast(column, sa.Text), _EXAMPLE_LENGTH)
        parts += [
            sa.func.count(sa.distinct(column)).filter(unseen),
            sa.func.min(sa.collate(text, "C")).filter(unseen),
        ]
    new = sa.or_(sa.false(), *conditions)
    query = sa.select(*parts).where(new, *table.within(rows)).select_from(rows)
    [row] = ask(query)
    values, found = list(row), {}
    for i, name in enumerate(seen):
        *flags_found, count, example = values[7 * i : 7 * i + 7]
        less, greater, null, value, empty = map(bool, flags_found)
        found[name] = _Beyond(less, greater, null, value, empty, int(count or 0), example)
    return found


def _flags(item: Seen, column: sa.ColumnElement[Any]) -> list[sa.ColumnElement[bool] | None]:
    """Return conditions of rows with something new: less, greater, NULL, value, empty, category."""
    is_sorted = is_ordered(item.column)
    is_text = type_kind(item.column.type) == "text"
    return [
        item.is_less(column) if is_sorted else None,
        item.is_greater(column) if is_sorted else None,
        None if item.has_null else column.is_(None),
        None if item.has_value else column.is_not(None),
        column == "" if is_text and item.least != "" else None,
        None if item.values is None else item.is_unseen(column),
    ]


def _column(
    table: str, seen: Seen, beyond: _Beyond, limit: int, checks: CheckSettings
) -> Iterator[Figure]:
    name = seen.column.name
    categories = seen.count + beyond.categories
    has_categories = seen.values is not None and categories <= limit
    met: list[str] = []
    missing: list[str] = []
    for is_wanted, is_met, words in (
        (seen.has_null or beyond.null, seen.has_null, "NULL"),
        (seen.has_value or beyond.value, seen.has_value, "a value"),
        (seen.least == "" or beyond.empty, seen.least == "", "the empty text"),
        (seen.least is not None or beyond.less, not beyond.less, "the least value"),
        (seen.greatest is not None or beyond.greater, not beyond.greater, "the greatest value"),
    ):
        if is_wanted:
            (met if is_met else missing).append(words)
    number, wanted = len(met), len(met) + len(missing)
    if has_categories:
        number, wanted = number + seen.count, wanted + categories
        if beyond.categories:
            missing.append(f"{beyond.categories} value(s) such as {beyond.example!r}")
    if wanted:
        text = f"no witness: {', '.join(missing)}" if missing else "all obligations are met"
        figure = Figure(table, "coverage", number, wanted, name, text=text)
        yield figure.judged((wanted - number) / wanted, checks, "uncovered")
    if is_grouped(seen.column) and not has_categories:
        text = f"has more than {limit} values, which need no witness each"
        yield Figure(table, "left out of coverage", None, column=name, text=text)


def _any(ask: Ask, table: sa.FromClause, text: str) -> bool:
    rows = table.alias("s")
    query = sa.select(sa.exists(sa.select(sa.literal(1)).select_from(rows).where(is_true(text))))
    [[found]] = ask(query)
    return bool(found)
