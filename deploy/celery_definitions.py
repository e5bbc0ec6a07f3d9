"""The shipped pipelines by Celery workers; a project of its own writes the same with its assets."""

from dagster_celery import celery_executor

from data_pipeline import instance_definitions, table_checks
from data_pipeline.pipelines import flights, quickstart

ADDRESS = {"broker": "redis://redis:6379/0", "backend": "redis://redis:6379/1"}
assets = [*quickstart.assets, *flights.assets]

defs = instance_definitions(
    assets,
    asset_checks=table_checks(assets),
    executor=celery_executor.configured(ADDRESS, name="celery"),
    code_location="data_pipeline.definitions",
)
