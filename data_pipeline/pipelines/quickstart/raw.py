"""Stage `raw`: the tables as they come from the source system."""

import dagster as dg
import pandas as pd

from data_pipeline import INSTANCE_PARTITIONS, fingerprint_of_frame, outside_input

STAGE = "raw"


def source() -> pd.DataFrame:
    """The source system: four rows."""
    return pd.DataFrame({"a": [0, 1, 2, 4], "b": [9, 8, 7, 6]})


def input_task(name: str) -> dg.AssetsDefinition:
    """Gives the asset that loads the source as the raw table `name`."""

    @dg.asset(
        key=[STAGE, name],
        group_name=STAGE,
        partitions_def=INSTANCE_PARTITIONS,
        description=f"The source frame, loaded as `{name}`.",
        metadata=outside_input(lambda: fingerprint_of_frame(source())),
        owners=["team:data"],
        kinds={"python", "pandas"},
    )
    def load() -> pd.DataFrame:
        return source()

    return load


dfa = input_task("dfa")
dfb = input_task("dfb")
