"""Small made tables of the pipeline, with the columns and types of the real ones."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pandas as pd
import polars as pl

from data_pipeline.pipelines.flights.source import COLUMNS

START = datetime(2013, 3, 1, 12, tzinfo=UTC)

FLIGHT_SCHEMA: dict[str, Any] = {
    "time_hour": pl.Datetime("us", "UTC"),
    "carrier": pl.String,
    "flight": pl.Int64,
    "origin": pl.String,
    "dest": pl.String,
    "flight_date": pl.Date,
    "scheduled_departure": pl.Datetime("us", "UTC"),
    "scheduled_hour": pl.Int64,
    "scheduled_arrival_hour": pl.Int64,
    "distance_miles": pl.Int64,
    "status": pl.String,
    "departure_delay": pl.Int64,
    "arrival_delay": pl.Int64,
}

SAMPLE_SCHEMA: dict[str, Any] = {
    "role": pl.String,
    "probability": pl.Float64,
    "unit": pl.Int64,
    "weight": pl.Float64,
}

DEPARTURE_SCHEMA: dict[str, Any] = FLIGHT_SCHEMA | {
    "manufacturer": pl.String,
    "seats": pl.Int64,
    "plane_age_years": pl.Int64,
    "dest_altitude_feet": pl.Int64,
    "wind_from": pl.String,
    "wind_speed_mph": pl.Float64,
    "wind_gust_mph": pl.Float64,
    "temperature_f": pl.Float64,
    "humidity_percent": pl.Float64,
    "precipitation_inches": pl.Float64,
    "pressure_millibars": pl.Float64,
    "visibility_miles": pl.Float64,
    **SAMPLE_SCHEMA,
}

WITNESS = {"role": "witness", "probability": None, "weight": 0.0}
"""Columns of a flight that is in the sample for another reason than to stand for others."""


def departure(day: int, number: int = 1, **columns: Any) -> dict[str, Any]:
    """A punctual flight from EWR to BOS, so many days after 1 March 2013, but for `columns`."""
    moment = START + timedelta(days=day)
    row = {
        "time_hour": moment,
        "carrier": "UA",
        "flight": number,
        "origin": "EWR",
        "dest": "BOS",
        "flight_date": date(2013, 3, 1) + timedelta(days=day),
        "scheduled_departure": moment + timedelta(minutes=10),
        "scheduled_hour": 7,
        "scheduled_arrival_hour": 9,
        "distance_miles": 200,
        "status": "flown",
        "departure_delay": 0,
        "arrival_delay": 0,
        "role": "certain",
        "probability": 1.0,
        "unit": 1000 * day + number,
        "weight": 1.0,
    }
    return row | columns


def departures(*rows: dict[str, Any]) -> pl.DataFrame:
    """A table of departures; columns that a row does not give are NULL."""
    return pl.DataFrame(
        [dict.fromkeys(DEPARTURE_SCHEMA) | row for row in rows], schema=DEPARTURE_SCHEMA
    )


def busy_departures(days: int = 60, each: int = 4) -> pl.DataFrame:
    """Flights on many days, of which those in strong wind come late."""
    return departures(
        *(
            departure(
                day,
                number,
                wind_speed_mph=30.0 if windy else 5.0,
                arrival_delay=60 if windy else 0,
            )
            for day in range(days)
            for number in range(each)
            if (windy := (day + number) % 3 == 0) or True
        )
    )


def raw_table(name: str, *rows: dict[str, Any]) -> pd.DataFrame:
    """A table of the source; columns that a row does not give are NULL."""
    columns = COLUMNS[name]
    frame = pd.DataFrame([dict.fromkeys(columns) | row for row in rows], columns=list(columns))
    return frame.astype(columns)


def weighted_table(name: str, *rows: dict[str, Any]) -> pd.DataFrame:
    """A table of the source as the full instance has it in the stage `sample`."""
    columns = {"role": "certain", "probability": 1.0, "weight": 1.0}
    return raw_table(name, *rows).assign(unit=range(len(rows)), **columns)
