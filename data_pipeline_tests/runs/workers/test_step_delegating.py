"""A process a step that shares nothing with its leader but the database and the blob store."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
import sqlalchemy as sa
from dagster_celery_k8s import celery_k8s_job_executor
from dagster_k8s import k8s_job_executor

from data_pipeline.assembly import instance_definitions
from data_pipeline_tests.io_manager.runs import rows
from data_pipeline_tests.runs.workers import pods, project
from data_pipeline_tests.runs.workers.leader import lead
from data_pipeline_tests.store.object_storage import object_storage


@pytest.fixture
def bucket(
    storage: dg.DagsterInstance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    file = tmp_path / "instances.yaml"
    file.write_text("instances: {full: {blob_store: {base_path: 's3://blobs/all'}}}")
    monkeypatch.setenv("DATA_PIPELINE_CONFIG", str(file))
    monkeypatch.setenv(pods.OWN_DISKS, str(tmp_path / "disks"))
    with object_storage() as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        yield


def test_tables_and_blobs_reach_steps_without_the_leaders_disk(
    bucket: None, storage: dg.DagsterInstance, engine: sa.Engine
) -> None:
    assert lead(storage, "small", "pods").success
    assert rows(engine, "SELECT twice FROM full_r.used") == [(2,)]
    again = lead(storage, "small", "pods")
    assert again.success
    assert not [event for event in again.all_events if event.is_step_success]


@pytest.mark.parametrize("executor", [k8s_job_executor, celery_k8s_job_executor])
def test_executors_of_kubernetes_are_wrapped_with_their_configuration(
    executor: dg.ExecutorDefinition,
) -> None:
    definitions = instance_definitions(project.assets(), executor=executor)
    job = definitions.resolve_job_def("full")
    assert job.executor_def.name == f"memoised_{executor.name}"
    config = {"execution": {"config": {"job_namespace": "pipelines"}}}
    assert dg.validate_run_config(job, config)


def test_why_a_step_failed_elsewhere_is_said_by_the_leader(
    bucket: None, storage: dg.DagsterInstance, engine: sa.Engine, capfd: pytest.CaptureFixture[str]
) -> None:
    assert not lead(storage, "failing", "pods").success
    lines = [line for line in capfd.readouterr().out.splitlines() if "Step `s__t`" in line]
    assert lines == ["  full  Step `s__t` failed: OSError: no file of today"]
