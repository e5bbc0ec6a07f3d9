"""How many children parents have, and which roots are hubs."""

from typing import TYPE_CHECKING

import numpy as np

from data_pipeline.sampling.in_memory.drawing import Drawing, Hubs
from data_pipeline.sampling.rules import limit_of_hubs
from data_pipeline.sampling.sample_plan import Part
from data_pipeline.sampling.schema_graph import Relationship

if TYPE_CHECKING:
    from data_pipeline.sampling.in_memory.column import Mask


def count_children(drawing: Drawing, item: Relationship) -> None:
    """Counts the references to each value; the drawing then knows its `fan_outs`."""
    if item.number not in drawing.fan_outs:
        counts = drawing.references(item).counts
        numbers, values = np.unique(counts[counts > 0], return_counts=True)
        drawing.fan_outs[item.number] = dict(zip(numbers.tolist(), values.tolist(), strict=True))


def limit_of(drawing: Drawing, item: Relationship) -> int | None:
    """Gives the number of children above which a parent is a hub of a relationship, if any is."""
    return limit_of_hubs(drawing.plan.settings.hubs, drawing.fan_outs[item.number])


def find_hubs(drawing: Drawing, root: str) -> None:
    """Finds the hubs of a root: rows with very many children that are sampled with it."""
    thinned: dict[int, Mask] = {}
    for child in drawing.plan.owned_by(root):
        if child.owner is not None:
            count_children(drawing, child.owner)
            if (limit := limit_of(drawing, child.owner)) is not None:
                thinned[child.owner.number] = drawing.references(child.owner).children > limit
    rows = np.logical_or.reduce(
        [*thinned.values(), np.zeros(drawing.sources[root].count, np.bool_)]
    )
    if rows.any():
        drawing.hubs[root] = Hubs(rows, thinned)


def count_what_is_needed(drawing: Drawing) -> None:
    """Counts the children for hubs, and for the witnesses of fan-outs."""
    if drawing.plan.is_minimal:
        return
    if drawing.plan.cover.fan_outs:
        for item in drawing.plan.graph.relationships:
            if not {item.child, item.parent} <= drawing.whole:
                count_children(drawing, item)
    if drawing.plan.settings.hubs != "off":
        for table in drawing.plan.tables.values():
            if table.part is Part.ROOT and table.name not in drawing.whole:
                find_hubs(drawing, table.name)
