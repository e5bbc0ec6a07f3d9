"""Closure: what a chosen row refers to is chosen as well, until nothing is missing."""

from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import distinct_on

from data_pipeline.sampling.in_database.drawing import Drawing
from data_pipeline.sampling.in_database.source_tables import TID, refers
from data_pipeline.sampling.rules import Role
from data_pipeline.sampling.schema_graph import Relationship

_New = dict[str, sa.TableClause]


def close(drawing: Drawing) -> None:
    """Adds the rows that chosen rows refer to; references that dangle in the source stay so.

    Each wave looks at the rows that the one before it has added, so cycles and references to the
    same table come to an end.
    """
    new: _New | None = None
    wave = 0
    while new is None or new:
        wave += 1
        added: _New = {}
        for table in drawing.plan.graph.keys:
            if table in drawing.whole:
                continue
            parts = [
                query
                for item in drawing.plan.graph.of_parent(table)
                if (query := _missing(drawing, item, new)) is not None
            ]
            if not parts:
                continue
            one = parts[0] if len(parts) == 1 else _first_reasons(parts)
            places, count = drawing.space.create(one, "wave", str(wave % 2), table)
            if count:
                added[table] = places
        for table, places in added.items():
            drawing.add_new(table, places, Role.REFERENCE, places.c.reason)
        new = added


def _first_reasons(parts: list[sa.Select[Any]]) -> sa.Select[Any]:
    """Gives each row once, with one of its reasons."""
    found = sa.union_all(*parts).subquery("found")
    return sa.select(found).ext(distinct_on(found.c[TID])).order_by(*found.c)


def _missing(drawing: Drawing, item: Relationship, new: _New | None) -> sa.Select[Any] | None:
    """Gives the parent's rows that new rows refer to and that are not chosen yet."""
    keys = _keys(drawing, item, new)
    if keys is None:
        return None
    parent = drawing.sources[item.parent].rows("parent")
    same = (keys.c[f"k{i}"] == parent.c[name] for i, name in enumerate(item.referenced_columns))
    there = drawing.rows[item.parent]
    return sa.select(parent.c[TID], sa.literal(f"referenced: {item}").label("reason")).where(
        sa.exists().select_from(keys).where(*same),
        ~sa.exists().where(there.c[TID] == parent.c[TID]),
    )


def _keys(drawing: Drawing, item: Relationship, new: _New | None) -> sa.TableClause | None:
    """Gives what new rows refer to (`k0`, `k1`, ..., in the order of the referring columns).

    They have a table of their own: how many there are, the planner could only guess.
    """
    source = drawing.sources[item.child]
    if item.child in drawing.whole:
        if new is not None:
            return None
        child = source.rows("child")
    elif new is None:
        chosen = drawing.rows[item.child]
        places = sa.select(chosen.c[TID])
        if _came_with_parent(drawing, item):
            places = places.where(chosen.c.role > int(Role.SAMPLED))
        child = source.rows_at(places.subquery("chosen"), "child")
    elif item.child in new:
        child = source.rows_at(new[item.child], "child")
    else:
        return None
    referring = [child.c[name].label(f"k{i}") for i, name in enumerate(item.columns)]
    query = sa.select(*referring).where(refers(item, child))
    keys, count = drawing.space.create(query, "keys", str(item.number))
    return keys if count else None


def _came_with_parent(drawing: Drawing, item: Relationship) -> bool:
    """Whether sampled rows were chosen because of the row they refer to, which is there then."""
    owner = drawing.plan_of(item.child).owner
    return owner is not None and owner.number == item.number and item.refers_to_key
