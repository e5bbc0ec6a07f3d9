"""Stage flights_features: what is known of a flight before it leaves, and whether it came late."""

import dagster as dg
import polars as pl

from data_pipeline import Stage
from data_pipeline.pipelines.flights.stage import OWNERS
from data_pipeline.pipelines.flights.transformed import LATE_MINUTES, transformed
from data_pipeline.pipelines.flights.weights import SAMPLING, learning_weights

of_flights = Stage("flights_features", reads=transformed, owners=OWNERS)

KEY = ("time_hour", "carrier", "flight")

CATEGORICAL = ("carrier", "origin", "dest", "manufacturer", "wind_from")
NUMERIC = (
    "scheduled_hour",
    "scheduled_arrival_hour",
    "weekday",
    "distance_miles",
    "dest_altitude_feet",
    "plane_age_years",
    "seats",
    "temperature_f",
    "humidity_percent",
    "wind_speed_mph",
    "wind_gust_mph",
    "precipitation_inches",
    "pressure_millibars",
    "visibility_miles",
    "history_flown",
    "history_late_rate",
)

TRAIN_SHARE = 0.75
"""So much of the flights, the earliest, is for training: the first nine months of full."""


def split_by_time(scheduled_departure: pl.Series, weight: pl.Series) -> pl.Series:
    """Assigns each flight to `train` or `test`, so that all of `test` comes after all of `train`.

    The cut is a weighted quantile of the sample's own times, so that every instance gets both parts
    as far as its rows allow: flights of a single moment are all `test`.

    Args:
        scheduled_departure: Times without NULL.
        weight: What each flight counts.
    """
    moments = pl.DataFrame({"moment": scheduled_departure, "weight": learning_weights(weight)})
    moment, until = pl.col("moment"), pl.col("weight").cum_sum()
    after = moments.sort("moment").filter(until > TRAIN_SHARE * pl.col("weight").sum())
    cut = pl.lit(after["moment"].min(), dtype=scheduled_departure.dtype)
    split = pl.when(moment < cut).then(pl.lit("train")).otherwise(pl.lit("test"))
    return moments.select(split.alias("split")).to_series()


def late_arrival_features(departures: pl.DataFrame, route_days: pl.DataFrame) -> pl.DataFrame:
    """Gives a row for each flight that arrived: its key, split, target and features.

    Cancelled and diverted flights have no arrival to be late and are left out, so the model speaks
    of flights given that they arrive where they should.

    Args:
        departures: Flights with the circumstances known beforehand.
        route_days: What happened on each route before each day.

    Returns:
        The columns `KEY`, `scheduled_departure`, `split`, `late`, `SAMPLING`, `history_sampled`
        (how many flights the history rests on), then the further features (`CATEGORICAL` and
        `NUMERIC`; the carrier is in the key).
    """
    on = ["origin", "dest", "flight_date"]
    history = route_days.select(
        *on,
        "history_sampled",
        "history_flown",
        pl.when(pl.col("history_flown") > 0)
        .then(pl.col("history_late") / pl.col("history_flown"))
        .cast(pl.Float64)
        .alias("history_late_rate"),
    )
    flown = (
        departures.filter(pl.col("status") == "flown")
        .join(history, on=on, how="left", maintain_order="left")
        .with_columns(
            (pl.col("arrival_delay") > LATE_MINUTES).alias("late"),
            pl.col("flight_date").dt.weekday().cast(pl.Int64).alias("weekday"),
        )
    )
    flown = flown.with_columns(split_by_time(flown["scheduled_departure"], flown["weight"]))
    features = [name for name in (*CATEGORICAL, *NUMERIC) if name not in KEY]
    of_sample = (*SAMPLING, "history_sampled")
    return flown.select(*KEY, "scheduled_departure", "split", "late", *of_sample, *features)


@of_flights.table(
    primary_key=KEY,
    nullable={"scheduled_departure": False, "split": False, "late": False, "weight": False},
)
def late_arrivals(departures: pl.DataFrame, route_days: pl.DataFrame) -> pl.DataFrame:
    """Flights that arrived: whether late, what was known beforehand, and train or test (by time).

    Late means more than 15 minutes after the scheduled arrival. The weather is that of the hour
    before, and the history of the route ends the day before yesterday.
    """
    return late_arrival_features(departures, route_days)


assets: list[dg.AssetsDefinition] = [late_arrivals]
