"""Stage flights_raw: the five tables of the source as they are, with their keys."""

from functools import partial
from typing import Any

import dagster as dg
import pandas as pd

from data_pipeline import ForeignKey, Stage, fingerprint_of_files
from data_pipeline.pipelines.flights.source import read_source, source_file
from data_pipeline.pipelines.flights.stage import OWNERS

raw = Stage("flights_raw", owners=OWNERS, kinds={"python", "pandas", "csv"})


def file_of(table: str) -> partial[Any]:
    """Gives what tells whether the file of a table has changed."""
    return partial(_fingerprint, table)


def _fingerprint(table: str) -> Any:
    return fingerprint_of_files(source_file(table))


@raw.table(source=file_of("airlines"), primary_key="carrier", nullable=[])
def airlines() -> pd.DataFrame:
    """Names of the 16 airlines, by two-letter carrier code."""
    return read_source("airlines")


@raw.table(source=file_of("airports"), primary_key="faa", nullable=["tzone"])
def airports() -> pd.DataFrame:
    """Airports of the United States by FAA code: place, altitude (feet), time zone.

    The four airports of Puerto Rico and the Virgin Islands that flights go to are not among them.
    """
    return read_source("airports")


@raw.table(source=file_of("planes"), primary_key="tailnum", nullable=["year", "speed"])
def planes() -> pd.DataFrame:
    """Registered planes by tail number: year built, type, manufacturer, seats, engines."""
    return read_source("planes")


@raw.table(
    source=file_of("weather"),
    # Time first: the first rows by key are then the first hours at all three airports, as the
    # first flights need them. The local year, month, day and hour would be no key: one hour
    # occurs twice when daylight saving time ends.
    primary_key=["time_hour", "origin"],
    foreign_keys=[ForeignKey("origin", "airports", "faa")],
)
def weather() -> pd.DataFrame:
    """Hourly weather at the three airports of New York City.

    Temperatures in degrees Fahrenheit, wind in mph, precipitation in inches, pressure in millibars,
    visibility in miles; year, month, day and hour are local, `time_hour` is the same instant.
    """
    return read_source("weather")


@raw.table(
    source=file_of("flights"),
    primary_key=["time_hour", "carrier", "flight"],
    foreign_keys=[
        ForeignKey("carrier", "airlines"),
        ForeignKey("origin", "airports", "faa"),
        # These three do not always hold: 2.3 %, 15 % and 0.5 % of the flights dangle.
        ForeignKey("dest", "airports", "faa"),
        ForeignKey("tailnum", "planes"),
        ForeignKey(["time_hour", "origin"], "weather"),
    ],
)
def flights() -> pd.DataFrame:
    """All flights that left New York City in 2013: schedule, delays (minutes), plane, route.

    Clock times are local numbers HHMM; `time_hour` is the hour of the scheduled departure.
    Cancelled flights have neither departure nor arrival.
    """
    return read_source("flights")


assets: list[dg.AssetsDefinition] = [airlines, airports, planes, weather, flights]
