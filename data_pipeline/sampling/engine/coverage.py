"""Coverage: each category, NULL, extreme and predicate of a table has a witness in the sample."""

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import distinct_on

from data_pipeline.sampling.earlier.source_facts import listed_rows, place_text
from data_pipeline.sampling.engine.coverage_search import (
    HASH,
    NUMBER,
    Frontier,
    Obligation,
    ObligationKind,
    Seen,
    frontier,
    is_grouped,
    is_ordered,
    ordered,
    witnesses,
)
from data_pipeline.sampling.engine.selection_state import SelectionState
from data_pipeline.sampling.engine.source_tables import TID
from data_pipeline.sampling.plan.hubs_and_thresholds import Role

_Found = tuple[list[list[str]], dict[str, int]]


def cover(state: SelectionState) -> None:
    """Add witnesses for what the source shows, to all tables that do not come whole."""
    for table in state.plan.graph.keys:
        if table in state.whole | state.complete:
            continue
        columns, predicates = _columns(state, table), state.plan.predicates.get(table, {})
        if not columns and not predicates:
            continue
        names, limit = [column.name for column in columns], state.plan.cover.category_limit
        rows, left_out = state.fact(
            f"witnesses of {table}",
            [table],
            [names, sorted(predicates.items()), limit],
            partial(_witnesses, state, table, columns, predicates),
        )
        state.left_out |= {(table, name): count for name, count in left_out.items()}
        if rows:
            listed = listed_rows(rows, "reason")
            state.add(table, listed, Role.WITNESS, listed.c.reason)


def _columns(state: SelectionState, table: str) -> list[sa.Column[Any]]:
    columns = state.sources[table].table.c
    names = columns.keys() if state.plan.columns is None else state.plan.columns.get(table, ())
    altered = state.plan.altered(table)
    return [columns[name] for name in names if name not in altered]


def _witnesses(
    state: SelectionState,
    table: str,
    columns: list[sa.Column[Any]],
    predicates: Mapping[str, str],
) -> _Found:
    """Return the places of witnesses with what they show, and columns of too many values."""
    found = frontier(state, table, columns, predicates)
    categories, left_out = _categories(state, found)
    parts = list(_firsts(found, categories, len(predicates)))
    if not parts:
        return [], left_out
    names, texts = [column.name for column in columns], list(predicates)
    first: dict[Obligation, str] = {}
    for kind, number, value, place in state.connection.execute(sa.union_all(*parts)):
        name = texts[number] if kind == ObligationKind.PREDICATE else names[number]
        first[Obligation(ObligationKind(kind), number, name, value)] = place
    chosen = witnesses(first, _satisfied(state, found, first, categories))
    return [[place, str(obligation)] for place, obligation in chosen.items()], left_out


def _categories(state: SelectionState, found: Frontier) -> tuple[frozenset[int], dict[str, int]]:
    """Return the columns of which each value is to have a witness, and those of too many."""
    limit = state.plan.cover.category_limit
    left_out = {
        seen.column.name: seen.count
        for seen in found.seen
        if is_grouped(seen.column) and seen.values is None
    }
    open_ones = [number for number, seen in enumerate(found.seen) if seen.values is not None]
    counts = [_count(found, found.seen[number], limit) for number in open_ones]
    values = state.connection.execute(sa.select(*counts)).one() if counts else ()
    for number, count in zip(open_ones, values, strict=True):
        if count > limit:
            left_out[found.seen[number].column.name] = count
    few = (number for number, n in zip(open_ones, values, strict=True) if n <= limit)
    return frozenset(few), left_out


def _count(found: Frontier, seen: Seen, limit: int) -> sa.ScalarSelect[int]:
    column = found.rows.c[seen.column.name]
    few = sa.select(column).where(column.is_not(None)).distinct().limit(limit + 1).subquery("few")
    return sa.select(sa.func.count()).select_from(few).scalar_subquery()


