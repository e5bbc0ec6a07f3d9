"""A project of a hundred small tables in a chain; BENCH_MIDDLE is part of the code of one."""

import os

import dagster as dg
import pandas as pd

from data_pipeline.assembly import instance_definitions
from data_pipeline.instances.partitions import INSTANCE_PARTITIONS

TABLES = 100
MIDDLE = TABLES // 2


@dg.asset(key=["chain", "t0"], partitions_def=INSTANCE_PARTITIONS)
def first() -> pd.DataFrame:
    """The first table of the chain."""
    return pd.DataFrame({"a": [1]})


def link(number: int) -> dg.AssetsDefinition:
    """Return the asset of table `number`, which reads the one before."""
    added = int(os.environ.get("BENCH_MIDDLE", "0")) if number == MIDDLE else 0

    @dg.asset(
        key=["chain", f"t{number}"],
        ins={"before": dg.AssetIn(key=["chain", f"t{number - 1}"])},
        partitions_def=INSTANCE_PARTITIONS,
    )
    def table(before: pd.DataFrame) -> pd.DataFrame:
        return before + added

    return table


assets = [first, *(link(number) for number in range(1, TABLES))]
defs = instance_definitions(assets)
