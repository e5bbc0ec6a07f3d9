"""Closure: what a chosen row refers to is chosen as well, until nothing is missing."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import distinct_on

from data_pipeline.results.sql_query import compiled
from data_pipeline.sampling.earlier.source_facts import listed_rows, place_text
from data_pipeline.sampling.engine.closure_limit import check_limit, reference_reason
from data_pipeline.sampling.engine.outputs import (
    OUTPUT,
    columns_of_copy,
    finish_copy,
    output_rows,
    write_referenced,
)
from data_pipeline.sampling.engine.sampling_number import own_hash
from data_pipeline.sampling.engine.selection_state import SelectionState
from data_pipeline.sampling.engine.source_tables import (
    TID,
    matches,
    name_of_value,
    refers,
    values_referred_to,
)
from data_pipeline.sampling.plan.hubs_and_thresholds import Role
from data_pipeline.sampling.plan.roots_and_children import SamplePart
from data_pipeline.sampling.plan.schema_graph import Relationship

_CORE_CANDIDATES = 1000
"""Among so many rows, the first by their hash, one is looked for of which all references hold."""

_New = dict[str, sa.TableClause]

_FRESH_WAVES = 8
"""So many waves have tables of their own; later ones, which are small, use them again."""


def close(state: SelectionState) -> None:
    """Add the rows that chosen rows refer to; references that dangle in the source stay so.

    Each wave looks at the rows that the one before it has added, so cycles and references to the
    same table come to an end.

    Raises:
        ClosureLimitError: They are more of a table than `closure_limit` says.
    """
    if (order := state.plan.graph.order) is not None:
        _close_in_order(state, order)
        return
    new: _New | None = None
    waves = _Waves(state)
    while new is None or new:
        waves.number += 1
        added: _New = {}
        for table in state.plan.graph.keys:
            items = [
                item
                for item in state.plan.graph.of_parent(table)
                if (new is None or item.child in new) and not state.plan.is_cut(item)
            ]
            if table in state.whole or not items:
                continue
            found, count = waves.add(table, items, new)
            if found is not None and count:
                added[table] = found
                state.brought[table] = state.brought.get(table, 0) + count
        waves.finish()
        _check_limit(state, *added)
        new = added


def _check_limit(state: SelectionState, *tables: str) -> None:
    check_limit(state.connection, state, tables, state.plan.settings.closure_limit)


def _close_in_order(state: SelectionState, order: Sequence[str]) -> None:
    """Add them table by table, where a table comes after all that refer to it.

    A copy is finished before rows are looked for that it refers to: they are found by it alone.
    """
    for table in order:
        items = [item for item in state.plan.graph.of_parent(table) if not state.plan.is_cut(item)]
        if table not in state.whole and items:
            _close_table(state, table, items)
        if table in state.outputs:
            finish_copy(state, table)


def _close_table(state: SelectionState, table: str, items: list[Relationship]) -> None:
    is_referenced = state.plan_of(table).part is SamplePart.REFERENCED
    if table in state.space.outputs and is_referenced:
        _write(state, *items)
    elif (query := _all_missing(state, items, None)) is not None:
        found, count = state.space.create(query, "wave", table, analyzed=False)
        if count:
            state.add_new(table, found, Role.REFERENCE, found.c.reason)
            state.brought[table] = count
            _check_limit(state, table)


def _write(state: SelectionState, item: Relationship) -> None:
    """Write the rows of a table that chosen rows refer to, and that are not chosen already."""

    def missing() -> sa.Select[Any] | None:
        parent = state.sources[item.parent].all_rows("parent")
        conditions = _are_missing(state, item, parent, None)
        if conditions is None:
            return None
        return sa.select(*columns_of_copy(state, item.parent, parent)).where(*conditions)

    count = write_referenced(state, item, reference_reason(item), missing)
    state.brought[item.parent] = count


@dataclass
class _Waves:
    """The waves, with the places that they add: each one needs those of the last one.

    Attributes:
        state: The selection.
        number: The number of the wave.
        made: The working tables of the places, by whether the wave is an odd one, and source table.
        statements: What adds rows in later waves, with the relationships that lead to them.
        found: The places that are to be added at the end of the wave: in the first one, tables look
            for references of all chosen rows.
    """

    state: SelectionState
    number: int = 0
    made: dict[tuple[int, str], sa.TableClause] = field(default_factory=dict)
    statements: dict[tuple[int | str, ...], str] = field(default_factory=dict)
    found: _New = field(default_factory=dict)

    def finish(self) -> None:
        """End a wave."""
        for table, places in self.found.items():
            self.state.add_new(table, places, Role.REFERENCE, places.c.reason)
        self.found.clear()

    def add(
        self, table: str, items: list[Relationship], new: _New | None
    ) -> tuple[sa.TableClause | None, int]:
        """Add the rows of a table that new rows refer to; gives their places and number."""
        place, state = (self.number % 2, table), self.state
        if self.number > _FRESH_WAVES and place in self.made:
            return self.made[place], self._again(place, items, new)
        query = _all_missing(state, items, new)
        if query is None:
            return None, 0
        found, count = state.space.create(query, "wave", str(place[0]), table)
        self.made[place] = found
        if count:
            self.found[table] = found
        return found, count

    def _again(self, place: tuple[int, str], items: list[Relationship], new: _New | None) -> int:
        """Add them by a statement and a working table that was made before."""
        space, (_, table) = self.state.space, place
        key: tuple[int | str, ...] = (*place, *(item.number for item in items))
        if key not in self.statements:
            query = _all_missing(self.state, items, new)
            if query is None:
                raise AssertionError("a wave has references")
            if all(table != other[1] for other in self.statements):
                # Few places are looked for, again and again, in what may be very many.
                space.index(self.state.rows[table], TID)
            self.statements[key] = _adding(self.made[place], self.state.rows[table], query)
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
    state: SelectionState, items: list[Relationship], new: _New | None
) -> sa.Select[Any] | None:
    parts = [query for item in items if (query := _missing(state, item, new)) is not None]
    if len(parts) < 2:
        return parts[0] if parts else None
    return _first_reasons(parts)


def _first_reasons(parts: list[sa.Select[Any]]) -> sa.Select[Any]:
    """Return each row once, with one of its reasons."""
    found = sa.union_all(*parts).subquery("found")
    first = sa.select(found).ext(distinct_on(found.c[TID]))
    return first.order_by(found.c[TID], found.c.reason)


def _missing(state: SelectionState, item: Relationship, new: _New | None) -> sa.Select[Any] | None:
    """Return the parent's rows that new rows refer to and that are not chosen yet."""
    parent = state.sources[item.parent].all_rows("parent")
    conditions = _are_missing(state, item, parent, new)
    if conditions is None:
        return None
    referred = (values_referred_to(own, parent) for own in state.plan.graph.of_child(item.parent))
    reason = sa.literal(reference_reason(item)).label("reason")
    values = (value for own in referred for value in own)
    return sa.select(parent.c[TID], reason, *values).where(*conditions)


