"""Arrow arrays from columns of Python objects, typed by the objects' own types."""

import datetime as dt
import uuid
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from data_pipeline.errors import UnsupportedDataError
from data_pipeline.tables.arrow_types import (
    MAX_DECIMAL128_DIGITS,
    MAX_DECIMAL_DIGITS,
    is_list,
    is_nested,
)
from data_pipeline.tables.checks import ValueRefusedError, shown
from data_pipeline.tables.json_text import JSON, json_text

_Objects = np.ndarray[Any, np.dtype[np.object_]]

# In this order: a bool is an int, a datetime a date.
_FAMILIES: list[tuple[tuple[type, ...], str]] = [
    ((str,), "text"),
    ((bool, np.bool_), "boolean"),
    ((int, np.integer), "integer"),
    ((float, np.floating), "float"),
    ((Decimal,), "decimal"),
    ((bytes, bytearray), "binary"),
    ((dt.datetime,), "timestamp"),
    ((dt.date,), "date"),
    ((dt.time,), "time"),
    ((dt.timedelta, np.timedelta64), "duration"),
    ((uuid.UUID,), "uuid"),
    ((Mapping,), "json"),
    ((list, tuple, np.ndarray), "list"),
]

_ARROW = {
    "text": pa.large_string(),
    "boolean": pa.bool_(),
    "integer": pa.int64(),
    "float": pa.float64(),
    "binary": pa.large_binary(),
    "date": pa.date32(),
    "time": pa.time64("us"),
    "duration": pa.duration("us"),
}


def object_array(name: str, values: _Objects) -> pa.Array:
    """Gives a column of Python objects as an Arrow array; what pandas calls missing is NULL.

    All values must be of one family: text, numbers of one kind, dates, and so on. Dictionaries
    become JSON. Lists become Arrow lists if they hold scalars of one family, else JSON. A column
    without any value is text. Decimals get 38 digits and the largest scale that occurs.

    Args:
        name: The column, for messages.
        values: One-dimensional, of dtype object.

    Raises:
        UnsupportedDataError: Values are of several families, of a type that has no PostgreSQL
            counterpart, or too large; the message names column, row and value.
    """
    missing = pd.isna(values)
    family = _family(name, values, missing)
    if family is None:
        return pa.nulls(len(values), pa.large_string())
    present = values.copy()
    present[missing] = None
    try:
        return _array(family, present)
    except (pa.ArrowException, ValueError, OverflowError, TypeError, ValueRefusedError) as error:
        row, reason = _culprit(family, present, error)
        raise UnsupportedDataError(
            f"Column `{name}`, row {row} (from 0): the value {shown(values[row])} cannot be stored "
            f"in a column of type {family}: {reason}. Change the value, or convert the column."
        ) from error


def _family(
    name: str, values: _Objects, missing: "np.ndarray[Any, np.dtype[np.bool_]]"
) -> str | None:
    found = {kind: _family_of(kind) for kind in set(map(type, values[~missing]))}
    families = set(found.values())
    if families == {"json", "list"}:
        return "json"
    if len(families) <= 1 and None not in families:
        return families.pop() if families else None
    examples: dict[str | None, int] = {}
    for row in np.flatnonzero(~missing):
        examples.setdefault(found[type(values[row])], int(row))
    shown_types = " and ".join(
        f"{type(values[row]).__name__} (row {row}: {shown(values[row])})"
        for row in list(examples.values())[:2]
    )
    what = "mixes the types" if len(families) > 1 else "holds objects of the type"
    raise UnsupportedDataError(
        f"Column `{name}` {what} {shown_types}. A table's column has one type: convert the column, "
        "for example with astype()."
    )


def _family_of(kind: type) -> str | None:
    return next((family for kinds, family in _FAMILIES if issubclass(kind, kinds)), None)


def _array(family: str, values: _Objects) -> pa.Array:
    if family == "uuid":
        return pa.array([v if v is None else v.bytes for v in values], pa.uuid())
    if family == "json":
        return _json(values)
    if family == "list":
        return _lists(values)
    if family == "decimal":
        return pa.array(values, _decimal_type([v for v in values if v is not None]))
    if family == "timestamp":
        return _timestamps(values)
    if family == "time" and any(v is not None and v.tzinfo is not None for v in values):
        raise ValueError("a time of day with a time zone has no Arrow type")
    return pa.array(values, _ARROW[family])


def _json(values: _Objects) -> pa.Array:
    texts = [v if v is None else json_text(v) for v in values]
    return pa.ExtensionArray.from_storage(JSON, pa.array(texts, pa.large_string()))


def _lists(values: _Objects) -> pa.Array:
    try:
        array = pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        return _json(values)
    if not is_list(array.type) or is_nested(array.type):
        return _json(values)
    if pa.types.is_decimal(array.type.value_type):
        inner = [item for value in values if value is not None for item in value]
        return array.cast(pa.list_(_decimal_type([v for v in inner if v is not None])))
    return array


def _decimal_type(values: list[Decimal]) -> pa.DataType:
    parts = [value.as_tuple() for value in values if value.is_finite()]
    scale = max((-int(part.exponent) for part in parts), default=0)
    scale = max(scale, 0)
    whole = max((len(part.digits) + int(part.exponent) for part in parts), default=0)
    if whole + scale <= MAX_DECIMAL128_DIGITS:
        return pa.decimal128(MAX_DECIMAL128_DIGITS, scale)
    return pa.decimal256(MAX_DECIMAL_DIGITS, min(scale, MAX_DECIMAL_DIGITS))


def _timestamps(values: _Objects) -> pa.Array:
    present = [v for v in values if v is not None]
    zoned = {v.tzinfo is not None for v in present}
    if len(zoned) > 1:
        raise ValueError("times with and without a time zone are mixed")
    if any(getattr(v, "nanosecond", 0) for v in present):
        raise ValueError("it has digits below the microsecond, PostgreSQL's finest unit")
    return pa.array(values, pa.timestamp("us", "UTC" if True in zoned else None))


def _culprit(family: str, values: _Objects, error: Exception) -> tuple[int, str]:
    """Finds the first row that fails by itself; a failure of all together blames row 0."""
    for row in range(len(values)):
        try:
            _array(family, values[row : row + 1])
        except (pa.ArrowException, ValueError, OverflowError, TypeError, ValueRefusedError) as own:
            return row, str(own)
    return 0, str(error)
