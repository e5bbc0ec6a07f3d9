"""Stage `stage_2`: what is computed from stage 1."""

import dagster as dg
import pandas as pd

from data_pipeline import INSTANCE_PARTITIONS
from data_pipeline.pipelines.quickstart.stage_1 import double_values

STAGE = "stage_2"


@dg.asset(
    key_prefix=STAGE,
    group_name=STAGE,
    partitions_def=INSTANCE_PARTITIONS,
    ins={"dfb": dg.AssetIn(key_prefix="stage_1")},
    owners=["team:data"],
    kinds={"python", "pandas"},
)
def b2(dfb: pd.DataFrame) -> pd.DataFrame:
    """`dfb` times two."""
    return double_values(dfb)


@dg.asset(
    key_prefix=STAGE,
    group_name=STAGE,
    partitions_def=INSTANCE_PARTITIONS,
    ins={"a2": dg.AssetIn(key_prefix="stage_1")},
    owners=["team:data"],
    kinds={"python", "pandas"},
)
def a3(a2: pd.DataFrame) -> pd.DataFrame:
    """`a2` times two, so `dfa` times four."""
    return double_values(a2)
