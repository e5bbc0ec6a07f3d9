"""What the columns of weights and roles are called beside the columns of a table."""

from collections.abc import Iterable

WEIGHT_COLUMNS = ("role", "probability", "unit", "design", "sample_size", "weight")
"""What stands beside the columns of a table with weights."""


def fact_prefix(columns: Iterable[str]) -> str:
    """Return what the names of weights and roles begin with beside columns of a table.

    That is nothing, or, where the table has a column of one of these names, `sample_`.
    """
    there, prefix = set(columns), ""
    while any(f"{prefix}{name}" in there for name in (*WEIGHT_COLUMNS, "reason")):
        prefix += "sample_"
    return prefix
