"""What leaves for PostgreSQL: Arrow arrays, checked and cast to what a binary COPY needs."""

import datetime as dt
import json
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from data_pipeline.errors import UnsupportedDataError
from data_pipeline.transfer.arrow_types import (
    JSON_TYPES,
    TEXT_TYPES,
    PostgresType,
    is_binary,
    is_json,
    is_list,
    is_nested,
    is_text,
    plain_list,
)
from data_pipeline.transfer.frame_checks import ValueRefusedError, check_values, shown

JSON = pa.json_(pa.large_string())


def json_array(array: pa.Array) -> pa.Array:
    """Return an array as arrow.json: text as it stands, everything else written out.

    Raises:
        ValueRefusedError: A value has no JSON form.
    """
    if is_json(array.type):
        array = array.storage
    if not is_text(array.type) and not pa.types.is_null(array.type):
        try:
            values = array.to_pylist(maps_as_pydicts="strict")
        except (KeyError, ValueError, OverflowError) as error:
            raise ValueRefusedError(f"it has no JSON form ({error})") from None
        array = pa.array([None if v is None else json_text(v) for v in values], pa.large_string())
    text = array.cast(pa.large_string())
    # JSON text never holds this character itself, only its escape, which jsonb refuses.
    if pc.any(pc.match_substring(text, "\0")).as_py():
        raise ValueRefusedError("it contains a NUL character, which JSON text cannot hold")
    return pa.ExtensionArray.from_storage(JSON, text)


def json_text(value: Any) -> str:
    """Return a value as JSON text.

    Raises:
        ValueRefusedError: It contains something that JSON cannot hold.
    """
    try:
        text = json.dumps(_plain(value), allow_nan=False, ensure_ascii=False)
    except (TypeError, ValueError) as error:
        raise ValueRefusedError(f"it has no JSON form ({error})") from None
    if _has_nul(value, text):
        raise ValueRefusedError("it contains a NUL character, which PostgreSQL's JSON cannot hold")
    return text


def _has_nul(value: Any, text: str) -> bool:
    # The escape may also be text about the escape, behind an escaped backslash.
    return "\\u0000" in text and any("\0" in part for part in _strings(value))


def _strings(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, Mapping):
        return [part for item in value.items() for inner in item for part in _strings(inner)]
    if isinstance(value, list | tuple):
        return [part for item in value for part in _strings(item)]
    return []


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise TypeError(f"the key {key!r} is not a string")
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [_plain(inner) for inner in value]
    for kind, convert in _CONVERSIONS:
        if isinstance(value, kind):
            return convert(value)
    return value


_CONVERSIONS: list[tuple[type | tuple[type, ...], Callable[[Any], Any]]] = [
    (np.generic, lambda value: value.item()),
    ((dt.date, dt.time), lambda value: value.isoformat()),
    (uuid.UUID, str),
]


@dataclass(frozen=True)
class Outgoing:
    """How one column is sent.

    Attributes:
        name: The column.
        declared: Its PostgreSQL type.
        source: The Arrow type that arrives.
        sent: The Arrow type that ADBC copies as exactly that PostgreSQL type.
        via_text: Whether it is copied as text, and PostgreSQL converts the column afterwards.
        not_null: Whether a NULL is an error.
    """

    name: str
    declared: str
    source: pa.DataType
    sent: pa.DataType
    via_text: bool = False
    not_null: bool = False

    def encode(self, array: pa.Array, first_row: int) -> pa.Array:
        """Return the array as it is sent.

        Args:
            array: A piece of the column.
            first_row: The number of its first row in the whole table, from 0.

        Raises:
            UnsupportedDataError: A value cannot be held; the message names column, row and value.
        """
        try:
            if self.not_null and array.null_count:
                raise ValueRefusedError("NULL is not allowed in this column")
            return encoded(array, self.sent)
        except (ValueRefusedError, pa.ArrowException) as error:
            row = first_refused(array, self._attempt)
            otherwise = f"give the column another type: types={{{self.name!r}: ...}}"
            if self.not_null and not array[row].is_valid:
                otherwise = "declare another primary key, or the column as `nullable`,"
            raise UnsupportedDataError(
                f"Column `{self.name}`, row {first_row + row} (from 0): the value "
                f"{shown_value(array, row)} of type {self.source} cannot be stored as "
                f"{self.declared}: {self._reason(error)}. Change or remove the value, or "
                f"{otherwise} in `Table(...)`, of a source in `properties` of `database_tables`."
            ) from error

    def _attempt(self, array: pa.Array) -> None:
        if self.not_null and array.null_count:
            raise ValueRefusedError
        encoded(array, self.sent)

    def _reason(self, error: Exception) -> str:
        below = "would lose data" in str(error) and getattr(self.source, "unit", None) == "ns"
        if below:
            return "it has digits below the microsecond, PostgreSQL's finest unit"
        return str(error).splitlines()[0].rstrip(".")


