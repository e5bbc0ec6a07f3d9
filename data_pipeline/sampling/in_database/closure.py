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
            found = sa.union_all(*parts).subquery("found")
            one = sa.select(found).ext(distinct_on(found.c[TID])).order_by(*found.c)
            places, count = drawing.space.create(one, "wave", str(wave % 2), table)
            if count:
                added[table] = places
        for table, places in added.items():
            drawing.add(table, places, Role.REFERENCE, places.c.reason)
        new = added


def _missing(drawing: Drawing, item: Relationship, new: _New | None) -> sa.Select[Any] | None:
    """Gives the parent's rows that new rows refer to and that are not chosen yet."""
    child = drawing.sources[item.child].rows("child")
    referring = [child.c[name] for name in item.columns]
    query = sa.select(*referring).where(refers(item, child)).distinct()
    if item.child in drawing.whole:
        if new is not None:
            return None
    elif new is None:
        chosen = drawing.rows[item.child]
        query = query.join(chosen, chosen.c[TID] == child.c[TID])
        if _came_with_parent(drawing, item):
            query = query.where(chosen.c.role > int(Role.SAMPLED))
    elif item.child in new:
        places = new[item.child]
        query = query.join(places, places.c[TID] == child.c[TID])
    else:
        return None
    keys = query.subquery("keys")
    parent = drawing.sources[item.parent].rows("parent")
    pairs = zip(item.columns, item.referenced_columns, strict=True)
    there = drawing.rows[item.parent]
    return (
        sa.select(parent.c[TID], sa.literal(f"referenced: {item}").label("reason"))
        .join(keys, sa.and_(*(keys.c[own] == parent.c[other] for own, other in pairs)))
        .where(~sa.exists().where(there.c[TID] == parent.c[TID]))
    )


def _came_with_parent(drawing: Drawing, item: Relationship) -> bool:
    """Whether sampled rows were chosen because of the row they refer to, which is there then."""
    owner = drawing.plan_of(item.child).owner
    return owner is not None and owner.number == item.number and item.refers_to_key
