"""pandas frames to and from Arrow tables, with dtypes that follow from the column types.

| Arrow | pandas dtype | missing |
|---|---|---|
| int16, int32, int64 | Int16, Int32, Int64 | NA |
| float32, float64 | Float32, Float64; a stored NaN stays NaN, apart from NA | NA |
| bool, string | boolean, string | NA |
| timestamp[us], with UTC | datetime64[us], datetime64[us, UTC] | NaT |
| duration[us] | timedelta64[us] | NaT |
| date32, time64, decimal, binary, list | pd.ArrowDtype of the same | NA |
| arrow.uuid, arrow.json | object: uuid.UUID, parsed JSON | None |

Float64 rather than pd.ArrowDtype: both keep NaN apart from NA in storage, and in pandas 3 both
turn it into NA in arithmetic (unless `pd.options.future.distinguish_nan_and_na` is set), but
scikit-learn and NumPy take Float64 as it is.
"""

import json
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from data_pipeline.errors import UnsupportedDataError
from data_pipeline.tables.arrow_types import is_json
from data_pipeline.tables.checks import check_column_names
from data_pipeline.tables.polars_frames import zero_columns
from data_pipeline.tables.python_objects import object_array

# Any: the stubs do not know `__from_arrow__`.
_DTYPES: dict[pa.DataType, Any] = {
    pa.int16(): pd.Int16Dtype(),
    pa.int32(): pd.Int32Dtype(),
    pa.int64(): pd.Int64Dtype(),
    pa.bool_(): pd.BooleanDtype(),
    pa.string(): pd.StringDtype("pyarrow", na_value=pd.NA),
}


def from_pandas(frame: pd.DataFrame) -> pa.Table:
    """Gives a pandas frame as an Arrow table.

    The index is not stored. One that only numbers the rows is left out; one that carries data (a
    name, or labels that are no integers) is an error. In a NumPy float column NaN means missing,
    as everywhere in pandas, and becomes NULL; in Float64 and pd.ArrowDtype columns it stays NaN.

    Raises:
        UnsupportedDataError: The index carries data, or a column has no Arrow form.
    """
    _check_index(frame.index)
    check_column_names(list(frame.columns))
    if not len(frame.columns):
        return zero_columns(len(frame))
    return pa.table({str(name): _column(str(name), series) for name, series in frame.items()})


def to_pandas(table: pa.Table) -> pd.DataFrame:
    """Gives an Arrow table as a pandas frame, with dtypes as in this module's table."""
    columns = {
        field.name: _series_data(column)
        for field, column in zip(table.schema, table.columns, strict=True)
    }
    return pd.DataFrame(columns, index=pd.RangeIndex(table.num_rows), copy=False)


def _check_index(index: pd.Index) -> None:
    named = [name for name in index.names if name is not None]
    numbers_rows = index.nlevels == 1 and pd.api.types.is_integer_dtype(index.dtype)
    if named or (len(index) and not numbers_rows):
        what = f"is named {named}" if named else f"holds labels of type {index.dtype}"
        raise UnsupportedDataError(
            f"The frame's index {what}, but an index is not stored in a table. "
            "Return frame.reset_index() to keep it as columns, or "
            "frame.reset_index(drop=True) to drop it."
        )


def _column(name: str, series: "pd.Series[Any]") -> pa.Array | pa.ChunkedArray:
    if series.dtype == object:
        return object_array(name, series.to_numpy())
    try:
        return pa.array(series, from_pandas=True)
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise UnsupportedDataError(
            f"Column `{name}`: its dtype {series.dtype} has no Arrow form ({error}). "
            "Convert the column with astype()."
        ) from error


def _series_data(column: pa.ChunkedArray) -> Any:
    kind = column.type
    if pa.types.is_floating(kind):
        return _floating(column)
    if kind in _DTYPES:
        return _DTYPES[kind].__from_arrow__(column)
    if pa.types.is_timestamp(kind) or pa.types.is_duration(kind):
        values = pd.Series(column.to_numpy())
        return values.dt.tz_localize(kind.tz) if getattr(kind, "tz", None) else values
    if is_json(kind):
        texts = column.cast(pa.string()).to_pylist()
        return _objects([None if text is None else json.loads(text) for text in texts])
    if kind == pa.uuid():
        return _objects(column.to_pylist())
    return pd.arrays.ArrowExtensionArray(column)


def _floating(column: pa.ChunkedArray) -> pd.arrays.FloatingArray:
    # Not Float64Dtype().__from_arrow__, which takes a NaN for missing.
    array = column.combine_chunks()
    mask = array.is_null().to_numpy(zero_copy_only=False)
    # Zeros under the NULLs, then a copy: a frame's data must be writable, Arrow's is not.
    values = pc.fill_null(array, pa.scalar(0, array.type)).to_numpy().copy()
    return pd.arrays.FloatingArray(values, mask)


def _objects(values: list[Any]) -> "np.ndarray[Any, np.dtype[np.object_]]":
    # Not np.array(values), which takes equally long lists for a matrix.
    result = np.empty(len(values), dtype=object)
    result[:] = values
    return result
