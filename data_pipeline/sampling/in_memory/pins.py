"""Pinned rows: named by their keys in the specification, always in the sample."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from data_pipeline.sampling.in_memory.column import Column, Mask, comparable
from data_pipeline.sampling.in_memory.drawing import Drawing
from data_pipeline.sampling.in_memory.source_tables import SourceTable
from data_pipeline.sampling.refusals import check_pin, pin_of_other_type, unknown_pin
from data_pipeline.sampling.rules import Role


def add_pins(drawing: Drawing) -> None:
    """Adds the pinned rows.

    Raises:
        ConfigurationError: A pin does not name the primary key, is no value of its type, or no row
            has it.
    """
    for table, pins in drawing.plan.pins.items():
        for pin in pins:
            name = f"{drawing.plan.graph.stage}/{table}"
            source = drawing.sources[table]
            check_pin(name, pin, source.key)
            found = np.flatnonzero(_equal(name, source, pin))
            if not len(found):
                raise unknown_pin(name, pin)
            drawing.add(table, found, Role.PINNED, "pinned")


def _equal(name: str, source: SourceTable, pin: Mapping[str, Any]) -> Mask:
    found = np.ones(source.count, np.bool_)
    for key, value in pin.items():
        column = source.columns[key]
        if value is None:
            found &= ~column.valid
            continue
        try:
            wanted = _typed(source.name, column, value)
            numbers, [number] = comparable([column, wanted])
        except (pa.ArrowException, ValueError) as error:
            types = {key: source.columns[key].declared for key in pin}
            reason = f"{value!r} is not of type {column.declared} ({error})"
            raise pin_of_other_type(name, pin, reason, types) from None
        found &= column.valid & (numbers == number)
    return found


def _typed(table: str, column: Column, value: Any) -> Column:
    """Gives a column with the pinned value alone, as it would be in a column of the table."""
    text = pa.array([str(value).lower() if isinstance(value, bool) else str(value)])
    if column.kind == "boolean":
        text = pc.utf8_trim_whitespace(text)
    return Column(table, column.name, pa.chunked_array([_of(text, column)]), column.declared)


def _of(text: pa.Array, column: Column) -> pa.Array:
    if column.kind in ("text", "uuid"):
        return text
    if column.kind == "bytea":
        return pa.array([bytes.fromhex(text[0].as_py().removeprefix("\\x"))])
    return text.cast(column.values.type)
