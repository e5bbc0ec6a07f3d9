"""The sampling number of a row: which rows a sample has first, and which only at a higher rate."""

import numpy as np

from data_pipeline.sampling.in_memory.column import Int64s
from data_pipeline.sampling.in_memory.drawing import Drawing
from data_pipeline.sampling.in_memory.references import NOTHING
from data_pipeline.sampling.rules import FOR_CERTAIN
from data_pipeline.sampling.sample_plan import Part
from data_pipeline.sampling.schema_graph import Relationship


def is_direct(drawing: Drawing, item: Relationship) -> bool:
    """Whether a child's reference alone says if its parent is sampled: it is the key of a root."""
    return item.refers_to_key and drawing.plan_of(item.parent).part is Part.ROOT


def sampling_numbers(drawing: Drawing, table: str) -> Int64s:
    """Gives the sampling number of each row; the rule is that of the module in `in_database`."""
    if table not in drawing.numbers:
        plan = drawing.plan_of(table)
        numbers = drawing.own_number(table)
        if plan.owner is not None:
            numbers = _of_children(drawing, plan.owner)
        elif table in drawing.hubs:
            numbers = np.where(drawing.hubs[table].rows, FOR_CERTAIN, numbers)
        drawing.numbers[table] = numbers
    return drawing.numbers[table]


def _of_children(drawing: Drawing, item: Relationship) -> Int64s:
    found = drawing.references(item)
    own = drawing.own_number(item.child)
    columns = drawing.reference_columns(item)
    value = drawing.sources[item.child].number_of(columns, drawing.salt)
    row = found.row
    holds = row != NOTHING
    numbers = np.where(found.refers, value, own)
    if not is_direct(drawing, item):
        numbers[holds] = sampling_numbers(drawing, item.parent)[row[holds]]
    hubs = drawing.hubs.get(item.parent)
    if hubs is not None:
        numbers[holds & hubs.rows[row]] = FOR_CERTAIN
        thinned = hubs.thinned.get(item.number)
        if thinned is not None:
            numbers = np.where(holds & thinned[row], own, numbers)
    return numbers
