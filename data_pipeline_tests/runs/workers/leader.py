"""Runs a job as a process of its own: storage, builder, executor."""

import sys
import uuid

import dagster as dg

from data_pipeline_tests.runs.workers import project


def lead(storage: dg.DagsterInstance, builder: str, executor: str, job: str = "full"):
    reconstructable = dg.build_reconstructable_job(
        project.__name__, builder, (job, executor, uuid.uuid4().hex)
    )
    return dg.execute_job(reconstructable, storage, run_config={"loggers": {"progress": {}}})


if __name__ == "__main__":
    folder, builder, executor = sys.argv[1:]
    with dg.DagsterInstance.local_temp(folder) as storage:
        lead(storage, builder, executor)
