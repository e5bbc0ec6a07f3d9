"""What Dagster loads: the pipelines, on all instances."""

from data_pipeline.assembly import instance_definitions
from data_pipeline.pipelines import flights, quickstart

defs = instance_definitions([*quickstart.assets, *flights.assets])
