"""A code location with one small pipeline, for commands that are about how it is launched."""

from data_pipeline import instance_definitions, table_checks
from data_pipeline.pipelines import quickstart

defs = instance_definitions(quickstart.assets, asset_checks=table_checks(quickstart.assets))
