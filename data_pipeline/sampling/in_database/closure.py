"""Closure: what a chosen row refers to is chosen as well, until nothing is missing."""

from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import distinct_on

from data_pipeline.sampling.in_database.drawing import Drawing
from data_pipeline.sampling.in_database.source_tables import (
    TID,
    name_of_value,
    refers,
    values_referred_to,
)
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
    first = sa.select(found).ext(distinct_on(found.c[TID]))
    return first.order_by(found.c[TID], found.c.reason)


def _missing(drawing: Drawing, item: Relationship, new: _New | None) -> sa.Select[Any] | None:
    """Gives the parent's rows that new rows refer to and that are not chosen yet."""
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


def _keys(drawing: Drawing, item: Relationship, new: _New | None) -> sa.TableClause | None:
    """Gives the values that new rows refer to.

    They have a table of their own: how many there are, the planner could only guess.
    """
    parts = list(_values(drawing, item, new))
    if not parts:
        return None
    query = parts[0] if len(parts) == 1 else sa.union_all(*parts)
    keys, count = drawing.space.create(query, "keys", str(item.number))
    return keys if count else None


def _values(drawing: Drawing, item: Relationship, new: _New | None) -> Iterator[sa.Select[Any]]:
    source = drawing.sources[item.child]
    if item.child in drawing.whole:
        if new is None:
            yield _of_rows(item, source.rows("child"))
    elif new is not None:
        if item.child in new:
            yield _of_working_table(item, new[item.child])
    else:
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
