"""The selection of a sample: which rows of each table of a stage, with role and probability."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from data_pipeline.database.identifiers import DIALECT
from data_pipeline.sampling.engine.closure import add_core, close
from data_pipeline.sampling.engine.coverage import cover
from data_pipeline.sampling.engine.fan_outs import add_fan_out_witnesses, count_what_is_needed
from data_pipeline.sampling.engine.frontier import check_coverage
from data_pipeline.sampling.engine.sampled import draw, find_cut, tables_that_come_whole
from data_pipeline.sampling.engine.selection_state import Drawing, Workspace
from data_pipeline.sampling.engine.source_tables import TID, SourceTable, source_tables
from data_pipeline.sampling.plan.rules import Role, check_pin, pin_of_other_type, unknown_pin
from data_pipeline.sampling.plan.sample_plan import SamplePlan


def add_pins(drawing: Drawing) -> None:
    """Add the pinned rows.

    Raises:
        ConfigurationError: A pin does not name the primary key, is no value of its type, or no row
            has it.
    """
    for table, pins in drawing.plan.pins.items():
        for pin in pins:
            check_pin(_name(drawing, table), pin, drawing.sources[table].key)
            rows = drawing.sources[table].rows("pinned")
            where = [_equals(rows.c[name], value) for name, value in pin.items()]
            found = sa.select(rows.c[TID]).where(*where)
            if not _exists(drawing, table, pin, found):
                raise unknown_pin(_name(drawing, table), pin)
            drawing.add(table, found.subquery("found"), Role.PINNED, "pinned")


def _exists(drawing: Drawing, table: str, pin: Mapping[str, Any], found: sa.Select[Any]) -> bool:
    try:
        with drawing.connection.begin_nested():
            return bool(drawing.connection.scalar(sa.select(sa.exists(found))))
    except sa.exc.DataError as error:
        columns = drawing.sources[table].table.c
        types = {name: columns[name].type.compile(DIALECT) for name in pin}
        reason = f"PostgreSQL says {str(error.orig).strip()}"
        raise pin_of_other_type(_name(drawing, table), pin, reason, types) from None


def _equals(column: sa.ColumnElement[Any], value: Any) -> sa.ColumnElement[bool]:
    if value is None:
        return column.is_(None)
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return column == sa.cast(sa.literal(text, sa.Text), column.type)


def _name(drawing: Drawing, table: str) -> str:
    return f"{drawing.plan.graph.stage}/{table}"


@dataclass(frozen=True)
class Selection:
    """The chosen rows of a stage.

    Attributes:
        plan: What they were chosen by.
        sources: The tables that they were chosen from.
        rows: For each table the working table of its chosen rows (place, role, probability, unit,
            reason); None for a table that comes whole.
        left_out: Columns with too many values for a witness of each, with the number of values that
            were found until it was clear.
        fan_outs: By the number of a relationship, how many values are referred to by the number of
            references, as far as they were counted.
        hubs: The number of hubs by root.
    """

    plan: SamplePlan
    sources: Mapping[str, SourceTable]
    rows: Mapping[str, sa.TableClause | None]
    left_out: Mapping[tuple[str, str], int]
    fan_outs: Mapping[int, Mapping[int, int]]
    hubs: Mapping[str, int]


def selection(space: Workspace, plan: SamplePlan, tables: Mapping[str, sa.Table]) -> Selection:
    """Choose the rows of a sample inside the database.

    Args:
        space: Where the working tables are to be. While they are used, the source must not change.
        plan: What is to be chosen.
        tables: The relations of the source by the names of the input tables; no views.

    Raises:
        ConfigurationError: Specification and tables do not fit.
    """
    sources = source_tables(space.connection, plan.graph, tables)
    check_coverage(space.connection, plan, sources)
    drawing = Drawing(plan, sources, space)
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
    return Selection(
        plan=plan,
        sources=sources,
        rows={name: drawing.rows.get(name) for name in plan.graph.keys},
        left_out=drawing.left_out,
        fan_outs=drawing.fan_outs,
        hubs={root: _count(space.connection, table) for root, table in drawing.hubs.items()},
    )


def _count(connection: sa.Connection, table: sa.TableClause) -> int:
    return int(connection.scalar(sa.select(sa.func.count()).select_from(table)) or 0)
