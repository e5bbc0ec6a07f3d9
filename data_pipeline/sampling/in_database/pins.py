"""Pinned rows: named by their keys in the specification, always in the sample."""

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from data_pipeline.sampling.in_database.drawing import Drawing
from data_pipeline.sampling.in_database.source_tables import TID
from data_pipeline.sampling.refusals import check_pin, pin_of_other_type, unknown_pin
from data_pipeline.sampling.rules import Role
from data_pipeline.tables.names import DIALECT


def add_pins(drawing: Drawing) -> None:
    """Adds the pinned rows.

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
