"""Coverage: each category, NULL, extreme and predicate of a table has a witness in the sample."""

from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import distinct_on

from data_pipeline.sampling.engine.frontier import (
    Frontier,
    Kind,
    Obligation,
    Seen,
    frontier,
    is_grouped,
    is_ordered,
    ordered,
    witnesses,
)
from data_pipeline.sampling.engine.sampling_number import sampling_numbers
from data_pipeline.sampling.engine.selection_state import Drawing
from data_pipeline.sampling.engine.source_tables import TID, Tid
from data_pipeline.sampling.plan.rules import Role

_OBLIGATION = ("kind", "number", "value")


def cover(drawing: Drawing) -> None:
    """Add witnesses for what the chosen rows do not show, to all tables that do not come whole."""
    for table in drawing.plan.graph.keys:
        if table in drawing.whole:
            continue
        found = frontier(drawing, table)
        if found is not None:
            _cover(drawing, table, found)


def _cover(drawing: Drawing, table: str, found: Frontier) -> None:
    parts = list(_candidates(drawing, table, found))
    if not parts:
        return
    all_of_them, count = drawing.space.create(sa.union_all(*parts), "candidates", table)
    if not count:
        return
    candidates, count = drawing.space.create(_open(drawing, table, all_of_them), "open", table)
    if not count:
        return
    names = [item.column.name for item in found.seen]
    obligations: dict[Obligation, set[str]] = {}
    first: dict[Obligation, str] = {}
    for kind, number, value, place, is_first in drawing.connection.execute(
        _firsts(drawing, table, candidates)
    ):
        name = found.predicates[number] if kind == Kind.PREDICATE else names[number]
        obligation = Obligation(Kind(kind), number, name, value)
        obligations.setdefault(obligation, set()).add(place)
        if is_first:
            first[obligation] = place
    chosen = witnesses(first, obligations)
    values = sa.values(
        sa.column("place", sa.Text), sa.column("reason", sa.Text), name="chosen"
    ).data([(place, str(obligation)) for place, obligation in chosen.items()])
    rows = sa.select(sa.cast(values.c.place, Tid()).label(TID), values.c.reason).subquery("rows")
    drawing.add(table, rows, Role.WITNESS, rows.c.reason)


def _candidates(drawing: Drawing, table: str, found: Frontier) -> Iterator[sa.Select[Any]]:
    """Return queries for rows of the frontier with the obligations that each satisfies."""
    rows = found.rows
    for number, seen in enumerate(found.seen):
        column = rows.c[seen.column.name]
        has_categories = _has_categories(drawing, table, found, seen)
        if has_categories:
            unseen = column.is_not(None) if found.is_first else seen.is_unseen(column)
            yield _candidate(rows, Kind.CATEGORY, number, sa.cast(column, sa.Text), unseen)
        elif is_ordered(column):
            yield from _extremes(rows, number, seen, column, found)
        if not (has_categories or is_ordered(column)) and (found.is_first or not seen.has_value):
            yield _candidate(rows, Kind.NOT_NULL, number, sa.literal(""), column.is_not(None))
        if found.is_first or not seen.has_null:
            yield _candidate(rows, Kind.NULL, number, sa.literal(""), column.is_(None))
    for number in found.predicates:
        flag = rows.c[f"predicate_{number}"]
        yield _candidate(rows, Kind.PREDICATE, number, sa.literal(""), flag)


def _extremes(
    rows: sa.TableClause,
    number: int,
    seen: Seen,
    column: sa.ColumnElement[Any],
    found: Frontier,
) -> Iterator[sa.Select[Any]]:
    sides = ((Kind.LEAST, sa.func.min, seen.is_less), (Kind.GREATEST, sa.func.max, seen.is_greater))
    for kind, function, is_beyond in sides:
        other = rows.alias("other")
        inner = other.c[seen.column.name]
        extreme = sa.select(function(ordered(inner))).select_from(other)
        is_extreme = [ordered(column) == extreme.scalar_subquery()]
        if not found.is_first:
            # The extreme of the probed rows is in the sample: only what goes beyond it counts.
            is_extreme = [
                is_beyond(column),
                ordered(column) == extreme.where(is_beyond(inner)).scalar_subquery(),
            ]
        yield _candidate(rows, kind, number, sa.cast(column, sa.Text), sa.and_(*is_extreme))


def _has_categories(drawing: Drawing, table: str, found: Frontier, seen: Seen) -> bool:
    """Whether each value of a column is to have a witness: if they are not too many."""
    if not is_grouped(seen.column):
        return False
    count = seen.count
    if seen.values is not None:
        column = found.rows.c[seen.column.name]
        more = sa.select(sa.func.count(sa.distinct(column))).where(seen.is_unseen(column))
        count += int(drawing.connection.scalar(more) or 0)
    if count > drawing.plan.cover.category_limit:
        drawing.left_out[table, seen.column.name] = count
        return False
    return True


def _candidate(
    rows: sa.TableClause,
    kind: Kind,
    number: int,
    value: sa.ColumnElement[str],
    condition: sa.ColumnElement[bool],
) -> sa.Select[Any]:
    return sa.select(
        sa.cast(int(kind), sa.SmallInteger).label("kind"),
        sa.cast(number, sa.SmallInteger).label("number"),
        sa.cast(value, sa.Text).label("value"),
        rows.c[TID],
    ).where(condition)


def _open(drawing: Drawing, table: str, candidates: sa.TableClause) -> sa.Select[Any]:
    """Return the candidates for obligations that no chosen row satisfies."""
    chosen = drawing.rows[table]
    other = candidates.alias("other")
    met = (
        sa.exists()
        .select_from(other.join(chosen, chosen.c[TID] == other.c[TID]))
        .where(*(other.c[name] == candidates.c[name] for name in _OBLIGATION))
    )
    return sa.select(candidates).where(~met)


def _firsts(drawing: Drawing, table: str, candidates: sa.TableClause) -> sa.Select[Any]:
    """Return each open obligation with the rows that satisfy it, of those that come first for any.

    The rows' places are given as text.
    """
    places = sa.select(candidates.c[TID]).distinct().subquery("places")
    numbered, _ = drawing.space.create(sampling_numbers(drawing, table, places), "numbers", table)
    of_obligation = [candidates.c[name] for name in _OBLIGATION]
    first = (
        sa.select(candidates)
        .join(numbered, numbered.c[TID] == candidates.c[TID])
        .ext(distinct_on(*of_obligation))
        .order_by(*of_obligation, numbered.c.number, numbered.c.hash, candidates.c[TID])
    )
    firsts, _ = drawing.space.create(first, "firsts", table)
    wanted = sa.select(firsts.c[TID]).distinct().subquery("wanted")
    is_first = (
        sa.exists()
        .select_from(firsts)
        .where(
            firsts.c[TID] == candidates.c[TID],
            *(firsts.c[name] == candidates.c[name] for name in _OBLIGATION),
        )
    )
    return sa.select(*of_obligation, sa.cast(candidates.c[TID], sa.Text), is_first).join(
        wanted, wanted.c[TID] == candidates.c[TID]
    )
