"""Witnesses of fan-outs: for each relationship a parent with no, one and the most children."""

import numpy as np

from data_pipeline.sampling.in_memory.drawing import NOT_CHOSEN, Drawing, first_of
from data_pipeline.sampling.in_memory.fan_outs import limit_of
from data_pipeline.sampling.in_memory.sampling_number import sampling_numbers
from data_pipeline.sampling.rules import Role, brings_children, fan_out_reason
from data_pipeline.sampling.schema_graph import Relationship


def add_fan_out_witnesses(drawing: Drawing) -> None:
    """Adds the witnesses of all relationships whose children were counted.

    The rule is that of the module in `in_database`.
    """
    for item in drawing.plan.graph.relationships:
        if item.number in drawing.fan_outs:
            children = drawing.references(item).children
            for wanted in (0, 1, int(children.max(initial=0))):
                _add(drawing, item, wanted)


def _add(drawing: Drawing, item: Relationship, children: int) -> None:
    reason = fan_out_reason(children, item)
    brings = brings_children(children, drawing.fan_outs[item.number], limit_of(drawing, item))
    parent = _first_parent(drawing, item, children, brings=brings)
    if parent is None:
        return
    drawing.add(item.parent, np.array([parent]), Role.WITNESS, reason)
    if brings:
        brought = drawing.references(item).children_of(parent)
        drawing.add(item.child, brought, Role.WITNESS, reason)


def _first_parent(
    drawing: Drawing, item: Relationship, children: int, *, brings: bool
) -> int | None:
    """Gives the parent to be added; None where the sample has one that needs no addition."""
    if item.parent in drawing.whole and not brings:
        return None
    candidates = np.flatnonzero(drawing.references(item).children == children)
    if not len(candidates):
        return None
    if item.parent not in drawing.whole and (not brings or _children_come_along(drawing, item)):
        role = drawing.rows[item.parent].role[candidates]
        there = role != NOT_CHOSEN
        if brings:
            # The children of other chosen rows need not be there.
            there &= role <= int(Role.SAMPLED)
        if there.any():
            return None
    numbers = sampling_numbers(drawing, item.parent)
    return first_of(candidates, numbers, drawing.own_hash(item.parent))


def _children_come_along(drawing: Drawing, item: Relationship) -> bool:
    """Whether the children of a sampled parent are all sampled with it."""
    owner = drawing.plan_of(item.child).owner
    is_owner = owner is not None and owner.number == item.number and item.refers_to_key
    return is_owner and drawing.is_sampled(item.parent)
