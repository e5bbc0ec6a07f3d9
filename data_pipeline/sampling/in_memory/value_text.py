"""The text that PostgreSQL gives for a value (`value::text`), for a few values at a time."""

import datetime as dt
import uuid
from typing import Any

import numpy as np
import pyarrow as pa

from data_pipeline.sampling.in_memory.column import Column, Int64s

_DAY = 86_400_000_000
_DIGITS = {pa.float32(): 6, pa.float64(): 15}


def value_texts(column: Column, positions: Int64s) -> list[str]:
    """Gives the texts of a column's values that are not NULL, at some positions."""
    values = column.values.take(pa.array(positions))
    kind = values.type
    if pa.types.is_floating(kind):
        numbers = values.to_numpy(zero_copy_only=False)
        return [_float(number, _DIGITS[kind]) for number in numbers]
    if pa.types.is_timestamp(kind) or pa.types.is_duration(kind) or pa.types.is_time(kind):
        micros = values.cast(pa.int64()).to_pylist()
        return [_MICROS[column.kind](value) for value in micros]
    return [_text(value) for value in values.to_pylist()]


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, bytes):
        return "\\x" + value.hex()
    if isinstance(value, dt.date | uuid.UUID):
        return str(value)
    return (
        value if isinstance(value, str) else format(value, "f" if hasattr(value, "scaleb") else "")
    )


def _float(number: Any, digits: int) -> str:
    """Gives the shortest text that reads back as the number, as PostgreSQL 12 and later do."""
    if np.isnan(number):
        return "NaN"
    if np.isinf(number):
        return "Infinity" if number > 0 else "-Infinity"
    scientific = np.format_float_scientific(number, trim="-", exp_digits=2)
    exponent = int(scientific.partition("e")[2])
    if -4 <= exponent < digits:
        return np.format_float_positional(number, trim="-")
    return scientific


def _timestamp(micros: int) -> str:
    day, rest = divmod(micros, _DAY)
    return f"{np.datetime64(day, 'D')} {_time(rest)}"


def _with_zone(micros: int) -> str:
    return f"{_timestamp(micros)}+00"


def _time(micros: int) -> str:
    sign = "-" if micros < 0 else ""
    seconds, fraction = divmod(abs(micros), 1_000_000)
    text = f"{sign}{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
    return f"{text}.{fraction:06}".rstrip("0") if fraction else text


_MICROS = {
    "timestamp": _timestamp,
    "timestamp with time zone": _with_zone,
    "time": _time,
    "interval": _time,
}
