"""What Dagster loads: the pipelines, on all instances."""

from data_pipeline.assembly import instance_definitions
from data_pipeline.pipelines import quickstart

defs = instance_definitions([*quickstart.assets])
