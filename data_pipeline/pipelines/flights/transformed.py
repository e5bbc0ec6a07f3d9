"""Stage flights_transformed: flights joined with their circumstances, and summed up."""

from typing import Any

import dagster as dg
import polars as pl
import sqlalchemy as sa

from data_pipeline.pipelines.flights.stage import in_stage
from data_pipeline.tables import sql_file, table_properties

IN_STAGE = in_stage("flights_transformed")
FROM_CLEAN = dg.AssetIn(key_prefix="flights_clean")

LATE_MINUTES = 15
"""A flight is late when it arrives more than so many minutes after its scheduled arrival."""

HISTORY_DAYS = 28
HISTORY_LAG_DAYS = 2
"""History ends the day before yesterday: what left yesterday may still be in the air today."""


def sum_up_route_days(flights: pl.DataFrame) -> pl.DataFrame:
    """Sums up the flights of each route and day, and the days before.

    Args:
        flights: Flights with `origin`, `dest`, `flight_date`, `status` and `arrival_delay`.

    Returns:
        A row for each route and day with flights: how many were planned, cancelled, flown and
        late, their mean arrival delay (minutes), and of the `HISTORY_DAYS` days that end
        `HISTORY_LAG_DAYS` before: how many were flown and late.
    """
    route = ["origin", "dest"]
    late = (pl.col("arrival_delay") > LATE_MINUTES).fill_null(value=False)
    days = (
        flights.group_by(*route, "flight_date")
        .agg(
            pl.len().cast(pl.Int64).alias("flights"),
            (pl.col("status") == "cancelled").sum().cast(pl.Int64).alias("cancelled"),
            (pl.col("status") == "flown").sum().cast(pl.Int64).alias("flown"),
            late.sum().cast(pl.Int64).alias("late"),
            pl.col("arrival_delay").mean().cast(pl.Float64).alias("mean_arrival_delay"),
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
        pl.col("flown").sum().cast(pl.Int64).alias("history_flown"),
        pl.col("late").sum().cast(pl.Int64).alias("history_late"),
    )
    return days.join(history, on=[*route, "flight_date"], how="left", maintain_order="left")


@dg.asset(
    **IN_STAGE,
    ins={
        "flights": FROM_CLEAN,
        "weather": FROM_CLEAN,
        "planes": FROM_CLEAN,
        "airports": FROM_CLEAN,
    },
    kinds={"sql", "postgres"},
    metadata=table_properties(primary_key=["time_hour", "carrier", "flight"]),
)
def departures(
    flights: sa.Table, weather: sa.Table, planes: sa.Table, airports: sa.Table
) -> sa.TextClause:
    """Each flight with the weather of the hour before, its plane and its destination.

    Where a reference dangles, the columns that come from it are NULL.
    """
    return sql_file(
        "departures.sql", flights=flights, weather=weather, planes=planes, airports=airports
    )


@dg.asset(
    **IN_STAGE,
    ins={"flights": FROM_CLEAN},
    kinds={"python", "polars"},
    metadata=table_properties(primary_key=["origin", "dest", "flight_date"]),
)
def route_days(flights: pl.DataFrame) -> pl.DataFrame:
    """Flights of each route and day: planned, cancelled, flown, late; and of the weeks before."""
    return sum_up_route_days(flights)


@dg.asset(
    **IN_STAGE,
    ins={"airlines": dg.AssetIn(key_prefix="flights_inputs"), "flights": FROM_CLEAN},
    kinds={"sql", "sqlalchemy", "postgres"},
    metadata=table_properties(primary_key="carrier"),
)
def airlines(airlines: sa.Table, flights: sa.Table) -> sa.Select[Any]:
    """Airlines with their flights in the year: how many, how many cancelled, how late."""
    cancelled = flights.c.status == "cancelled"
    late = flights.c.arrival_delay > LATE_MINUTES
    # Averaged exactly, then cast: a sum of floats would depend on the order of the rows.
    mean_delay = sa.cast(sa.func.avg(flights.c.arrival_delay), sa.Double)
    return (
        sa.select(
            airlines.c.carrier,
            airlines.c.name,
            sa.func.count(flights.c.flight).label("flights"),
            sa.func.count().filter(cancelled).label("cancelled"),
            sa.func.count().filter(late).label("late"),
            mean_delay.label("mean_arrival_delay"),
        )
        .select_from(airlines.outerjoin(flights, flights.c.carrier == airlines.c.carrier))
        .group_by(airlines.c.carrier, airlines.c.name)
        .order_by(airlines.c.carrier)
    )


assets: list[dg.AssetsDefinition] = [departures, route_days, airlines]
