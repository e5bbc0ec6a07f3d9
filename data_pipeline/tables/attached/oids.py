"""Object identifiers as they stand in a query."""

from collections.abc import Iterable


def oid_array(oids: Iterable[int]) -> str:
    """Gives an array of them."""
    return f"'{{{','.join(map(str, sorted(oids)))}}}'::oid[]"
