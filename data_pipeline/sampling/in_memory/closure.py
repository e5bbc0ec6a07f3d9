"""Closure: what a chosen row refers to is chosen as well, until nothing is missing."""

import numpy as np
import numpy.typing as npt

from data_pipeline.sampling.in_memory.column import Int64s
from data_pipeline.sampling.in_memory.drawing import NOT_CHOSEN, Drawing
from data_pipeline.sampling.rules import Role
from data_pipeline.sampling.schema_graph import Relationship

_New = dict[str, Int64s]


def close(drawing: Drawing) -> None:
    """Adds the rows that chosen rows refer to; references that dangle in the source stay so.

    Each wave looks at the rows that the one before it has added, so cycles and references to the
    same table come to an end.
    """
    new: _New = {
        name: source.positions if name in drawing.whole else np.flatnonzero(drawing.rows[name].mask)
        for name, source in drawing.sources.items()
    }
    while new:
        reasons = {
            table: _missing(drawing, table, new)
            for table in drawing.plan.graph.keys
            if table not in drawing.whole
        }
        new = {table: rows for table, (rows, _) in reasons.items() if len(rows)}
        for table, rows in new.items():
            drawing.add(table, rows, Role.REFERENCE, reasons[table][1])


def _missing(drawing: Drawing, table: str, new: _New) -> tuple[Int64s, npt.NDArray[np.object_]]:
    """Gives the rows that new rows refer to and that are not chosen yet, with reasons."""
    items = [item for item in drawing.plan.graph.of_parent(table) if item.child in new]
    parts = [(_referred(drawing, item, new[item.child]), f"referenced: {item}") for item in items]
    parts.sort(key=lambda part: part[1])
    rows = np.concatenate([np.zeros(0, np.int64), *(found for found, _ in parts)])
    reasons = np.repeat(
        np.array([reason for _, reason in parts], object), [len(found) for found, _ in parts]
    )
    rows, first = np.unique(rows, return_index=True)
    return rows, reasons[first]


def _referred(drawing: Drawing, item: Relationship, children: Int64s) -> Int64s:
    rows = drawing.references(item).parents_of(children)
    missing: Int64s = rows[drawing.rows[item.parent].role[rows] == NOT_CHOSEN]
    return missing
