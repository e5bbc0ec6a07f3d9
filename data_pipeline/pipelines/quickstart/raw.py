"""Stage `raw`: the tables as they come from the source system."""

import dagster as dg
import pandas as pd

from data_pipeline import Stage, fingerprint_of_frame

raw = Stage("raw", owners=["team:data"])


def source() -> pd.DataFrame:
    """The source system: four rows."""
    return pd.DataFrame({"a": [0, 1, 2, 4], "b": [9, 8, 7, 6]})


def input_task(name: str) -> dg.AssetsDefinition:
    """Gives the asset that loads the source as the raw table `name`."""

    @raw.table(
        name=name,
        description=f"The source frame, loaded as `{name}`.",
        source=lambda: fingerprint_of_frame(source()),
    )
    def load() -> pd.DataFrame:
        return source()

    return load


dfa = input_task("dfa")
dfb = input_task("dfb")
