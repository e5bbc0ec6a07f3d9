"""Stage flights_transformed: flights joined with their circumstances, and summed up."""

from typing import Any

import dagster as dg
import polars as pl
import sqlalchemy as sa

from data_pipeline import Stage, sql_file
from data_pipeline.pipelines.flights import inputs
from data_pipeline.pipelines.flights.clean import clean
from data_pipeline.pipelines.flights.stage import OWNERS

transformed = Stage("flights_transformed", reads=[clean, inputs.assets], owners=OWNERS)

LATE_MINUTES = 15
"""A flight is late when it arrives more than so many minutes after its scheduled arrival."""

HISTORY_DAYS = 28
HISTORY_LAG_DAYS = 2
"""History ends the day before yesterday: what left yesterday may still be in the air today."""

_DECIMALS = 6  # of sums of weights: their last digits depend on the order of the rows


def sum_up_route_days(flights: pl.DataFrame) -> pl.DataFrame:
    """Sums up the flights of each route and day, and the days before.

    Args:
        flights: Flights with `origin`, `dest`, `flight_date`, `status`, `arrival_delay`, `weight`.

    Returns:
        A row for each route and day with flights: how many were planned, cancelled, flown and
        late, their mean arrival delay (minutes), and of the `HISTORY_DAYS` days that end
        `HISTORY_LAG_DAYS` before: how many were flown and late. These are weighted: estimates of
        what the full data would give. `sampled_flown` and `history_sampled` count the flights that
        they rest on.
    """
    route = ["origin", "dest"]
    weight, delay = pl.col("weight"), pl.col("arrival_delay")
    flown = pl.col("status") == "flown"
    arrived = _weighted(delay.is_not_null())
    days = (
        flights.group_by(*route, "flight_date")
        .agg(
            weight.sum().round(_DECIMALS).alias("flights"),
            _weighted(pl.col("status") == "cancelled").alias("cancelled"),
            _weighted(flown).alias("flown"),
            _weighted(delay > LATE_MINUTES).alias("late"),
            pl.when(arrived > 0).then((delay * weight).sum() / arrived).alias("mean_arrival_delay"),
            (flown & (weight > 0)).sum().cast(pl.Int64).alias("sampled_flown"),
        )
        .sort(*route, "flight_date")
    )
    history = days.rolling(
        "flight_date",
        period=f"{HISTORY_DAYS}d",
        offset=f"-{HISTORY_DAYS + HISTORY_LAG_DAYS}d",
        closed="right",
        group_by=route,
    ).agg(
        pl.col("flown").sum().round(_DECIMALS).alias("history_flown"),
        pl.col("late").sum().round(_DECIMALS).alias("history_late"),
        pl.col("sampled_flown").sum().cast(pl.Int64).alias("history_sampled"),
    )
    return days.join(history, on=[*route, "flight_date"], how="left", maintain_order="left")


@transformed.table(primary_key=["time_hour", "carrier", "flight"])
def departures(
    flights: sa.Table, weather: sa.Table, planes: sa.Table, airports: sa.Table
) -> sa.TextClause:
    """Each flight with the weather of the hour before, its plane and its destination.

    Where a reference dangles, the columns that come from it are NULL.
    """
    return sql_file(
        "departures.sql", flights=flights, weather=weather, planes=planes, airports=airports
    )


@transformed.table(primary_key=["origin", "dest", "flight_date"])
def route_days(flights: pl.DataFrame) -> pl.DataFrame:
    """Flights of each route and day: planned, cancelled, flown, late; and of the weeks before."""
    return sum_up_route_days(flights)


@transformed.table(primary_key="carrier")
def airlines(airlines: sa.Table, flights: sa.Table) -> sa.Select[Any]:
    """Airlines with their flights in the year, weighted: how many, how many cancelled, how late."""
    delay = flights.c.arrival_delay
    # Summed up exactly, then cast: a sum of floats would depend on the order of the rows.
    weight = sa.cast(flights.c.weight, sa.Numeric)
    mean_delay = sa.func.sum(weight * delay) / sa.func.nullif(
        sa.func.sum(weight).filter(delay.is_not(None)), 0
    )
    return (
        sa.select(
            airlines.c.carrier,
            airlines.c.name,
            _total(sa.func.sum(weight)).label("flights"),
            _total(sa.func.sum(weight).filter(flights.c.status == "cancelled")).label("cancelled"),
            _total(sa.func.sum(weight).filter(delay > LATE_MINUTES)).label("late"),
            sa.cast(mean_delay, sa.Double).label("mean_arrival_delay"),
        )
        .select_from(airlines.outerjoin(flights, flights.c.carrier == airlines.c.carrier))
        .group_by(airlines.c.carrier, airlines.c.name)
        .order_by(airlines.c.carrier)
    )


assets: list[dg.AssetsDefinition] = [departures, route_days, airlines]


def _weighted(condition: pl.Expr) -> pl.Expr:
    """How many flights of the full data there are for which a condition is true."""
    return pl.col("weight").filter(condition).sum().round(_DECIMALS)


def _total(weights: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
    return sa.cast(sa.func.coalesce(weights, 0), sa.Double)
