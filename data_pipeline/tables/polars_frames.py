"""polars frames to and from Arrow tables."""

from typing import TYPE_CHECKING

import pyarrow as pa

from data_pipeline.errors import UnsupportedDataError
from data_pipeline.tables.arrow_types import is_json

if TYPE_CHECKING:
    import polars as pl


def from_polars(frame: "pl.DataFrame | pl.LazyFrame") -> pa.Table:
    """Gives a polars frame as an Arrow table, without a copy where the types allow it.

    Raises:
        UnsupportedDataError: A column has no Arrow form.
    """
    import polars as pl

    collected = frame.collect() if isinstance(frame, pl.LazyFrame) else frame
    columns = {name: _column(collected[name]) for name in collected.columns}
    if not columns:
        return zero_columns(collected.height)
    return pa.table(columns)


def to_polars(table: pa.Table) -> "pl.DataFrame":
    """Gives an Arrow table as a polars frame; UUIDs and JSON as strings.

    Raises:
        UnsupportedDataError: A decimal has more than 38 digits.
    """
    import polars as pl

    if not table.num_columns:
        return pl.DataFrame(height=table.num_rows)
    columns = {
        field.name: _for_polars(field.name, column)
        for field, column in zip(table.schema, table.columns, strict=True)
    }
    return pl.DataFrame(pl.from_arrow(pa.table(columns)))


def zero_columns(rows: int) -> pa.Table:
    """Gives a table that has rows but no columns."""
    return pa.table({"row": pa.nulls(rows)}).select([])


def _column(series: "pl.Series") -> pa.Array:
    import polars as pl

    if series.dtype == pl.Object:
        # to_arrow gives the addresses of the objects in memory.
        raise UnsupportedDataError(
            f"Column `{series.name}`: its type {series.dtype} holds Python objects, which have no "
            "column type. Cast the column to another type."
        )
    try:
        return series.to_arrow()
    # polars reports what Arrow cannot hold in many ways, a panic (BaseException) among them.
    except (Exception, _panic()) as error:
        raise UnsupportedDataError(
            f"Column `{series.name}`: polars cannot give its type {series.dtype} to Arrow "
            f"({error}). Cast the column to another type."
        ) from error


def _panic() -> type[BaseException]:
    import polars as pl

    return pl.exceptions.PanicException


def _for_polars(name: str, column: pa.ChunkedArray) -> pa.ChunkedArray:
    kind = column.type
    if pa.types.is_decimal256(kind):
        raise UnsupportedDataError(
            f"Column `{name}`: polars has no decimals of {kind.precision} digits, only of 38. "
            "Read the table as pd.DataFrame or pa.Table, or cast the column in SQL."
        )
    if is_json(kind):
        return column.cast(pa.string())
    if kind == pa.uuid():
        return pa.chunked_array([_uuid_text(chunk) for chunk in column.chunks], pa.string())
    if pa.types.is_list(kind) and kind.value_type == pa.uuid():
        lists = column.to_pylist()
        texts = [v if v is None else [u and str(u) for u in v] for v in lists]
        return pa.chunked_array([pa.array(texts, pa.list_(pa.string()))])
    return column


def _uuid_text(array: pa.Array) -> pa.Array:
    return pa.array([value and str(value) for value in array.to_pylist()], pa.string())
