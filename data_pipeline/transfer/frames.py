"""Frames of pandas, polars and Arrow, and the Arrow streams they become and come from."""

import importlib
import sys
from typing import TYPE_CHECKING, Any

from data_pipeline.errors import UnsupportedDataError

if TYPE_CHECKING:
    import polars as pl
    import pyarrow as pa


def from_polars(frame: "pl.DataFrame | pl.LazyFrame") -> "pa.Table":
    """Return a polars frame as an Arrow table, without a copy where the types allow it.

    Raises:
        UnsupportedDataError: A column has no Arrow form.
    """
    import polars as pl
    import pyarrow as pa

    collected = frame.collect() if isinstance(frame, pl.LazyFrame) else frame
    columns = {name: _column(collected[name]) for name in collected.columns}
    if not columns:
        return zero_columns(collected.height)
    return pa.table(columns)


def to_polars(table: "pa.Table") -> "pl.DataFrame":
    """Return an Arrow table as a polars frame; UUIDs and JSON as strings.

    Raises:
        UnsupportedDataError: A decimal has more than 38 digits.
    """
    import polars as pl
    import pyarrow as pa

    if not table.num_columns:
        return pl.DataFrame(height=table.num_rows)
    columns = {
        field.name: _for_polars(field.name, column)
        for field, column in zip(table.schema, table.columns, strict=True)
    }
    return pl.DataFrame(pl.from_arrow(pa.table(columns)))


def zero_columns(rows: int) -> "pa.Table":
    """Return a table that has rows but no columns."""
    import pyarrow as pa

    return pa.table({"row": pa.nulls(rows)}).select([])


def _column(series: "pl.Series") -> "pa.Array":
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


def _for_polars(name: str, column: "pa.ChunkedArray") -> "pa.ChunkedArray":
    import pyarrow as pa

    from data_pipeline.transfer.arrow_types import is_json

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


def _uuid_text(array: "pa.Array") -> "pa.Array":
    import pyarrow as pa

    return pa.array([value and str(value) for value in array.to_pylist()], pa.string())


def is_frame(value: Any) -> bool:
    """Tell whether a value is a frame of pandas, polars or Arrow, or a stream of Arrow batches."""
    return _is_arrow(value) or _is_pandas(value) or _is_polars(value)


def is_frame_type(annotation: Any) -> bool:
    """Tell whether `from_reader` gives this kind of frame (any annotation may be asked about)."""
    arrow, pandas, polars = map(loaded_module, ("pyarrow", "pandas", "polars"))
    if arrow is not None and annotation in (arrow.Table, arrow.RecordBatchReader):
        return True
    return (pandas is not None and annotation is pandas.DataFrame) or (
        polars is not None and annotation in (polars.DataFrame, polars.LazyFrame)
    )


def is_stream_type(annotation: Any) -> bool:
    """Tell whether `from_reader` gives a stream of batches for this."""
    arrow = loaded_module("pyarrow")
    return arrow is not None and annotation is arrow.RecordBatchReader


def to_reader(frame: Any) -> "pa.RecordBatchReader":
    """Return a frame as a stream of Arrow batches; a stream passes through as it is.

    A pandas index is not stored: see `pandas_frames.from_pandas`. A lazy frame is collected.

    Raises:
        UnsupportedDataError: A column has no Arrow form, or the value is no frame.
    """
    import pyarrow as pa

    if isinstance(frame, pa.RecordBatchReader):
        return frame
    if isinstance(frame, pa.Table):
        return frame.to_reader()
    if isinstance(frame, pa.RecordBatch):
        return pa.RecordBatchReader.from_batches(frame.schema, [frame])
    if _is_pandas(frame):
        from data_pipeline.transfer.pandas_frames import from_pandas

        return from_pandas(frame).to_reader()
    if _is_polars(frame):
        return from_polars(frame).to_reader()
    raise UnsupportedDataError(
        f"A value of type {_type_name(type(frame))} is no frame. Return a pandas or polars frame, "
        "a pyarrow Table, RecordBatch or RecordBatchReader."
    )


def from_reader(reader: "pa.RecordBatchReader", kind: type) -> Any:
    """Return the rows of a stream as a frame of the kind that is asked for.

    Args:
        reader: The rows.
        kind: `pd.DataFrame`, `pl.DataFrame`, `pl.LazyFrame` (a lazy view of a frame in memory),
            `pa.Table`, or `pa.RecordBatchReader`, which is the stream itself.

    Raises:
        UnsupportedDataError: There is no such kind of frame, or it cannot hold a column.
    """
    import pyarrow as pa

    if kind is pa.RecordBatchReader:
        return reader
    if kind is pa.Table:
        return reader.read_all()
    if is_frame_type(kind) and kind.__module__.startswith("polars"):
        frame = to_polars(reader.read_all())
        return frame if kind is type(frame) else frame.lazy()
    if is_frame_type(kind):
        from data_pipeline.transfer.pandas_frames import to_pandas

        return to_pandas(reader)
    raise UnsupportedDataError(
        f"A table cannot be given as {_type_name(kind)}. Annotate the parameter with pd.DataFrame, "
        "pl.DataFrame, pl.LazyFrame, pa.Table or pa.RecordBatchReader."
    )


# Who holds a frame has imported its library; importing it here would slow down every start.


def is_stream(value: Any) -> bool:
    """Tell whether a value is a stream of Arrow batches."""
    arrow = loaded_module("pyarrow")
    return arrow is not None and isinstance(value, arrow.RecordBatchReader)


def _is_arrow(value: Any) -> bool:
    arrow = loaded_module("pyarrow")
    return arrow is not None and (
        is_stream(value) or isinstance(value, arrow.Table | arrow.RecordBatch)
    )


def _is_pandas(value: Any) -> bool:
    pandas = loaded_module("pandas")
    return pandas is not None and isinstance(value, pandas.DataFrame)


def _is_polars(value: Any) -> bool:
    polars = loaded_module("polars")
    return polars is not None and isinstance(value, polars.DataFrame | polars.LazyFrame)


def _type_name(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def loaded_module(name: str) -> Any:
    """Return a module if somebody has imported it, else None; it is never imported for this.

    Where another thread imports it at this moment, that is waited for: `sys.modules` alone would
    give a module that has not all of its names yet.
    """
    return None if sys.modules.get(name) is None else importlib.import_module(name)
