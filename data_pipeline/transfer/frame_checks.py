"""What PostgreSQL cannot hold: names of columns, and values, with what is wrong in words."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from data_pipeline.database.identifiers import MAX_IDENTIFIER_BYTES
from data_pipeline.errors import UnsupportedDataError
from data_pipeline.transfer.arrow_types import MICROSECONDS_PER_DAY, is_list, is_text

MAX_COLUMNS = 1600
"""PostgreSQL's MaxHeapAttributeNumber."""


# Days from 1970-01-01 to 0001-01-01 and to 10000-01-01.
_FIRST_DAY, _DAY_AFTER_LAST = -719_162, 2_932_897


_SYSTEM_COLUMNS = frozenset({"tableoid", "xmin", "cmin", "xmax", "cmax", "ctid"})


_SHOWN_CHARACTERS = 60


_MONTH_DAY_NANO = np.dtype([("months", "<i4"), ("days", "<i4"), ("nanoseconds", "<i8")])


class ValueRefusedError(Exception):
    """An array holds a value that cannot be transferred; the message says why."""


def shown(value: Any) -> str:
    """Return a value as it stands in a message: its repr, shortened."""
    text = repr(value)
    return text if len(text) <= _SHOWN_CHARACTERS else text[: _SHOWN_CHARACTERS - 3] + "..."


def check_column_names(names: Sequence[Any]) -> None:
    """Check that a table can have these columns.

    Raises:
        UnsupportedDataError: There are too many, or one is no string, empty, too long, double, not
            encodable, or reserved by PostgreSQL.
    """
    if len(names) > MAX_COLUMNS:
        raise UnsupportedDataError(
            f"The table has {len(names)} columns, but PostgreSQL allows {MAX_COLUMNS}. "
            "Split it, or gather columns in an array or a JSON column."
        )
    seen: set[str] = set()
    for position, name in enumerate(names):
        problem = "appears more than once" if name in seen else _name_problem(name)
        if problem:
            raise UnsupportedDataError(
                f"Column {shown(name)} (number {position + 1}) {problem}. Rename the column."
            )
        seen.add(name)


def _name_problem(name: Any) -> str | None:
    if not isinstance(name, str):
        return f"has a name of type {type(name).__name__}, but PostgreSQL needs a string"
    if not name:
        return "has an empty name"
    if "\0" in name:
        return "has a NUL character in its name"
    if name in _SYSTEM_COLUMNS:
        return "has the name of one of PostgreSQL's own columns"
    try:
        size = len(name.encode())
    except UnicodeEncodeError:
        return "has a name that is not valid Unicode (a lone surrogate)"
    if size > MAX_IDENTIFIER_BYTES:
        return f"has a name of {size} bytes, but PostgreSQL allows {MAX_IDENTIFIER_BYTES}"
    return None


def check_values(array: pa.Array) -> None:
    """Check the values of an array whose type is already one that PostgreSQL knows.

    Raises:
        ValueRefusedError: One of them is beyond what PostgreSQL, or Python, can hold.
    """
    kind = array.type
    if is_text(kind):
        _check_text(array)
    elif pa.types.is_timestamp(kind):
        _check_range(array, MICROSECONDS_PER_DAY, pa.int64())
    elif pa.types.is_date32(kind):
        _check_range(array, 1, pa.int32())
    elif pa.types.is_time64(kind):
        _check_time(array)
    elif kind == pa.month_day_nano_interval():
        if (interval_parts(array)["nanoseconds"] % 1000).any():
            raise ValueRefusedError("it has digits below the microsecond")
    elif is_list(kind):
        check_values(array.flatten())


def interval_parts(array: pa.Array) -> np.ndarray[Any, np.dtype[np.void]]:
    """Return months, days and nanoseconds of an interval array; zeros where it is NULL."""
    parts = np.frombuffer(array.buffers()[1], _MONTH_DAY_NANO, len(array), array.offset * 16)
    if not array.null_count:
        return parts
    return np.where(array.is_valid().to_numpy(zero_copy_only=False), parts, np.zeros_like(parts))


def _check_text(array: pa.Array) -> None:
    data = array.buffers()[2]
    if not len(array) or data is None:
        return
    width = np.int64 if pa.types.is_large_string(array.type) else np.int32
    ends = np.frombuffer(array.buffers()[1], width)[array.offset : array.offset + len(array) + 1]
    used = np.frombuffer(data, np.uint8)[ends[0] : ends[-1]]
    # One pass over the bytes of all values at once. A zero may lie under a NULL: look closer then.
    if used.size and not used.all() and pc.any(pc.match_substring(array, "\0")).as_py():
        raise ValueRefusedError("it contains a NUL character, which PostgreSQL cannot hold in text")


def _check_range(array: pa.Array, per_day: int, raw: pa.DataType) -> None:
    extremes = pc.min_max(array.view(raw)).as_py()
    if extremes["min"] is not None and not (
        _FIRST_DAY * per_day <= extremes["min"] and extremes["max"] < _DAY_AFTER_LAST * per_day
    ):
        raise ValueRefusedError("it is infinite or outside the years 1 to 9999")


def _check_time(array: pa.Array) -> None:
    extremes = pc.min_max(array.view(pa.int64())).as_py()
    if extremes["min"] is not None and not (
        extremes["min"] >= 0 and extremes["max"] < MICROSECONDS_PER_DAY
    ):
        raise ValueRefusedError("it is outside 00:00 to 23:59:59.999999")
