"""What numpy's and pandas' values hold, as plain data of equal meaning on every machine."""

import sys
from typing import Any

from data_pipeline.errors import UnstableValueError


def array_content(value: Any) -> tuple[Any, ...] | None:
    """Gives the type and content of a numpy scalar, array or dtype, or of a pandas scalar.

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
    """Gives a dtype without its byte order."""
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
