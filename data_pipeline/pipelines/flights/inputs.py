"""Stage flights_inputs: the raw tables, whole or as a sample, with the weights of their rows."""

import dagster as dg

from data_pipeline.pipelines.flights import raw
from data_pipeline.sampling import copy_filtered_inputs

inputs = copy_filtered_inputs(
    stage="flights_inputs", raw=raw.assets, owners=["team:data"], weights=True
)

assets: list[dg.AssetsDefinition] = [inputs]
