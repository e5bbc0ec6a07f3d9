"""Witnesses of fan-outs: for each relationship a parent with no, one and the most children."""

from typing import Any

import sqlalchemy as sa

from data_pipeline.sampling.in_database.drawing import Drawing
from data_pipeline.sampling.in_database.fan_outs import counted, limit_of
from data_pipeline.sampling.in_database.sampling_number import sampling_numbers
from data_pipeline.sampling.in_database.source_tables import TID, matches
from data_pipeline.sampling.rules import Role, brings_children, fan_out_reason
from data_pipeline.sampling.schema_graph import Relationship


def add_fan_out_witnesses(drawing: Drawing) -> None:
    """Adds the witnesses of all relationships whose children were counted.

    With a parent of one child comes its child, and with that of the most children come these,
    unless it is a hub, or they are over a hundred and over a thousandth of their table: then those
    that were chosen anyhow have to do.
    """
    for item in drawing.plan.graph.relationships:
        if item.number in drawing.references:
            for children in (0, 1, _most(drawing, item)):
                _add(drawing, item, children)


def _most(drawing: Drawing, item: Relationship) -> int:
    """Gives the largest number of children; values that dangle have no parent."""
    parent = drawing.sources[item.parent].rows("parent")
    for children in sorted(drawing.fan_outs[item.number], reverse=True):
        parents = _parents(drawing, item, children, parent)
        if drawing.connection.scalar(sa.select(sa.exists(parents))):
            return children
    return 0


def _parents(
    drawing: Drawing, item: Relationship, children: int, parent: sa.FromClause
) -> sa.Select[Any]:
    """Gives the places of those rows of the parent that have a number of children."""
    references = drawing.references[item.number]
    is_counted = counted(item, parent, references)
    if children == 0:
        return sa.select(parent.c[TID]).where(~sa.exists().where(is_counted))
    number = references.c.n == children
    return sa.select(parent.c[TID]).join(references, sa.and_(is_counted, number))


def _add(drawing: Drawing, item: Relationship, children: int) -> None:
    reason = fan_out_reason(children, item)
    brings = brings_children(children, drawing.fan_outs[item.number], limit_of(drawing, item))
    parent = _first_parent(drawing, item, children, brings=brings)
    if parent is None:
        return
    place = parent.subquery("place")
    one, _ = drawing.space.create(sa.select(place), "fan_witness")
    drawing.add(item.parent, one, Role.WITNESS, reason)
    if brings:
        drawing.add(item.child, _children(drawing, item, one), Role.WITNESS, reason)


def _first_parent(
    drawing: Drawing, item: Relationship, children: int, *, brings: bool
) -> sa.Select[Any] | None:
    """Gives the parent to be added; None where the sample has one that needs no addition."""
    if _is_there(drawing, item, children, brings=brings):
        return None
    parent = drawing.sources[item.parent].rows("parent")
    # A table of its own: how many there are, the planner could only guess.
    candidates = _parents(drawing, item, children, parent)
    places, count = drawing.space.create(candidates, "fan_out_candidates")
    if not count:
        return None
    numbered = sampling_numbers(drawing, item.parent, places).subquery("numbered")
    order = (numbered.c.number, numbered.c.hash, numbered.c[TID])
    return sa.select(numbered.c[TID]).order_by(*order).limit(1)


def _is_there(drawing: Drawing, item: Relationship, children: int, *, brings: bool) -> bool:
    """Whether the sample has a parent with a number of children, and these if need be."""
    if item.parent in drawing.whole:
        return not brings
    if brings and not _children_come_along(drawing, item):
        return False
    chosen = drawing.rows[item.parent]
    places = sa.select(chosen.c[TID])
    if brings:
        # The children of other chosen rows need not be there.
        places = places.where(chosen.c.role <= int(Role.SAMPLED))
    parent = drawing.sources[item.parent].rows_at(places.subquery("chosen"), "parent")
    found = _parents(drawing, item, children, parent).subquery("found")
    # To search for the first one alone, the planner would try all pairs, of which none may fit.
    return bool(drawing.connection.scalar(sa.select(sa.func.count()).select_from(found)))


def _children_come_along(drawing: Drawing, item: Relationship) -> bool:
    """Whether the children of a sampled parent are all sampled with it."""
    owner = drawing.plan_of(item.child).owner
    is_owner = owner is not None and owner.number == item.number and item.refers_to_key
    return is_owner and drawing.is_sampled(item.parent)


def _children(drawing: Drawing, item: Relationship, parents: sa.TableClause) -> sa.Subquery:
    child = drawing.sources[item.child].rows("child")
    parent = drawing.sources[item.parent].rows("parent")
    return (
        sa.select(child.c[TID])
        .select_from(
            child.join(parent, matches(item, child, parent)).join(
                parents, parents.c[TID] == parent.c[TID]
            )
        )
        .subquery("children")
    )
