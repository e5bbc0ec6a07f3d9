"""Stage flights_raw: the five tables of the source as they are, with their keys."""

from functools import partial
from typing import Any

import dagster as dg
import pandas as pd

from data_pipeline import ForeignKey, fingerprint_of_files, outside_input, table_properties
from data_pipeline.pipelines.flights.source import read_source, source_file
from data_pipeline.pipelines.flights.stage import in_stage

IN_STAGE = in_stage("flights_raw")
KINDS = {"python", "pandas", "csv"}


def declared(table: str, **properties: Any) -> dict[str, Any]:
    """Gives the metadata of a raw table: its properties, and its file as its source."""
    fingerprint = partial(_fingerprint, table)
    return {**table_properties(**properties), **outside_input(fingerprint)}


def _fingerprint(table: str) -> Any:
    return fingerprint_of_files(source_file(table))


@dg.asset(
    **IN_STAGE, kinds=KINDS, metadata=declared("airlines", primary_key="carrier", nullable=[])
)
def airlines() -> pd.DataFrame:
    """Names of the 16 airlines, by two-letter carrier code."""
    return read_source("airlines")


@dg.asset(
    **IN_STAGE, kinds=KINDS, metadata=declared("airports", primary_key="faa", nullable=["tzone"])
)
def airports() -> pd.DataFrame:
    """Airports of the United States by FAA code: place, altitude (feet), time zone.

    The four airports of Puerto Rico and the Virgin Islands that flights go to are not among them.
    """
    return read_source("airports")


@dg.asset(
    **IN_STAGE,
    kinds=KINDS,
    metadata=declared("planes", primary_key="tailnum", nullable=["year", "speed"]),
)
def planes() -> pd.DataFrame:
    """Registered planes by tail number: year built, type, manufacturer, seats, engines."""
    return read_source("planes")


@dg.asset(
    **IN_STAGE,
    kinds=KINDS,
    metadata=declared(
        "weather",
        # Time first: the first rows by key are then the first hours at all three airports, as the
        # first flights need them. The local year, month, day and hour would be no key: one hour
        # occurs twice when daylight saving time ends.
        primary_key=["time_hour", "origin"],
        foreign_keys=[ForeignKey(["origin"], references="airports", referenced_columns=["faa"])],
    ),
)
def weather() -> pd.DataFrame:
    """Hourly weather at the three airports of New York City.

    Temperatures in degrees Fahrenheit, wind in mph, precipitation in inches, pressure in millibars,
    visibility in miles; year, month, day and hour are local, `time_hour` is the same instant.
    """
    return read_source("weather")


@dg.asset(
    **IN_STAGE,
    kinds=KINDS,
    metadata=declared(
        "flights",
        primary_key=["time_hour", "carrier", "flight"],
        foreign_keys=[
            ForeignKey(["carrier"], references="airlines"),
            ForeignKey(["origin"], references="airports", referenced_columns=["faa"]),
            # These three do not always hold: 2.3 %, 15 % and 0.5 % of the flights dangle.
            ForeignKey(["dest"], references="airports", referenced_columns=["faa"]),
            ForeignKey(["tailnum"], references="planes"),
            ForeignKey(["time_hour", "origin"], references="weather"),
        ],
    ),
)
def flights() -> pd.DataFrame:
    """All flights that left New York City in 2013: schedule, delays (minutes), plane, route.

    Clock times are local numbers HHMM; `time_hour` is the hour of the scheduled departure.
    Cancelled flights have neither departure nor arrival.
    """
    return read_source("flights")


assets: list[dg.AssetsDefinition] = [airlines, airports, planes, weather, flights]
