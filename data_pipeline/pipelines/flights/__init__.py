"""Pipeline flights: will a flight from New York City arrive late? Real data of the year 2013.

One module a stage, in this order: `raw`, `inputs`, `clean`, `transformed`, `features`, `model`,
`evaluation`. What they compute is in plain functions, there or in `source`, `estimator`, `metrics`
and `plot`.
"""

import dagster as dg

from data_pipeline.pipelines.flights import (
    clean,
    evaluation,
    features,
    inputs,
    model,
    raw,
    transformed,
)

_STAGES = (raw, inputs, clean, transformed, features, model, evaluation)

assets: list[dg.AssetsDefinition] = [asset for stage in _STAGES for asset in stage.assets]

__all__ = ["assets"]
