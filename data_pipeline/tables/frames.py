"""Frames of pandas, polars and Arrow, and the Arrow streams they become and come from."""

import sys
from typing import Any

import pyarrow as pa

from data_pipeline.errors import UnsupportedDataError

_ARROW = (pa.Table, pa.RecordBatch, pa.RecordBatchReader)


def is_frame(value: Any) -> bool:
    """Tells whether a value is a frame of pandas, polars or Arrow, or a stream of Arrow batches."""
    return isinstance(value, _ARROW) or _is_pandas(value) or _is_polars(value)


def is_frame_type(annotation: Any) -> bool:
    """Tells whether `from_reader` gives this kind of frame (any annotation may be asked about)."""
    if annotation in (pa.Table, pa.RecordBatchReader):
        return True
    pandas, polars = sys.modules.get("pandas"), sys.modules.get("polars")
    return (pandas is not None and annotation is pandas.DataFrame) or (
        polars is not None and annotation in (polars.DataFrame, polars.LazyFrame)
    )


def to_reader(frame: Any) -> pa.RecordBatchReader:
    """Gives a frame as a stream of Arrow batches; a stream passes through as it is.

    A pandas index is not stored: see `pandas_frames.from_pandas`. A lazy frame is collected.

    Raises:
        UnsupportedDataError: A column has no Arrow form, or the value is no frame.
    """
    if isinstance(frame, pa.RecordBatchReader):
        return frame
    if isinstance(frame, pa.Table):
        return frame.to_reader()
    if isinstance(frame, pa.RecordBatch):
        return pa.RecordBatchReader.from_batches(frame.schema, [frame])
    if _is_pandas(frame):
        from data_pipeline.tables.pandas_frames import from_pandas

        return from_pandas(frame).to_reader()
    if _is_polars(frame):
        from data_pipeline.tables.polars_frames import from_polars

        return from_polars(frame).to_reader()
    raise UnsupportedDataError(
        f"A value of type {_type_name(type(frame))} is no frame. Return a pandas or polars frame, "
        "a pyarrow Table, RecordBatch or RecordBatchReader."
    )


def from_reader(reader: pa.RecordBatchReader, kind: type) -> Any:
    """Gives the rows of a stream as a frame of the kind that is asked for.

    Args:
        reader: The rows.
        kind: `pd.DataFrame`, `pl.DataFrame`, `pl.LazyFrame` (a lazy view of a frame in memory),
            `pa.Table`, or `pa.RecordBatchReader`, which is the stream itself.

    Raises:
        UnsupportedDataError: There is no such kind of frame, or it cannot hold a column.
    """
    if kind is pa.RecordBatchReader:
        return reader
    if kind is pa.Table:
        return reader.read_all()
    if is_frame_type(kind) and kind.__module__.startswith("polars"):
        from data_pipeline.tables.polars_frames import to_polars

        frame = to_polars(reader.read_all())
        return frame if kind is type(frame) else frame.lazy()
    if is_frame_type(kind):
        from data_pipeline.tables.pandas_frames import to_pandas

        return to_pandas(reader.read_all())
    raise UnsupportedDataError(
        f"A table cannot be given as {_type_name(kind)}. Annotate the parameter with pd.DataFrame, "
        "pl.DataFrame, pl.LazyFrame, pa.Table or pa.RecordBatchReader."
    )


def _is_pandas(value: Any) -> bool:
    # Who holds a frame has imported its library; importing it here would slow down every start.
    pandas = sys.modules.get("pandas")
    return pandas is not None and isinstance(value, pandas.DataFrame)


def _is_polars(value: Any) -> bool:
    polars = sys.modules.get("polars")
    return polars is not None and isinstance(value, polars.DataFrame | polars.LazyFrame)


def _type_name(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"
