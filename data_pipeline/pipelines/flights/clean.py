"""Stage flights_clean: one meaning a column, units in the names, impossible values gone."""

from typing import Any

import dagster as dg
import pandas as pd
import sqlalchemy as sa

from data_pipeline import ForeignKey, Stage, sql_file
from data_pipeline.pipelines.flights import inputs
from data_pipeline.pipelines.flights.stage import OWNERS

clean = Stage("flights_clean", reads=inputs.assets, owners=OWNERS)

MAX_WIND_MPH = 150.0
"""Faster wind was never measured at these airports: such a value is a fault of the sensor."""

SECTORS = ("N", "NE", "E", "SE", "S", "SW", "W", "NW")
"""Where wind comes from, clockwise in steps of 45 degrees."""


def parse_wind(wind: pd.DataFrame) -> pd.DataFrame:
    """Reads the wind columns of an observation.

    Args:
        wind: `wind_dir` (degrees, 0 when calm, NULL when variable), `wind_speed` and `wind_gust`
            (mph), in any numeric dtype.

    Returns:
        With the same index: `wind_from` (one of `SECTORS`, `calm`, `variable` or NULL),
        `wind_speed_mph` and `wind_gust_mph`, NULL where the value cannot be.
    """
    direction = wind["wind_dir"].astype("Float64")
    speed = _within(wind["wind_speed"].astype("Float64"), 0.0, MAX_WIND_MPH)
    sector = ((_within(direction, 1.0, 360.0) / 45.0).round() % 8).astype("Int64")
    wind_from = sector.map(dict(enumerate(SECTORS))).astype("string")
    wind_from = wind_from.mask(direction.isna() & (speed > 0).fillna(False), "variable")
    return pd.DataFrame(
        {
            "wind_from": wind_from.mask((speed == 0).fillna(False), "calm"),
            "wind_speed_mph": speed,
            "wind_gust_mph": _within(wind["wind_gust"].astype("Float64"), 0.0, MAX_WIND_MPH),
        }
    )


@clean.table(primary_key="faa")
def airports(airports: sa.Table) -> sa.Select[Any]:
    """Airports with units in the names of their columns."""
    return sa.select(
        airports.c.faa,
        sa.func.trim(airports.c.name).label("name"),
        airports.c.lat.label("latitude"),
        airports.c.lon.label("longitude"),
        airports.c.alt.label("altitude_feet"),
        airports.c.tzone.label("time_zone"),
    )


@clean.table(primary_key="tailnum")
def planes(planes: sa.Table) -> sa.TextClause:
    """Planes with one name for each manufacturer and without implausible years."""
    return sql_file("clean_planes.sql", planes=planes)


@clean.table(
    name="weather",
    primary_key=["time_hour", "origin"],
    foreign_keys=[ForeignKey("origin", "airports", "faa")],
)
def clean_weather(weather: pd.DataFrame) -> pd.DataFrame:
    """Hourly weather with the wind parsed and units in the names of the columns."""
    observed = pd.DataFrame(
        {
            "time_hour": weather["time_hour"],
            "origin": weather["origin"],
            "temperature_f": weather["temp"],
            "dew_point_f": weather["dewp"],
            "humidity_percent": weather["humid"],
            "precipitation_inches": weather["precip"],
            "pressure_millibars": weather["pressure"],
            "visibility_miles": weather["visib"],
        }
    )
    return observed.join(parse_wind(weather))


@clean.table(
    ins={"flights": dg.AssetIn(key=["sample", "flights_inputs__flights_weighted"])},
    primary_key=["time_hour", "carrier", "flight"],
    foreign_keys=[
        ForeignKey("origin", "airports", "faa"),
        ForeignKey("dest", "airports", "faa"),
        ForeignKey("tailnum", "planes"),
        ForeignKey(["time_hour", "origin"], "weather"),
    ],
)
def flights(flights: sa.Table) -> sa.TextClause:
    """Flights with real instants and dates, and what became of each: flown, cancelled, diverted.

    With what the sample says of each: role, inclusion probability, unit and weight.
    """
    return sql_file("clean_flights.sql", flights=flights)


assets: list[dg.AssetsDefinition] = [airports, planes, clean_weather, flights]


def _within(values: "pd.Series[Any]", low: float, high: float) -> "pd.Series[Any]":
    return values.where(values.between(low, high).fillna(False))
