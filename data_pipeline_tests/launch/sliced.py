"""A code location with slices: sales by day -> turnover by day -> their total."""

import os
import signal

import dagster as dg
import pandas as pd
import sqlalchemy as sa

from data_pipeline import INSTANCE_PARTITIONS, Stage, instance_definitions, sql_query

DAYS = dg.MultiPartitionsDefinition(
    {
        "instance": INSTANCE_PARTITIONS,
        "day": dg.DailyPartitionsDefinition("2026-01-01", end_date="2026-01-31"),
    }
)
raw = Stage("sliced_raw", partitions_def=DAYS)
daily = Stage("sliced_daily", reads=raw, partitions_def=DAYS)
total = Stage("sliced_total", reads=daily)


def factor() -> int:
    """What the source says of all days now."""
    return int(os.environ.get("SLICED_FACTOR", "1"))


def broken() -> list[str]:
    """The days whose source cannot be read, and one at which somebody presses Ctrl-C."""
    return os.environ.get("SLICED_BROKEN", "").split()


@raw.table(primary_key=("day", "number"), source=lambda instance: [instance.slice, factor()])
def sales(context: dg.AssetExecutionContext) -> pd.DataFrame:
    day = context.partition_time_window.start.date()
    if str(day) in broken():
        raise OSError(f"no file of {day}")
    if f"{day}!" in broken():
        signal.raise_signal(signal.SIGINT)
    numbers = list(range(day.day * factor()))
    return pd.DataFrame({"day": [day] * len(numbers), "number": numbers})


@daily.table(primary_key="day")
def turnover(sales: sa.Table) -> sa.TextClause:
    return sql_query("SELECT day, count(*) AS sold FROM {sales} GROUP BY day", sales=sales)


@total.table
def everything(turnover: sa.Table) -> sa.TextClause:
    return sql_query("SELECT sum(sold)::bigint AS sold FROM {turnover}", turnover=turnover)


assets = [*raw.assets, *daily.assets, *total.assets]
defs = instance_definitions(assets)
