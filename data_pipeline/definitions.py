"""What Dagster loads: the pipelines, on all instances."""

from data_pipeline.assembly import check_samples, instance_definitions
from data_pipeline.pipelines import flights, quickstart
from data_pipeline.sampling.checks import table_checks

assets = [*quickstart.assets, *flights.assets]

check_samples(assets)
defs = instance_definitions(assets, asset_checks=table_checks(assets))
