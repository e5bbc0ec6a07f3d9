"""Jobs of the quickstart pipeline under different executors, for Dagster to find by name."""

import dagster as dg

from data_pipeline.assembly import instance_definitions
from data_pipeline.pipelines.quickstart import assets


def in_process(name: str) -> dg.JobDefinition:
    return instance_definitions(assets).resolve_job_def(name)


def multiprocess(name: str) -> dg.JobDefinition:
    definitions = instance_definitions(assets, executor=dg.multiprocess_executor)
    return definitions.resolve_job_def(name)
