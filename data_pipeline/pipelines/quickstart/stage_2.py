"""Stage `stage_2`: what is computed from stage 1."""

import pandas as pd

from data_pipeline import Stage
from data_pipeline.pipelines.quickstart.stage_1 import double_values, stage_1

stage_2 = Stage("stage_2", reads=stage_1, owners=["team:data"])


@stage_2.table
def b2(dfb: pd.DataFrame) -> pd.DataFrame:
    """`dfb` times two."""
    return double_values(dfb)


@stage_2.table
def a3(a2: pd.DataFrame) -> pd.DataFrame:
    """`a2` times two, so `dfa` times four."""
    return double_values(a2)
