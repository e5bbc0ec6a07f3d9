"""The selection of a sample: which rows of each table of a stage, with role and probability."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from data_pipeline.sampling.in_memory.closure import close
from data_pipeline.sampling.in_memory.core import add_core
from data_pipeline.sampling.in_memory.coverage import check_coverage, cover
from data_pipeline.sampling.in_memory.drawing import Chosen, Drawing
from data_pipeline.sampling.in_memory.fan_out_witnesses import add_fan_out_witnesses
from data_pipeline.sampling.in_memory.fan_outs import count_what_is_needed
from data_pipeline.sampling.in_memory.pins import add_pins
from data_pipeline.sampling.in_memory.sampled import draw, find_cut, tables_that_come_whole
from data_pipeline.sampling.in_memory.source_tables import SourceTable, source_tables
from data_pipeline.sampling.sample_plan import SamplePlan


@dataclass(frozen=True)
class Selection:
    """The chosen rows of a stage.

    Attributes:
        sources: The tables that they were chosen from.
        rows: The chosen rows of each table; None for a table that comes whole.
        left_out: Columns with too many values for a witness of each, with their number.
        fan_outs: By the number of a relationship, how many values are referred to by the number of
            references, as far as they were counted.
    """

    sources: Mapping[str, SourceTable]
    rows: Mapping[str, Chosen | None]
    left_out: Mapping[tuple[str, str], int]
    fan_outs: Mapping[int, Mapping[int, int]]


def selection(
    plan: SamplePlan, frames: Mapping[str, Any], types: Mapping[str, Mapping[str, str]]
) -> Selection:
    """Chooses the rows of a sample of frames: those that would be chosen in the database.

    Args:
        plan: What is to be chosen.
        frames: Frames of pandas, polars or Arrow by the names of the input tables.
        types: The PostgreSQL types that are declared for their columns.

    Raises:
        ConfigurationError: Specification and tables do not fit, or the specification needs the
            database.
        UnsupportedDataError: PostgreSQL could not hold a value.
    """
    drawing = Drawing(plan, source_tables(plan.graph, frames, types))
    check_coverage(drawing)
    drawing.whole |= tables_that_come_whole(drawing)
    count_what_is_needed(drawing)
    for root, settings in plan.roots.items():
        if not plan.is_minimal:
            drawing.cuts[root] = find_cut(drawing, root, settings)
    draw(drawing)
    add_pins(drawing)
    add_core(drawing)
    if not plan.is_minimal and not plan.cover.covers_nothing:
        if plan.cover.fan_outs:
            add_fan_out_witnesses(drawing)
        cover(drawing)
    close(drawing)
    rows = {name: drawing.rows.get(name) for name in plan.graph.keys}
    return Selection(drawing.sources, rows, drawing.left_out, drawing.fan_outs)