def _firsts(
    found: Frontier, categories: frozenset[int], predicates: int
) -> Iterator[sa.Select[Any]]:
    """Return queries for what is to be shown, each with the place of the row that comes first."""
    rows = found.rows
    for number, seen in enumerate(found.seen):
        column = rows.c[seen.column.name]
        if number in categories:
            yield _first_of_each(rows, number, column)
        elif is_ordered(column):
            for kind, function in (
                (ObligationKind.LEAST, sa.func.min),
                (ObligationKind.GREATEST, sa.func.max),
            ):
                inner = rows.alias("inner")
                value = sa.select(function(ordered(inner.c[seen.column.name]))).scalar_subquery()
                text = sa.cast(column, sa.Text)
                yield _first(rows, kind, number, ordered(column) == value, text)
        else:
            yield _first(rows, ObligationKind.NOT_NULL, number, column.is_not(None))
        if seen.column.nullable:
            yield _first(rows, ObligationKind.NULL, number, column.is_(None))
    for number in range(predicates):
        yield _first(rows, ObligationKind.PREDICATE, number, rows.c[f"predicate_{number}"])


def _first_of_each(
    rows: sa.TableClause, number: int, column: sa.ColumnElement[Any]
) -> sa.Select[Any]:
    """Return each value with its first row; few are sorted for that."""
    other = rows.alias("other")
    value = other.c[column.name]
    least = sa.select(value.label("v"), sa.func.min(other.c[NUMBER]).label("n"))
    best = least.where(value.is_not(None)).group_by(value).subquery("best")
    first = (
        sa.select(*_described(rows, ObligationKind.CATEGORY, number, sa.cast(column, sa.Text)))
        .join(best, sa.and_(best.c.v == column, best.c.n == rows.c[NUMBER]))
        .ext(distinct_on(column))
        .order_by(column, rows.c[HASH], rows.c[TID])
    )
    return sa.select(first.subquery("first"))


def _first(
    rows: sa.TableClause,
    kind: ObligationKind,
    number: int,
    condition: sa.ColumnElement[bool],
    value: sa.ColumnElement[str] | None = None,
) -> sa.Select[Any]:
    described = _described(rows, kind, number, sa.literal("") if value is None else value)
    order = (rows.c[NUMBER], rows.c[HASH], rows.c[TID])
    first = sa.select(*described).where(condition).order_by(*order).limit(1)
    return sa.select(first.subquery("first"))


def _described(
    rows: sa.TableClause, kind: ObligationKind, number: int, value: sa.ColumnElement[str]
) -> tuple[sa.Label[Any], ...]:
    return (
        sa.literal(int(kind)).label("kind"),
        sa.literal(number).label("number"),
        sa.cast(value, sa.Text).label("value"),
        place_text(rows).label("place"),
    )


def _satisfied(
    state: SelectionState,
    found: Frontier,
    first: Mapping[Obligation, str],
    categories: frozenset[int],
) -> dict[Obligation, set[str]]:
    """Return for each obligation the rows that satisfy it, of those that are first for any."""
    rows = found.rows
    listed = listed_rows([[place] for place in sorted(set(first.values()))])
    shown: dict[tuple[ObligationKind, int], sa.ColumnElement[Any]] = {}
    for number, seen in enumerate(found.seen):
        column = rows.c[seen.column.name]
        if number in categories:
            shown[ObligationKind.CATEGORY, number] = sa.cast(column, sa.Text)
        shown[ObligationKind.NULL, number] = sa.case((column.is_(None), ""))
        shown[ObligationKind.NOT_NULL, number] = sa.case((column.is_not(None), ""))
    for kind, number in {(item.kind, item.number) for item in first}:
        if kind is ObligationKind.PREDICATE:
            shown[kind, number] = sa.case((rows.c[f"predicate_{number}"], ""))
    query = sa.select(place_text(rows), *shown.values()).join(listed, listed.c[TID] == rows.c[TID])
    satisfied: dict[tuple[ObligationKind, int, str], set[str]] = {}
    for place, *values in state.connection.execute(query):
        for (kind, number), value in zip(shown, values, strict=True):
            if value is not None:
                satisfied.setdefault((kind, number, value), set()).add(place)
    return {
        item: {place, *satisfied.get((item.kind, item.number, item.value), ())}
        for item, place in first.items()
    }
