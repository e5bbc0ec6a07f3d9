"""JSON text from Python and Arrow values."""

import datetime as dt
import json
import uuid
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from data_pipeline.tables.arrow_types import is_json, is_text
from data_pipeline.tables.checks import ValueRefusedError

JSON = pa.json_(pa.large_string())


def json_array(array: pa.Array) -> pa.Array:
    """Gives an array as arrow.json: text as it stands, everything else written out.

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
    """Gives a value as JSON text.

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
