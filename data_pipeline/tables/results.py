"""What an asset may return, and what becomes of it: a table, a view or a blob."""

import inspect
from typing import Any

import sqlalchemy as sa

from data_pipeline.errors import UnsupportedDataError
from data_pipeline.tables.names import StageTable
from data_pipeline.tables.table import Properties, Table, View

_RETURN = "Return a data frame, a SQL query, `Table(...)`, or an object that can be pickled."


def unwrapped(obj: Any, declared: Properties) -> tuple[Any, Properties]:
    """Takes a result out of its `Table(...)`, which goes before the asset's declaration."""
    while isinstance(obj, Table):
        obj, declared = obj.obj, declared.merged(obj.properties)
    return obj, declared


def is_query(obj: Any) -> bool:
    """Whether a result is a query to be run inside the database."""
    return isinstance(obj, sa.TextClause | sa.FromClause | sa.SelectBase | sa.ScalarSelect)


def check_supported(table: StageTable, obj: Any, properties: Properties) -> None:
    """Refuses results that are neither a table nor meant to be kept.

    Args:
        table: Stage and name of the asset.
        obj: The result, taken out of its `Table(...)`.
        properties: What the asset says of its table.

    Raises:
        UnsupportedDataError: The asset returned nothing, or something of which no table is made.
    """
    from data_pipeline.tables.frames import is_frame

    name = f"{type(obj).__module__}.{type(obj).__qualname__}"
    if obj is None:
        raise UnsupportedDataError(
            f"Asset `{table}` returned None, so there is nothing to store. {_RETURN} An asset that "
            "stores nothing says so with the annotation `-> None`."
        )
    if name.split(".")[0] in ("pandas", "polars") and name.endswith(("Series", "Index")):
        raise UnsupportedDataError(
            f"Asset `{table}` returned a {name}, which has no columns. Return a data frame, for "
            "instance `series.to_frame()`."
        )
    if isinstance(obj, sa.ClauseElement) and not is_query(obj):
        raise UnsupportedDataError(
            f"Asset `{table}` returned a {name}, which is no SELECT. The pipeline writes the table "
            f"itself; {_RETURN[0].lower()}{_RETURN[1:]}"
        )
    if inspect.isgenerator(obj) or inspect.iscoroutine(obj) or inspect.isfunction(obj):
        raise UnsupportedDataError(f"Asset `{table}` returned a {name}. {_RETURN}")
    is_table = is_query(obj) or is_frame(obj) or isinstance(obj, View)
    if properties != Properties() and not is_table:
        raise UnsupportedDataError(
            f"Asset `{table}` has properties of a table, but what it returned is a {name}. Return "
            "a data frame or a SQL query, or leave out `Table(...)` and `table_properties(...)`."
        )
