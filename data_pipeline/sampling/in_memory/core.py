"""The core that every sample of a salt has: a row of each table, a pair for each relationship."""

from collections.abc import Sequence

import numpy as np

from data_pipeline.sampling.in_memory.column import Int64s
from data_pipeline.sampling.in_memory.drawing import Drawing
from data_pipeline.sampling.in_memory.references import NOTHING
from data_pipeline.sampling.rules import CORE_CANDIDATES, Role
from data_pipeline.sampling.schema_graph import Relationship


def add_core(drawing: Drawing) -> None:
    """Adds a row that joins, for each relationship that holds for any, and a row of each table.

    The rule is that of the module in `in_database`.
    """
    referred: set[str] = set()
    started: set[str] = set()
    for table in drawing.plan.graph.keys:
        items = list(drawing.plan.graph.of_child(table))
        if items and _add_pairs(drawing, table, items, referred):
            started.add(table)
    for table in drawing.plan.graph.keys:
        if table not in referred | started and table not in drawing.whole:
            first = _in_order(drawing, table)[:1]
            drawing.add(table, first, Role.WITNESS, "a row of the table")


def _add_pairs(
    drawing: Drawing, table: str, items: Sequence[Relationship], referred: set[str]
) -> bool:
    if table in drawing.whole:
        return True
    rows = _in_order(drawing, table)
    candidates = rows[:CORE_CANDIDATES]
    done = set()
    if len(first := _holding(drawing, candidates, items)[:1]):
        names = ", ".join(str(item) for item in items)
        drawing.add(table, first, Role.WITNESS, f"join: {names}")
        done = {item.number for item in items}
    for item in items:
        if item.number not in done:
            first = _holding(drawing, candidates, [item])[:1]
            if not len(first):
                first = _holding(drawing, rows, [item])[:1]
            if len(first):
                drawing.add(table, first, Role.WITNESS, f"join: {item}")
                done.add(item.number)
    referred |= {item.parent for item in items if item.number in done}
    return bool(done)


def _in_order(drawing: Drawing, table: str) -> Int64s:
    return np.argsort(drawing.own_hash(table), kind="stable")


def _holding(drawing: Drawing, rows: Int64s, items: Sequence[Relationship]) -> Int64s:
    """Gives those rows of which some references hold."""
    for item in items:
        rows = rows[drawing.references(item).row[rows] != NOTHING]
    return rows
