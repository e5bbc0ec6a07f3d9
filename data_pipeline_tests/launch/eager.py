"""A code location whose instances refresh themselves, as the page about Dagster shows it."""

import dagster as dg
import pandas as pd

from data_pipeline import Stage, copy_filtered_inputs, instance_definitions

_EAGER = dg.AutomationCondition.eager()

raw = Stage("eager_raw")


@raw.table(primary_key="k")
def things() -> pd.DataFrame:
    return pd.DataFrame({"k": range(10)})


inputs = copy_filtered_inputs(stage="eager", raw=raw.assets, automation_condition=_EAGER)
clean = Stage("eager_clean", reads=inputs, automation_condition=_EAGER)


@clean.table
def doubled(things: pd.DataFrame) -> pd.DataFrame:
    return things * 2


# It has the name of the one that a user turns on in the web UI.
_sensor = dg.AutomationConditionSensorDefinition(
    "default_automation_condition_sensor",
    target=dg.AssetSelection.all(),
    default_status=dg.DefaultSensorStatus.RUNNING,
    minimum_interval_seconds=1,
)
defs = instance_definitions([*raw.assets, inputs, *clean.assets], sensors=[_sensor])
