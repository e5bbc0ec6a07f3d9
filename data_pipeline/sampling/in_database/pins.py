"""Pinned rows: named by their keys in the specification, always in the sample."""

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from data_pipeline.errors import ConfigurationError
from data_pipeline.sampling.in_database.drawing import Drawing, Role
from data_pipeline.sampling.in_database.source_tables import TID
from data_pipeline.tables.names import DIALECT


def add_pins(drawing: Drawing) -> None:
    """Adds the pinned rows.

    Raises:
        ConfigurationError: A pin does not name the primary key, is no value of its type, or no row
            has it.
    """
    for table, pins in drawing.plan.pins.items():
        for pin in pins:
            _check_columns(drawing, table, pin)
            rows = drawing.sources[table].rows("pinned")
            where = [_equals(rows.c[name], value) for name, value in pin.items()]
            found = sa.select(rows.c[TID]).where(*where)
            if not _exists(drawing, table, pin, found):
                raise ConfigurationError(
                    f"{_name(drawing, table, pin)}: the source has no row with this key. Correct "
                    "it, or leave the pin out."
                )
            drawing.add(table, found.subquery("found"), Role.PINNED, "pinned")


def _check_columns(drawing: Drawing, table: str, pin: Mapping[str, Any]) -> None:
    key = drawing.sources[table].key
    if set(pin) != set(key):
        raise ConfigurationError(
            f"{_name(drawing, table, pin)}: a pin names the columns of the primary key, which are "
            f"{', '.join(f'`{name}`' for name in key)}. Correct it."
        )


def _exists(drawing: Drawing, table: str, pin: Mapping[str, Any], found: sa.Select[Any]) -> bool:
    try:
        with drawing.connection.begin_nested():
            return bool(drawing.connection.scalar(sa.select(sa.exists(found))))
    except sa.exc.DataError as error:
        columns = drawing.sources[table].table.c
        types = ", ".join(f"`{name}` {columns[name].type.compile(DIALECT)}" for name in pin)
        raise ConfigurationError(
            f"{_name(drawing, table, pin)}: PostgreSQL says {str(error.orig).strip()}. Give values "
            f"of the columns' types: {types}."
        ) from None


def _equals(column: sa.ColumnElement[Any], value: Any) -> sa.ColumnElement[bool]:
    if value is None:
        return column.is_(None)
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return column == sa.cast(sa.literal(text, sa.Text), column.type)


def _name(drawing: Drawing, table: str, pin: Mapping[str, Any]) -> str:
    key = ", ".join(f"{name}: {value}" for name, value in pin.items())
    return f"sample.pins, {drawing.plan.graph.stage}/{table} {{{key}}}"
