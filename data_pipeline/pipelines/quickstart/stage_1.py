"""Stage `stage_1`: the input tables of the instance, and a first computation."""

import pandas as pd

from data_pipeline import Stage, copy_filtered_inputs
from data_pipeline.pipelines.quickstart.raw import dfa, dfb

inputs = copy_filtered_inputs(stage="stage_1", raw=[dfa, dfb], owners=["team:data"])
stage_1 = Stage("stage_1", reads=inputs, owners=["team:data"])


def double_values(df: pd.DataFrame) -> pd.DataFrame:
    """Gives every value times two."""
    return df * 2


@stage_1.table
def a2(dfa: pd.DataFrame) -> pd.DataFrame:
    """`dfa` times two."""
    return double_values(dfa)
