"""Hashes of values that are the same in every process and on every machine."""

import dataclasses
import datetime
import decimal
import enum
import hashlib
import json
import pathlib
import re
import sys
import types
import uuid
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Any

from data_pipeline.errors import UnstableValueError


def fingerprint(*parts: Any) -> str:
    """Return a short stable identity of JSON-like parts (SHA-256, the first 32 hex digits)."""
    text = json.dumps(parts, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def array_content(value: Any) -> tuple[Any, ...] | None:
    """Return the type and content of a numpy scalar, array or dtype, or of a pandas scalar.

    Returns:
        Plain data, or None for any other object.

    Raises:
        UnstableValueError: The bytes of its dtype differ between machines.
    """
    # Neither library is imported here: where one is not loaded, the value cannot be of it.
    top = type(value).__module__.partition(".")[0]
    if top == "numpy" and "numpy" in sys.modules:
        return _numpy(value)
    if top == "pandas" and "pandas" in sys.modules:
        return _pandas(value)
    return None


def _numpy(value: Any) -> tuple[Any, ...] | None:
    import numpy as np

    if isinstance(value, np.dtype):
        return "dtype", _dtype(value)
    if type(value) is np.ndarray:
        return "ndarray", _dtype(value.dtype), value.shape, _elements(value)
    if isinstance(value, np.generic):
        return "scalar", _dtype(value.dtype), _elements(np.asarray(value))
    return None


def _dtype(dtype: Any) -> Any:
    """Return a dtype without its byte order."""
    import numpy as np

    if dtype.names is not None:
        return [(name, _dtype(dtype[name])) for name in dtype.names]
    if dtype.subdtype is not None:
        return _dtype(dtype.subdtype[0]), dtype.subdtype[1]
    if dtype.type in (np.longdouble, np.clongdouble):
        raise UnstableValueError(
            f"Cannot hash a numpy value of dtype `{dtype}`: its precision differs between "
            "machines. Convert it to float64 or complex128."
        )
    return dtype.newbyteorder("<").str if dtype.kind != "T" else "StringDType"


def _elements(array: Any) -> Any:
    import numpy as np

    if array.dtype.names is not None:
        return [_elements(array[name]) for name in array.dtype.names]
    if array.dtype.kind in "OT":
        return array.ravel().tolist()
    if array.dtype.kind in "fc":
        # There are many NaN, which no code tells apart.
        array = np.where(np.isnan(array), array.dtype.type("nan"), array)
    little = array.astype(array.dtype.newbyteorder("<"), copy=False)
    return np.ascontiguousarray(little).tobytes()


def _pandas(value: Any) -> tuple[Any, ...] | None:
    import pandas as pd

    if value is pd.NaT or value is pd.NA:
        return type(value).__name__, str(value)
    if type(value) is pd.Timestamp:
        zone = value.tz
        name = getattr(zone, "key", None) or getattr(zone, "zone", None) or value.tzname()
        return "Timestamp", value.unit, value.isoformat(), value.fold, name
    if type(value) is pd.Timedelta:
        return "Timedelta", value.unit, value.isoformat()
    return None


Substitute = Callable[[Any], Any]
"""Gives what to hash in place of a value, or `NotImplemented` to hash the value as it is."""

_MISSING = object()


def stable_hash(value: Any, *, substitute: Substitute | None = None) -> str:
    """Return a hash of a value by its type and content: 64 hexadecimal digits.

    Use it for whatever decides whether a result is still valid: configuration, fingerprints, values
    that a function closes over. Python's own `hash` differs from process to process.

    Values of different types differ (`1`, `1.0`, `True` and `"1"`; a list and a tuple), since code
    can treat them differently. The order of sets and dictionaries does not count. All NaN are the
    same; `-0.0` is not `0.0`, and `Decimal("1.0")` not `Decimal("1.00")`.

    Args:
        value: Plain Python data (text, bytes, numbers, dates, times, enum members, UUIDs, paths,
            patterns), numpy scalars and arrays, scalars of pandas, and what is made of these:
            lists, tuples, sets, dictionaries, named tuples, dataclasses, pydantic models.
        substitute: Asked first for every value that is none of Python's builtin plain types.

    Raises:
        UnstableValueError: The value, or something in it, has no stable content.
    """
    return _Hasher(substitute).digest(value, "").hex()


class _Hasher:
    def __init__(self, substitute: Substitute | None) -> None:
        self._substitute = substitute
        self._open: set[int] = set()

    def digest(self, value: Any, path: str) -> bytes:
        """Return the hash of a value that stands at a path within the whole one."""
        plain = _PLAIN.get(type(value))
        if plain is not None:
            return _combined(type(value).__name__, [plain(value)])
        if id(value) in self._open:
            raise UnstableValueError(
                f"Cannot hash {_place(path)}: it contains itself. Break the cycle."
            )
        self._open.add(id(value))
        try:
            return self._structured(value, path)
        except RecursionError as error:
            raise UnstableValueError(f"Cannot hash {_place(path)}: nested too deeply.") from error
        finally:
            self._open.discard(id(value))

    def _structured(self, value: Any, path: str) -> bytes:
        container = self._container(value, path)
        if container is not None:
            return container
        if self._substitute is not None:
            other = self._substitute(value)
            if other is not NotImplemented:
                return _combined("substitute", [self.digest(other, path)])
        found = self._object(value, path)
        if found is None:
            raise UnstableValueError(
                f"Cannot hash {_place(path)}: a `{_type_name(value)}` has no content that is the "
                "same in every process. Use plain data (text, numbers, dates, lists, dictionaries, "
                "dataclasses) that stands for it, such as its name, path or settings."
            )
        return found

    def _container(self, value: Any, path: str) -> bytes | None:
        kind = type(value)
        if kind in (list, tuple):
            return _combined(kind.__name__, self._items(value, path))
        if kind in (set, frozenset):
            members = [self.digest(item, f"{path}{{...}}") for item in value]
            return _combined(kind.__name__, sorted(members))
        if kind in (dict, OrderedDict, types.MappingProxyType):
            pairs = self._pairs(value.items(), path)
            return _combined(kind.__name__, pairs if kind is OrderedDict else sorted(pairs))
        if kind in (slice, range):
            parts = (value.start, value.stop, value.step)
            return _combined(kind.__name__, self._items(parts, path))
        return None

    def _object(self, value: Any, path: str) -> bytes | None:
        name = _type_name(value).encode()
        if isinstance(value, enum.Enum):
            content = self.digest(value._value_, f"{path}.value")
            return _combined("enum", [name, str(value._name_).encode(), content])
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            pairs = {
                field.name: getattr(value, field.name, _MISSING)
                for field in dataclasses.fields(value)
            }
            return _combined("dataclass", [name, *sorted(self._attributes(pairs, path))])
        if _is_pydantic(value):
            pairs = {**vars(value), **(value.model_extra or {})}
            return _combined("pydantic", [name, *sorted(self._attributes(pairs, path))])
        if isinstance(value, tuple) and hasattr(value, "_fields"):
            # Some, such as the definitions of Dagster, refuse to be iterated over.
            pairs = dict(zip(value._fields, tuple.__iter__(value), strict=True))
            return _combined("namedtuple", [name, *self._attributes(pairs, path)])
        if isinstance(value, pathlib.PurePath):
            return _combined("path", [value.as_posix().encode("utf-8", "surrogateescape")])
        if isinstance(value, datetime.date | datetime.time) and _is_standard(value):
            return _combined(type(value).__name__, _moment(value))
        if type(value) is re.Pattern:
            return _combined("pattern", self._items((value.pattern, value.flags), path))
        held = array_content(value)
        if held is None:
            return None
        return _combined("array", [self.digest(part, path) for part in held])

    def _items(self, items: Iterable[Any], path: str) -> list[bytes]:
        return [self.digest(item, f"{path}[{number}]") for number, item in enumerate(items)]

    def _pairs(self, pairs: Iterable[tuple[Any, Any]], path: str) -> list[bytes]:
        return [
            self.digest(key, f"{path}{{key {_short(key)}}}")
            + self.digest(item, f"{path}[{_short(key)}]")
            for key, item in pairs
        ]

    def _attributes(self, pairs: dict[str, Any], path: str) -> list[bytes]:
        return [
            _combined(key, [self.digest(item, f"{path}.{key}")] if item is not _MISSING else [])
            for key, item in pairs.items()
        ]


def _combined(tag: str, parts: Iterable[bytes]) -> bytes:
    """Hash a tag and parts so that no other tag and parts can give the same bytes."""
    content = hashlib.sha256()
    for part in (tag.encode("utf-8", "surrogatepass"), *parts):
        content.update(len(part).to_bytes(8, "big"))
        content.update(part)
    return content.digest()


def _integer(value: int) -> bytes:
    return hex(value).encode()


def _float(value: float) -> bytes:
    return value.hex().encode()


_PLAIN: dict[type, Callable[[Any], bytes]] = {
    type(None): lambda value: b"",
    type(...): lambda value: b"",
    bool: lambda value: b"1" if value else b"0",
    int: _integer,
    float: _float,
    complex: lambda value: _float(value.real) + b" " + _float(value.imag),
    str: lambda value: value.encode("utf-8", "surrogatepass"),
    bytes: lambda value: value,
    bytearray: bytes,
    decimal.Decimal: lambda value: str(value.as_tuple()).encode(),
    uuid.UUID: lambda value: value.bytes,
    datetime.timedelta: lambda value: f"{value.days} {value.seconds} {value.microseconds}".encode(),
}


def _moment(value: datetime.date | datetime.time) -> list[bytes]:
    """Return what date, time or datetime says, with the name of its zone: rules differ by zone."""
    if not isinstance(value, datetime.datetime | datetime.time):
        return [value.isoformat().encode()]
    zone = value.tzinfo
    if zone is None:
        return [value.isoformat(timespec="microseconds").encode(), str(value.fold).encode()]
    name = getattr(zone, "key", None) or getattr(zone, "zone", None) or value.tzname()
    texts = (value.isoformat(timespec="microseconds"), str(value.fold), str(name))
    return [text.encode() for text in texts]


def _is_standard(value: Any) -> bool:
    return type(value) in (datetime.date, datetime.time, datetime.datetime)


def _is_pydantic(value: Any) -> bool:
    """Say whether a value is a pydantic model, without importing pydantic."""
    return any(
        base.__name__ == "BaseModel" and base.__module__.startswith("pydantic.")
        for base in type(value).__mro__
    )


def _type_name(value: Any) -> str:
    kind = type(value)
    return f"{kind.__module__}.{kind.__qualname__}"


def _short(key: Any) -> str:
    # Of other keys the type is enough: their text could be long, or secret.
    return repr(key)[:60] if isinstance(key, str | int | float | None) else type(key).__name__


def _place(path: str) -> str:
    return f"the value at `value{path}`" if path else "the value"