def _are_missing(
    state: SelectionState, item: Relationship, parent: sa.Subquery, new: _New | None
) -> list[sa.ColumnElement[bool]] | None:
    """Return the conditions of rows that new rows refer to and that are not chosen yet."""
    keys = _keys(state, item, new)
    if keys is None:
        return None
    pairs = enumerate(item.referenced_columns)
    same = (keys.c[name_of_value(item, i)] == parent.c[name] for i, name in pairs)
    there, drawn = state.rows[item.parent], state.drawn.get(item.parent)
    return [
        sa.exists().select_from(keys).where(*same),
        ~sa.exists().where(there.c[TID] == parent.c[TID]),
        *([] if drawn is None else [sa.not_(drawn(parent))]),
    ]


def _keys(state: SelectionState, item: Relationship, new: _New | None) -> sa.FromClause | None:
    """Return the values that new rows refer to.

    Those of rows that were chosen before have a table of their own, unless these are in a copy: how
    many there are, the planner could only guess. Of the places that a wave has added, it knows.
    """
    if new is not None:
        return _of_working_table(item, new[item.child]).subquery("keys")
    output = state.outputs.get(item.child)
    if output is not None and output.is_finished and not state.came_with_parent(item):
        if not output.rows:
            return None
        if output.earlier is None:
            state.space.analyze(state.space.name(OUTPUT, item.child), item.columns)
        return _of_rows(item, output_rows(state, item.child, "written")).subquery("keys")
    parts = list(_values(state, item))
    if not parts:
        return None
    query = parts[0] if len(parts) == 1 else sa.union_all(*parts)
    keys, count = state.space.create(query, "keys", str(item.number))
    return keys if count else None


def _values(state: SelectionState, item: Relationship) -> Iterator[sa.Select[Any]]:
    source = state.sources[item.child]
    if item.child in state.whole:
        yield _of_rows(item, source.rows("child"))
        return
    chosen = state.rows[item.child]
    if item.child in state.outputs:
        if not state.came_with_parent(item):
            yield _of_rows(item, output_rows(state, item.child, "written"))
    elif name_of_value(item, 0) in chosen.c:
        yield _of_working_table(item, chosen)
    # What was added to the drawn rows is little, and known by its place alone.
    others = sa.select(chosen.c[TID]).where(chosen.c.role > int(Role.SAMPLED))
    yield _of_rows(item, source.rows_at(others.subquery("others"), "child"))


