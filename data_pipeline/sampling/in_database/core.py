"""The core that every sample of a salt has: a row of each table, a pair for each relationship.

It depends on the source and the salt alone, so that minimal samples are contained in all others.
"""

from typing import Any

import sqlalchemy as sa

from data_pipeline.sampling.in_database.drawing import Drawing
from data_pipeline.sampling.in_database.sampling_number import own_hash
from data_pipeline.sampling.in_database.source_tables import TID, Tid, matches
from data_pipeline.sampling.rules import CORE_CANDIDATES, Role
from data_pipeline.sampling.schema_graph import Relationship


def add_core(drawing: Drawing) -> None:
    """Adds a row that joins, for each relationship that holds for any, and a row of each table.

    Of each table, the first row (by the hash of its key) of which all references hold is taken; for
    what it leaves open, the first row whose reference holds. Tables that these rows refer to have a
    row by that.
    """
    referred: set[str] = set()
    started: set[str] = set()
    for table in drawing.plan.graph.keys:
        items = list(drawing.plan.graph.of_child(table))
        if items and _add_pairs(drawing, table, items, referred):
            started.add(table)
    for table in drawing.plan.graph.keys:
        if table not in referred | started and table not in drawing.whole:
            drawing.add(table, _first(drawing, table, []), Role.WITNESS, "a row of the table")


def _add_pairs(drawing: Drawing, table: str, items: list[Relationship], referred: set[str]) -> bool:
    if table in drawing.whole:
        return True
    rows = drawing.sources[table].rows("child")
    query = (
        sa.select(rows.c[TID], own_hash(drawing, table, rows).label("hash"))
        .order_by("hash")
        .limit(CORE_CANDIDATES)
    )
    candidates, count = drawing.space.create(query, "candidates", table)
    found = _place(drawing, _first(drawing, table, items, candidates))
    done = set()
    if found is not None:
        names = ", ".join(str(item) for item in items)
        drawing.add(table, _as_rows(found), Role.WITNESS, f"join: {names}")
        done = {item.number for item in items}
    for item in items:
        if item.number not in done:
            first = _place(drawing, _first(drawing, table, [item], candidates))
            if first is None and count == CORE_CANDIDATES:
                first = _place(drawing, _first(drawing, table, [item]))
            if first is None:
                continue
            drawing.add(table, _as_rows(first), Role.WITNESS, f"join: {item}")
            done.add(item.number)
    referred |= {item.parent for item in items if item.number in done}
    return bool(done)


def _first(
    drawing: Drawing,
    table: str,
    items: list[Relationship],
    candidates: sa.TableClause | None = None,
) -> sa.Subquery:
    """Gives the first row of which some references hold, among candidates or all rows."""
    rows = drawing.sources[table].rows("child")
    order = own_hash(drawing, table, rows)
    query: sa.Select[Any] = sa.select(rows.c[TID])
    if candidates is not None:
        query = query.join(candidates, candidates.c[TID] == rows.c[TID])
        order = candidates.c.hash
    for number, item in enumerate(items):
        parent = drawing.sources[item.parent].rows(f"parent_{number}")
        query = query.where(sa.exists().select_from(parent).where(matches(item, rows, parent)))
    return query.order_by(order, rows.c[TID]).limit(1).subquery("first")


def _place(drawing: Drawing, first: sa.Subquery) -> str | None:
    place = drawing.connection.scalar(sa.select(sa.cast(first.c[TID], sa.Text)))
    return None if place is None else str(place)


def _as_rows(place: str) -> sa.Subquery:
    return sa.select(sa.cast(sa.literal(place, sa.Text), Tid()).label(TID)).subquery("place")
