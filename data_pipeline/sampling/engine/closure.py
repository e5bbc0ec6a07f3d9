"""Closure: what a chosen row refers to is chosen as well, until nothing is missing."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import distinct_on

from data_pipeline.results.table_query import compiled
from data_pipeline.sampling.engine.sampling_number import own_hash
from data_pipeline.sampling.engine.selection_state import Drawing
from data_pipeline.sampling.engine.source_tables import (
    TID,
    Tid,
    matches,
    name_of_value,
    refers,
    values_referred_to,
)
from data_pipeline.sampling.plan.rules import CORE_CANDIDATES, Role
from data_pipeline.sampling.plan.schema_graph import Relationship

_New = dict[str, sa.TableClause]

_FRESH_WAVES = 8
"""So many waves have tables of their own; later ones, which are small, use them again."""


def close(drawing: Drawing) -> None:
    """Add the rows that chosen rows refer to; references that dangle in the source stay so.

    Each wave looks at the rows that the one before it has added, so cycles and references to the
    same table come to an end.
    """
    new: _New | None = None
    waves = _Waves(drawing)
    while new is None or new:
        waves.number += 1
        added: _New = {}
        for table in drawing.plan.graph.keys:
            items = [
                item
                for item in drawing.plan.graph.of_parent(table)
                if new is None or item.child in new
            ]
            if table in drawing.whole or not items:
                continue
            found, count = waves.add(table, items, new)
            if found is not None and count:
                added[table] = found
        waves.finish()
        new = added


@dataclass
class _Waves:
    """The waves, with the places that they add: each one needs those of the last one.

    Attributes:
        drawing: The selection.
        number: The number of the wave.
        made: The working tables of the places, by whether the wave is an odd one, and source table.
        statements: What adds rows in later waves, with the relationships that lead to them.
        found: The places that are to be added at the end of the wave: in the first one, tables look
            for references of all chosen rows.
    """

    drawing: Drawing
    number: int = 0
    made: dict[tuple[int, str], sa.TableClause] = field(default_factory=dict)
    statements: dict[tuple[int | str, ...], str] = field(default_factory=dict)
    found: _New = field(default_factory=dict)

    def finish(self) -> None:
        """End a wave."""
        for table, places in self.found.items():
            self.drawing.add_new(table, places, Role.REFERENCE, places.c.reason)
        self.found.clear()

    def add(
        self, table: str, items: list[Relationship], new: _New | None
    ) -> tuple[sa.TableClause | None, int]:
        """Add the rows of a table that new rows refer to; gives their places and number."""
        place, drawing = (self.number % 2, table), self.drawing
        if self.number > _FRESH_WAVES and place in self.made:
            return self.made[place], self._again(place, items, new)
        query = _all_missing(drawing, items, new)
        if query is None:
            return None, 0
        found, count = drawing.space.create(query, "wave", str(place[0]), table)
        self.made[place] = found
        if count:
            self.found[table] = found
        return found, count

    def _again(self, place: tuple[int, str], items: list[Relationship], new: _New | None) -> int:
        """Add them by a statement and a working table that was made before."""
        space, (_, table) = self.drawing.space, place
        key: tuple[int | str, ...] = (*place, *(item.number for item in items))
        if key not in self.statements:
            query = _all_missing(self.drawing, items, new)
            if query is None:
                raise AssertionError("a wave has references")
            if all(table != other[1] for other in self.statements):
                # Few places are looked for, again and again, in what may be very many.
                space.index(self.drawing.rows[table], TID)
            self.statements[key] = _adding(self.made[place], self.drawing.rows[table], query)
        return space.refill(self.made[place], self.statements[key])


def _adding(places: sa.TableClause, rows: sa.TableClause, query: sa.Select[Any]) -> str:
    """Return the statement that adds the rows of a query to places, and to the chosen rows."""
    names = [column.name for column in query.selected_columns]
    made = sa.insert(places).from_select(names, query)
    added = made.returning(places.c[TID], places.c.reason).cte("added")
    role = sa.literal(int(Role.REFERENCE))
    chosen = sa.select(added.c[TID], role, added.c.reason)
    return compiled(sa.insert(rows).from_select([TID, "role", "reason"], chosen))


def _all_missing(
    drawing: Drawing, items: list[Relationship], new: _New | None
) -> sa.Select[Any] | None:
    parts = [query for item in items if (query := _missing(drawing, item, new)) is not None]
    if len(parts) < 2:
        return parts[0] if parts else None
    return _first_reasons(parts)


def _first_reasons(parts: list[sa.Select[Any]]) -> sa.Select[Any]:
    """Return each row once, with one of its reasons."""
    found = sa.union_all(*parts).subquery("found")
    first = sa.select(found).ext(distinct_on(found.c[TID]))
    return first.order_by(found.c[TID], found.c.reason)


def _missing(drawing: Drawing, item: Relationship, new: _New | None) -> sa.Select[Any] | None:
    """Return the parent's rows that new rows refer to and that are not chosen yet."""
    keys = _keys(drawing, item, new)
    if keys is None:
        return None
    parent = drawing.sources[item.parent].rows("parent")
    pairs = enumerate(item.referenced_columns)
    same = (keys.c[name_of_value(item, i)] == parent.c[name] for i, name in pairs)
    there = drawing.rows[item.parent]
    referred = (values_referred_to(own, parent) for own in drawing.plan.graph.of_child(item.parent))
    reason = sa.literal(f"referenced: {item}").label("reason")
    return sa.select(parent.c[TID], reason, *(value for own in referred for value in own)).where(
        sa.exists().select_from(keys).where(*same),
        ~sa.exists().where(there.c[TID] == parent.c[TID]),
    )


def _keys(drawing: Drawing, item: Relationship, new: _New | None) -> sa.FromClause | None:
    """Return the values that new rows refer to.

    Those of rows that were chosen before have a table of their own: how many there are, the planner
    could only guess. Of the places that a wave has added, it knows.
    """
    if new is not None:
        return _of_working_table(item, new[item.child]).subquery("keys")
    parts = list(_values(drawing, item))
    if not parts:
        return None
    query = parts[0] if len(parts) == 1 else sa.union_all(*parts)
    keys, count = drawing.space.create(query, "keys", str(item.number))
    return keys if count else None


def _values(drawing: Drawing, item: Relationship) -> Iterator[sa.Select[Any]]:
    source = drawing.sources[item.child]
    if item.child in drawing.whole:
        yield _of_rows(item, source.rows("child"))
        return
    chosen = drawing.rows[item.child]
    if name_of_value(item, 0) in chosen.c:
        yield _of_working_table(item, chosen)
    # What was added to the drawn rows is little, and known by its place alone.
    others = sa.select(chosen.c[TID]).where(chosen.c.role > int(Role.SAMPLED))
    yield _of_rows(item, source.rows_at(others.subquery("others"), "child"))


def _of_rows(item: Relationship, child: sa.Subquery) -> sa.Select[Any]:
    return sa.select(*values_referred_to(item, child)).where(refers(item, child))


def _of_working_table(item: Relationship, table: sa.TableClause) -> sa.Select[Any]:
    columns = [table.c[name_of_value(item, i)] for i in range(len(item.columns))]
    return sa.select(*columns).where(*(column.is_not(None) for column in columns))


def add_core(drawing: Drawing) -> None:
    """Add a row that joins, for each relationship that holds for any, and a row of each table.

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
    """Return the first row of which some references hold, among candidates or all rows."""
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