def outgoing(
    name: str,
    source: pa.DataType,
    target: PostgresType,
    *,
    not_null: bool = False,
    as_text: bool = False,
) -> Outgoing:
    """Decide how a column of an Arrow type is sent into a column of a PostgreSQL type.

    Args:
        name: The column.
        source: The Arrow type.
        target: The PostgreSQL type.
        not_null: Whether a NULL is an error.
        as_text: Whether PostgreSQL is to read the text, whatever Arrow could make of it.

    Raises:
        UnsupportedDataError: There is no way from the one type to the other.
    """
    sent = _sent_type(source, target)
    if sent is not None and _has_cast(source, sent) and not as_text:
        return Outgoing(name, target.declared, source, sent, not_null=not_null)
    if _has_cast(source, pa.string()):
        return Outgoing(name, target.declared, source, pa.large_string(), True, not_null)
    raise UnsupportedDataError(
        f"Column `{name}`: the Arrow type `{source}` cannot be converted to {target.declared}. "
        "Convert the column first, or choose another type for it."
    )


def encoded(array: pa.Array, sent: pa.DataType) -> pa.Array:
    """Return an array cast to the type that is sent, its values checked.

    Raises:
        ValueRefusedError: PostgreSQL cannot hold a value.
        pa.ArrowException: A value does not survive the cast.
    """
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if is_json(sent):
        return json_array(array)
    if is_list(array.type):
        array = plain_list(array)
    if array.type != sent:
        array = _cast(array, sent)
    check_values(array)
    return array


def first_refused(array: pa.Array, attempt: Callable[[pa.Array], object]) -> int:
    """Return the first row of an array at which an attempt on a slice of it fails.

    The checks see whole arrays at once, for speed; this finds the culprit by halving.
    """
    low, high = 0, len(array)
    while high - low > 1:
        middle = (low + high) // 2
        try:
            attempt(array.slice(low, middle - low))
        except (ValueRefusedError, pa.ArrowException):
            high = middle
        else:
            low = middle
    return low


def shown_value(array: pa.Array, row: int) -> str:
    """Return a value of an array as it stands in a message."""
    try:
        return shown(array[row].as_py())
    except (ValueError, OverflowError):
        # Beyond Python's own types (year 10000, nanoseconds): Arrow's own form.
        return " ".join(str(array.slice(row, 1)).split())


def _sent_type(source: pa.DataType, target: PostgresType) -> pa.DataType | None:
    if target.is_array:
        if is_nested(source) or not is_list(source):
            return None
        inner = _sent_type(source.value_type, target.element)
        if inner is None or is_json(inner):
            return None
        return pa.list_(inner) if pa.types.is_list(source) else pa.large_list(inner)
    if not target.is_known or target.name == "oid":
        return None
    if target.name in TEXT_TYPES:
        if is_nested(source) or is_list(source):
            return None
        return pa.string() if pa.types.is_string(source) else pa.large_string()
    if target.name in JSON_TYPES:
        return pa.json_(pa.large_string())
    return _sent_scalar(source, target)


def _sent_scalar(source: pa.DataType, target: PostgresType) -> pa.DataType | None:
    types = pa.types
    if target.name == "numeric":
        if target.modifier >= 0 and types.is_decimal(target.arrow):
            return target.arrow
        if types.is_integer(source):
            return pa.decimal128(20, 0)
        return source if types.is_decimal128(source) or types.is_decimal256(source) else None
    if target.name == "bytea":
        return pa.binary() if types.is_binary(source) else pa.large_binary()
    if target.name == "interval" and source == pa.month_day_nano_interval():
        return source
    if target.name == "uuid" and is_text(source):
        return None
    return target.arrow


def _has_cast(source: pa.DataType, sent: pa.DataType) -> bool:
    if pa.types.is_dictionary(source):
        source = source.value_type
    if source == sent or is_json(sent):
        return True
    try:
        _cast(pa.nulls(0, source), sent)
    except (pa.ArrowNotImplementedError, pa.ArrowInvalid, pa.ArrowTypeError):
        return False
    return True


def _cast(array: pa.Array, sent: pa.DataType) -> pa.Array:
    source = array.type
    if pa.types.is_decimal(sent) and pa.types.is_integer(source):
        # Arrow judges this cast by the types alone; by way of wide decimals it looks at the values.
        return array.cast(pa.decimal256(60, sent.scale)).cast(sent)
    result = array.cast(sent)
    if _may_lose_in_silence(source, sent) and not result.cast(source).equals(array):
        raise ValueRefusedError("it would lose a part of its value")
    return result


def _may_lose_in_silence(source: pa.DataType, sent: pa.DataType) -> bool:
    types = pa.types
    to_day_or_flag = types.is_date(sent) or types.is_time(sent) or types.is_boolean(sent)
    same_kind = types.is_date(source) or types.is_time(source) or types.is_null(source)
    return to_day_or_flag and not (same_kind or is_text(source) or is_binary(source))
