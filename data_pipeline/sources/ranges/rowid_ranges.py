"""Large tables of SQLite and DuckDB by ranges of their rows' numbers."""

from collections.abc import Mapping
from typing import Any

from data_pipeline.transfer.stable_hash import fingerprint

_RANGE_ROWS = 500_000
"""Tables of up to so many rows are read as a whole; what is larger, in ranges of about as many."""

_MOST_RANGES = 512


def rowid_ranges(
    state: Any, column: str, count: int, first: int | None, last: int | None
) -> Mapping[str, str] | None:
    """Return the condition for the rows of each range, by name; None where a table is small.

    Args:
        state: What changes when the rows do; a name stands for it, too.
        column: The SQL of the number of a row.
        count: How many rows there are.
        first: The least number.
        last: The greatest number.
    """
    if count <= _RANGE_ROWS or first is None or last is None:
        return None
    wanted = min(-(-count // _RANGE_ROWS), _MOST_RANGES)
    step = -(-(last - first + 1) // wanted)
    seen = fingerprint(state)[:16]
    ends = {begin: min(begin + step - 1, last) for begin in range(first, last + 1, step)}
    return {
        f"{seen} {begin}-{end}": f"{column} BETWEEN {begin} AND {end}"
        for begin, end in ends.items()
    }
