"""The project with its steps in Celery workers."""

import os
from typing import Any

import dagster_celery.core_execution_loop
from dagster_celery import celery_executor

from data_pipeline.assembly import instance_definitions
from data_pipeline.runs import lease
from data_pipeline_tests.proofs.project.definitions import assets

dagster_celery.core_execution_loop.TICK_SECONDS = 0.05


def _address(_: Any) -> dict[str, str]:
    lease.SECONDS = float(os.environ.get("PROOF_LEASE", lease.SECONDS))
    broker = os.environ["PROOF_BROKER"]
    return {"broker": f"{broker}/0", "backend": f"{broker}/1"}


executor = celery_executor.configured(_address, config_schema={}, name="celery")
defs = instance_definitions(assets, executor=executor)
