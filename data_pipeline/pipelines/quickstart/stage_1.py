"""Stage `stage_1`: the input tables of the instance, and a first computation."""

import dagster as dg
import pandas as pd

from data_pipeline import INSTANCE_PARTITIONS, copy_filtered_inputs
from data_pipeline.pipelines.quickstart.raw import dfa, dfb

STAGE = "stage_1"

inputs = copy_filtered_inputs(stage=STAGE, raw=[dfa, dfb], owners=["team:data"])


def double_values(df: pd.DataFrame) -> pd.DataFrame:
    """Gives every value times two."""
    return df * 2


@dg.asset(
    key_prefix=STAGE,
    group_name=STAGE,
    partitions_def=INSTANCE_PARTITIONS,
    ins={"dfa": dg.AssetIn(key_prefix=STAGE)},
    owners=["team:data"],
    kinds={"python", "pandas"},
)
def a2(dfa: pd.DataFrame) -> pd.DataFrame:
    """`dfa` times two."""
    return double_values(dfa)