def _of_rows(item: Relationship, child: sa.Subquery) -> sa.Select[Any]:
    return sa.select(*values_referred_to(item, child)).where(refers(item, child))


def _of_working_table(item: Relationship, table: sa.TableClause) -> sa.Select[Any]:
    columns = [table.c[name_of_value(item, i)] for i in range(len(item.columns))]
    return sa.select(*columns).where(*(column.is_not(None) for column in columns))


def add_core(state: SelectionState) -> None:
    """Add a row that joins, for each relationship that holds for any, and a row of each table.

    Of each table, the first row (by the hash of its key) of which all references hold is taken; for
    what it leaves open, the first row whose reference holds. Tables that these rows refer to have a
    row by that.
    """
    referred: set[str] = set()
    started: set[str] = set()
    for table in state.plan.graph.keys:
        items = [item for item in state.plan.graph.of_child(table) if not state.plan.is_cut(item)]
        if table in state.whole and items:
            started.add(table)
        elif items and (joined := _add_pairs(state, table, items)):
            referred |= joined
            started.add(table)
    for table in state.plan.graph.keys:
        if table not in referred | started and table not in state.whole:
            found = state.fact(f"a row of {table}", [table], [], partial(_a_row, state, table))
            _add_listed(state, table, found)


def _a_row(state: SelectionState, table: str) -> list[list[str]]:
    place = _place(state, _first(state, table, []))
    return [] if place is None else [[place, "a row of the table"]]


def _add_pairs(state: SelectionState, table: str, items: list[Relationship]) -> set[str]:
    """Add rows of a table that join; name the tables that they refer to."""
    # A fact of its own, since it holds while other tables change.
    places = state.fact(f"first rows of {table}", [table], [], partial(_candidates, state, table))
    joined = [str(item) for item in items]
    tables = [table, *(item.parent for item in items)]
    rows, done = state.fact(
        f"joins of {table}", tables, joined, partial(_joining, state, table, items, places)
    )
    _add_listed(state, table, rows)
    return {item.parent for item in items if str(item) in done}


def _add_listed(state: SelectionState, table: str, rows: list[list[str]]) -> None:
    if rows:
        listed = listed_rows(rows, "reason")
        state.add(table, listed, Role.WITNESS, listed.c.reason)


def _candidates(state: SelectionState, table: str) -> list[list[str]]:
    """Return the first rows of a table: their places, in order."""
    rows = state.sources[table].rows("child")
    number = own_hash(state, table, rows).label("number")
    first = sa.select(rows.c[TID], number).order_by(number, rows.c[TID]).limit(_CORE_CANDIDATES)
    found = first.subquery("first")
    query = sa.select(place_text(found)).order_by(found.c.number, found.c[TID])
    return [[place] for place in state.connection.scalars(query)]


def _joining(
    state: SelectionState, table: str, items: list[Relationship], places: list[list[str]]
) -> tuple[list[list[str]], list[str]]:
    """Return rows of a table that join, with reasons, and the relationships that they hold for."""
    listed = listed_rows([[place, str(i)] for i, [place] in enumerate(places)], "number")
    query = sa.select(listed.c[TID], sa.cast(listed.c.number, sa.Integer).label("number"))
    candidates, count = state.space.create(query, "candidates", table)
    names = [str(item) for item in items]
    found = _place(state, _first(state, table, items, candidates))
    if found is not None:
        return [[found, f"join: {', '.join(names)}"]], names
    joining: list[list[str]] = []
    done: list[str] = []
    for item, name in zip(items, names, strict=True):
        first = _place(state, _first(state, table, [item], candidates))
        if first is None and count == _CORE_CANDIDATES:
            first = _place(state, _first(state, table, [item]))
        if first is not None:
            joining.append([first, f"join: {name}"])
            done.append(name)
    return joining, done


def _first(
    state: SelectionState,
    table: str,
    items: list[Relationship],
    candidates: sa.TableClause | None = None,
) -> sa.Subquery:
    """Return the first row of which some references hold, among candidates or all rows."""
    rows = state.sources[table].rows("child")
    order = own_hash(state, table, rows)
    query: sa.Select[Any] = sa.select(rows.c[TID])
    if candidates is not None:
        query = query.join(candidates, candidates.c[TID] == rows.c[TID])
        order = candidates.c.number
    for number, item in enumerate(items):
        parent = state.sources[item.parent].all_rows(f"parent_{number}")
        query = query.where(sa.exists().select_from(parent).where(matches(item, rows, parent)))
    return query.order_by(order, rows.c[TID]).limit(1).subquery("first")


def _place(state: SelectionState, first: sa.Subquery) -> str | None:
    place = state.connection.scalar(sa.select(place_text(first)))
    return None if place is None else str(place)
