"""What Dagster loads: the pipelines, on all instances."""

from data_pipeline import check_samples, instance_definitions, table_checks
from data_pipeline.pipelines import flights, quickstart

assets = [*quickstart.assets, *flights.assets]

check_samples(assets)
defs = instance_definitions(assets, asset_checks=table_checks(assets))
