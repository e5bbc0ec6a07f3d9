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
import os
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from decimal import Decimal
from typing import Any, Protocol

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
from data_pipeline.transfer.frame_checks import ValueRefusedError, check_column_names, shown
from data_pipeline.transfer.frames import zero_columns

_IGNORE_TIME_ZONES = "PYARROW_IGNORE_TIMEZONE"
_ObjectArray = np.ndarray[Any, np.dtype[np.object_]]

# In this order: a bool is an int, a datetime a date.
_TYPE_KINDS: list[tuple[tuple[type, ...], str]] = [
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


def object_array(name: str, values: _ObjectArray) -> pa.Array:
    """Return a column of Python objects as an Arrow array; what pandas calls missing is NULL.

    All values must be of one kind: text, numbers of one kind, dates, and so on. Dictionaries
    become JSON. Lists become Arrow lists if they hold scalars of one kind, else JSON. A column
    without any value is text. Decimals get 38 digits and the largest scale that occurs.

    Args:
        name: The column, for messages.
        values: One-dimensional, of dtype object.

    Raises:
        UnsupportedDataError: Values are of several kinds, of a type that has no PostgreSQL
            counterpart, or too large; the message names column, row and value.
    """
    missing = pd.isna(values)
    type_kind = _type_kind(name, values, missing)
    if type_kind is None:
        return pa.nulls(len(values), pa.large_string())
    present = values.copy()
    present[missing] = None
    try:
        return _array(type_kind, present)
    except (pa.ArrowException, ValueError, OverflowError, TypeError, ValueRefusedError) as error:
        row, reason = _culprit(type_kind, present, error)
        raise UnsupportedDataError(
            f"Column `{name}`, row {row} (from 0): the value {shown(values[row])} cannot be stored "
            f"in a column of type {type_kind}: {reason}. Change the value, or convert the column."
        ) from error


def _type_kind(
    name: str, values: _ObjectArray, missing: "np.ndarray[Any, np.dtype[np.bool_]]"
) -> str | None:
    found = {kind: _family_of(kind) for kind in set(map(type, values[~missing]))}
    type_kinds = set(found.values())
    if type_kinds == {"json", "list"}:
        return "json"
    if len(type_kinds) <= 1 and None not in type_kinds:
        return type_kinds.pop() if type_kinds else None
    examples: dict[str | None, int] = {}
    for row in np.flatnonzero(~missing):
        examples.setdefault(found[type(values[row])], int(row))
    shown_types = " and ".join(
        f"{type(values[row]).__name__} (row {row}: {shown(values[row])})"
        for row in list(examples.values())[:2]
    )
    what = "mixes the types" if len(type_kinds) > 1 else "holds objects of the type"
    raise UnsupportedDataError(
        f"Column `{name}` {what} {shown_types}. A table's column has one type: convert the column, "
        "for example with astype()."
    )


def _family_of(kind: type) -> str | None:
    return next((type_kind for kinds, type_kind in _TYPE_KINDS if issubclass(kind, kinds)), None)


def _array(type_kind: str, values: _ObjectArray) -> pa.Array:
    if type_kind == "uuid":
        return pa.array([v if v is None else v.bytes for v in values], pa.uuid())
    if type_kind == "json":
        return _json(values)
    if type_kind == "list":
        return _lists(values)
    if type_kind == "decimal":
        return pa.array(values, _decimal_type([v for v in values if v is not None]))
    if type_kind == "timestamp":
        return _timestamps(values)
    if type_kind == "time" and any(v is not None and v.tzinfo is not None for v in values):
        raise ValueError("a time of day with a time zone has no Arrow type")
    return pa.array(values, _ARROW[type_kind])


def _json(values: _ObjectArray) -> pa.Array:
    texts = [v if v is None else json_text(v) for v in values]
    return pa.ExtensionArray.from_storage(JSON, pa.array(texts, pa.large_string()))


def _lists(values: _ObjectArray) -> pa.Array:
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


def _timestamps(values: _ObjectArray) -> pa.Array:
    present = [v for v in values if v is not None]
    zoned = {v.tzinfo is not None for v in present}
    if len(zoned) > 1:
        raise ValueError("times with and without a time zone are mixed")
    if any(getattr(v, "nanosecond", 0) for v in present):
        raise ValueError("it has digits below the microsecond, PostgreSQL's finest unit")
    return pa.array(values, pa.timestamp("us", "UTC" if True in zoned else None))


def _culprit(type_kind: str, values: _ObjectArray, error: Exception) -> tuple[int, str]:
    """Find the first row that fails by itself; a failure of all together blames row 0."""
    for row in range(len(values)):
        try:
            _array(type_kind, values[row : row + 1])
        except (pa.ArrowException, ValueError, OverflowError, TypeError, ValueRefusedError) as own:
            return row, str(own)
    return 0, str(error)


_TEXT: Any = pd.StringDtype("pyarrow", na_value=pd.NA)  # the stubs know no `__from_arrow__`
_MASKED: dict[pa.DataType, Any] = {
    pa.int16(): pd.arrays.IntegerArray,
    pa.int32(): pd.arrays.IntegerArray,
    pa.int64(): pd.arrays.IntegerArray,
    pa.float32(): pd.arrays.FloatingArray,
    pa.float64(): pd.arrays.FloatingArray,
    pa.bool_(): pd.arrays.BooleanArray,
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
    with _time_zones_kept():
        return pa.table({str(name): _column(str(name), series) for name, series in frame.items()})


@contextmanager
def _time_zones_kept() -> Iterator[None]:
    """Let Arrow heed time zones of Python's datetimes, whatever another library has asked for.

    pandera sets the variable for the whole process when it is imported.
    """
    before = os.environ.pop(_IGNORE_TIME_ZONES, None)
    try:
        yield
    finally:
        if before is not None:
            os.environ[_IGNORE_TIME_ZONES] = before


def to_pandas(reader: pa.RecordBatchReader) -> pd.DataFrame:
    """Return Arrow batches as a pandas frame, with dtypes as in this module's table.

    Each batch is converted and freed before the next one comes, so that all takes little more
    memory than the frame. (Columns of a batch share their memory: freeing them one by one would
    free nothing.)
    """
    columns = [_collected(field.type) for field in reader.schema]
    rows = 0
    for batch in reader:
        rows += batch.num_rows
        for column, array in zip(columns, batch.columns, strict=True):
            column.add(array)
    names = reader.schema.names
    data = {name: column.taken() for name, column in zip(names, columns, strict=True)}
    return pd.DataFrame(data, index=pd.RangeIndex(rows), copy=False)


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


class _Column(Protocol):
    """One column of a frame, as its batches come."""

    def add(self, array: pa.Array) -> None:
        """Take over what the next batch has of it; nothing of the batch is kept."""

    def taken(self) -> Any:
        """Return all of it."""


def _collected(kind: pa.DataType) -> _Column:
    if kind in _MASKED:
        return _Masked(kind)
    if pa.types.is_timestamp(kind) or pa.types.is_duration(kind):
        return _Times(kind)
    return _Objects(kind) if is_json(kind) or kind == pa.uuid() else _ArrowChunks(kind)


class _Growing:
    """A NumPy array that grows. What it has in reserve takes no memory until it is written."""

    def __init__(self, dtype: Any) -> None:
        self._values: np.ndarray[Any, Any] = np.empty(0, dtype)
        self._size = 0

    def add(self, values: Any) -> None:
        """Append values."""
        size = self._size + len(values)
        if size > len(self._values):
            grown = np.empty(max(size, 2 * self._size), self._values.dtype)
            grown[: self._size] = self._values[: self._size]
            self._values = grown
        self._values[self._size : size] = values
        self._size = size

    def taken(self) -> "np.ndarray[Any, Any]":
        """Return all values."""
        return self._values[: self._size]


class _Masked:
    """Numbers and truth values, with what is NULL apart: zeros stand there.

    Not by `__from_arrow__` of the dtype, which takes a NaN for missing.
    """

    def __init__(self, kind: pa.DataType) -> None:
        self._array = _MASKED[kind]
        self._zero = pa.scalar(0, pa.int8()).cast(kind)
        self._values = _Growing(kind.to_pandas_dtype())
        self._mask = _Growing(np.bool_)

    def add(self, array: pa.Array) -> None:
        filled = pc.fill_null(array, self._zero) if array.null_count else array
        self._values.add(filled.to_numpy(zero_copy_only=False))
        self._mask.add(array.is_null().to_numpy(zero_copy_only=False))

    def taken(self) -> Any:
        return self._array(self._values.taken(), self._mask.taken())


class _Times:
    """Times and durations in NumPy's types, which have a value for what is missing."""

    def __init__(self, kind: pa.DataType) -> None:
        self._zone = getattr(kind, "tz", None)
        self._values = _Growing(kind.to_pandas_dtype() if self._zone is None else "datetime64[us]")

    def add(self, array: pa.Array) -> None:
        self._values.add(array.to_numpy(zero_copy_only=False))

    def taken(self) -> Any:
        values = pd.Series(self._values.taken(), copy=False)
        return values.dt.tz_localize(self._zone) if self._zone else values


class _Objects:
    """Python objects: UUIDs, and what JSON stands for."""

    def __init__(self, kind: pa.DataType) -> None:
        self._is_json = is_json(kind)
        self._values: list[Any] = []

    def add(self, array: pa.Array) -> None:
        if self._is_json:
            texts = array.cast(pa.string()).to_pylist()
            self._values += [None if text is None else json.loads(text) for text in texts]
        else:
            self._values += array.to_pylist()

    def taken(self) -> "np.ndarray[Any, np.dtype[np.object_]]":
        # Not np.array(values), which takes equally long lists for a matrix.
        result = np.empty(len(self._values), dtype=object)
        result[:] = self._values
        return result


class _ArrowChunks:
    """What pandas keeps in Arrow, texts among it."""

    def __init__(self, kind: pa.DataType) -> None:
        self._kind = kind
        self._chunks: list[pa.Array] = []

    def add(self, array: pa.Array) -> None:
        # To put two together is what copies: the batch would stay for a reference to its column.
        self._chunks.append(pa.concat_arrays([array, array[:0]]))

    def taken(self) -> Any:
        chunks, self._chunks = self._chunks, []
        column = pa.chunked_array(chunks, self._kind)
        if self._kind == pa.string():
            return _TEXT.__from_arrow__(column)
        return pd.arrays.ArrowExtensionArray(column)
