"""Stage flights_inputs: the raw tables, whole or as a sample, with weights and a report."""

import dagster as dg

from data_pipeline import sampled_inputs_with_report
from data_pipeline.pipelines.flights import raw
from data_pipeline.pipelines.flights.stage import OWNERS

assets: list[dg.AssetsDefinition] = sampled_inputs_with_report(
    stage="flights_inputs", raw=raw.assets, owners=OWNERS
)
