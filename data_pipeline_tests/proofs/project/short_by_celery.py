"""The pipeline of five assets with its steps in Celery workers."""

from data_pipeline.assembly import instance_definitions
from data_pipeline_tests.proofs.project import days
from data_pipeline_tests.proofs.project.by_celery import executor
from data_pipeline_tests.proofs.project.short import assets

defs = instance_definitions(assets, jobs=days.jobs, executor=executor)
