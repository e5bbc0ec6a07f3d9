"""pandas frames to and from Arrow tables, with dtypes that follow from the column types.

| Arrow | pandas dtype | missing |
|---|---|---|
| int16, int32, int64 | Int16, Int32, Int64 | NA |
| float32, float64 | Float32, Float64; a stored NaN stays NaN, apart from NA | NA |
| bool, string | boolean, string | NA |
| timestamp[us], with UTC | datetime64[us], datetime64[us, UTC] | NaT |
| duration[us] | timedelta64[us] | NaT |
| date32, time64, decimal, binary, list | pd.ArrowDtype of the same | NA |
| arrow.uuid, arrow.json | object: uuid.UUID, parsed JSON | None |

Float64 rather than pd.ArrowDtype: both keep NaN apart from NA in storage, and in pandas 3 both
turn it into NA in arithmetic (unless `pd.options.future.distinguish_nan_and_na` is set), but
scikit-learn and NumPy take Float64 as it is.
"""

import datetime as dt
import json
import uuid
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from data_pipeline.errors import UnsupportedDataError
from data_pipeline.transfer.arrow_types import (
    MAX_DECIMAL128_DIGITS,
    MAX_DECIMAL_DIGITS,
    is_json,
    is_list,
    is_nested,
)
from data_pipeline.transfer.encode import JSON, json_text
from data_pipeline.transfer.frames import zero_columns
from data_pipeline.transfer.value_checks import ValueRefusedError, check_column_names, shown

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
    """Return a column of Python objects as an Arrow array; what pandas calls missing is NULL.

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
    """Find the first row that fails by itself; a failure of all together blames row 0."""
    for row in range(len(values)):
        try:
            _array(family, values[row : row + 1])
        except (pa.ArrowException, ValueError, OverflowError, TypeError, ValueRefusedError) as own:
            return row, str(own)
    return 0, str(error)


# Any: the stubs do not know `__from_arrow__`.
_DTYPES: dict[pa.DataType, Any] = {
    pa.int16(): pd.Int16Dtype(),
    pa.int32(): pd.Int32Dtype(),
    pa.int64(): pd.Int64Dtype(),
    pa.bool_(): pd.BooleanDtype(),
    pa.string(): pd.StringDtype("pyarrow", na_value=pd.NA),
}


def from_pandas(frame: pd.DataFrame) -> pa.Table:
    """Return a pandas frame as an Arrow table.

    The index is not stored. One that only numbers the rows is left out; one that carries data (a
    name, or labels that are no integers) is an error. In a NumPy float column NaN means missing,
    as everywhere in pandas, and becomes NULL; in Float64 and pd.ArrowDtype columns it stays NaN.

    Raises:
        UnsupportedDataError: The index carries data, or a column has no Arrow form.
    """
    _check_index(frame.index)
    check_column_names(list(frame.columns))
    if not len(frame.columns):
        return zero_columns(len(frame))
    return pa.table({str(name): _column(str(name), series) for name, series in frame.items()})


def to_pandas(table: pa.Table) -> pd.DataFrame:
    """Return an Arrow table as a pandas frame, with dtypes as in this module's table."""
    columns = {
        field.name: _series_data(column)
        for field, column in zip(table.schema, table.columns, strict=True)
    }
    return pd.DataFrame(columns, index=pd.RangeIndex(table.num_rows), copy=False)


def _check_index(index: pd.Index) -> None:
    named = [name for name in index.names if name is not None]
    numbers_rows = index.nlevels == 1 and pd.api.types.is_integer_dtype(index.dtype)
    if named or (len(index) and not numbers_rows):
        what = f"is named {named}" if named else f"holds labels of type {index.dtype}"
        raise UnsupportedDataError(
            f"The frame's index {what}, but an index is not stored in a table. "
            "Return frame.reset_index() to keep it as columns, or "
            "frame.reset_index(drop=True) to drop it."
        )


def _column(name: str, series: "pd.Series[Any]") -> pa.Array | pa.ChunkedArray:
    if series.dtype == object:
        return object_array(name, series.to_numpy())
    try:
        return pa.array(series, from_pandas=True)
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise UnsupportedDataError(
            f"Column `{name}`: its dtype {series.dtype} has no Arrow form ({error}). "
            "Convert the column with astype()."
        ) from error


def _series_data(column: pa.ChunkedArray) -> Any:
    kind = column.type
    if pa.types.is_floating(kind):
        return _floating(column)
    if kind in _DTYPES:
        return _DTYPES[kind].__from_arrow__(column)
    if pa.types.is_timestamp(kind) or pa.types.is_duration(kind):
        values = pd.Series(column.to_numpy())
        return values.dt.tz_localize(kind.tz) if getattr(kind, "tz", None) else values
    if is_json(kind):
        texts = column.cast(pa.string()).to_pylist()
        return _objects([None if text is None else json.loads(text) for text in texts])
    if kind == pa.uuid():
        return _objects(column.to_pylist())
    return pd.arrays.ArrowExtensionArray(column)


def _floating(column: pa.ChunkedArray) -> pd.arrays.FloatingArray:
    # Not Float64Dtype().__from_arrow__, which takes a NaN for missing.
    array = column.combine_chunks()
    mask = array.is_null().to_numpy(zero_copy_only=False)
    # Zeros under the NULLs, then a copy: a frame's data must be writable, Arrow's is not.
    values = pc.fill_null(array, pa.scalar(0, array.type)).to_numpy().copy()
    return pd.arrays.FloatingArray(values, mask)


def _objects(values: list[Any]) -> "np.ndarray[Any, np.dtype[np.object_]]":
    # Not np.array(values), which takes equally long lists for a matrix.
    result = np.empty(len(values), dtype=object)
    result[:] = values
    return result
