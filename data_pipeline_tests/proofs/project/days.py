"""Tables with slices, `landed` -> `daily`, and jobs that build one slice: `day_1`, `day_2`."""

from typing import Any

import dagster as dg
import pandas as pd
import sqlalchemy as sa

from data_pipeline import INSTANCE_PARTITIONS, Stage, sql_query
from data_pipeline_tests.proofs.project.generations import (
    SQL_PACE,
    called,
    further_columns,
    generation,
)

_BY_DAY = dg.MultiPartitionsDefinition(
    {"instance": INSTANCE_PARTITIONS, "day": dg.DailyPartitionsDefinition("2026-01-01")}
)
landed = Stage("landed", partitions_def=_BY_DAY)
daily = Stage("daily", reads=landed, partitions_def=_BY_DAY)


@landed.table(primary_key=("day", "id"), source=generation)
def sales(context: dg.AssetExecutionContext) -> pd.DataFrame:
    called("landed/sales")
    day = context.partition_time_window.start.date()
    further = dict.fromkeys(further_columns(), "x")
    return pd.DataFrame({"day": day, "id": range(10), "made": generation(), **further})


@daily.table(primary_key=("day", "id"))
def doubled(sales: sa.Table) -> Any:
    called("daily/doubled")
    columns = ", ".join(["day", "id * 2 AS id", "made", *further_columns()])
    text = f"SELECT {columns} FROM {{sales}} CROSS JOIN {SQL_PACE}"
    return sql_query(text, sales=sales)


assets = [sales, doubled]
jobs = [
    dg.define_asset_job(
        f"day_{number}",
        selection=dg.AssetSelection.assets(sales, doubled),
        tags={"dagster/partition": f"2026-01-0{number}|full"},
    )
    for number in (1, 2)
]
