"""Steps in real Celery workers: two processes, a broker, and nothing of the leader but the run."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import sqlalchemy as sa

from data_pipeline.runs import lease, step_queue
from data_pipeline_tests.io_manager.runs import rows, wait_until
from data_pipeline_tests.memo.settings import table_store
from data_pipeline_tests.runs.workers import project
from data_pipeline_tests.runs.workers.built_slices import check_that_slices_are_built
from data_pipeline_tests.runs.workers.conftest import Workers
from data_pipeline_tests.runs.workers.grown import check_that_tables_grow
from data_pipeline_tests.runs.workers.leader import lead

SLEEPING = (
    "SELECT pid FROM pg_stat_activity WHERE query ~ 'pg_sleep.3600' AND pid <> pg_backend_pid()"
)


@pytest.fixture
def short_lease(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "SECONDS", 2.0)


def executed(result: Any) -> set[str]:
    return {event.step_key for event in result.all_events if event.is_step_success}


def failure(storage: dg.DagsterInstance, result: Any) -> str:
    [record] = storage.get_records_for_run(
        result.run_id, of_type=dg.DagsterEventType.RUN_FAILURE
    ).records
    return record.event_log_entry.dagster_event.job_failure_data.error.message


INSTANCES = [["full", "mini"], pytest.param(["full", "midi", "mini"], marks=pytest.mark.soak)]


@pytest.mark.parametrize("names", INSTANCES, ids=" ".join)
def test_the_shipped_pipeline_runs_on_all_instances(
    workers: Workers, storage: dg.DagsterInstance, engine: sa.Engine, names: list[str]
) -> None:
    for name in names:
        assert lead(storage, "shipped", "celery", name).success
    found = rows(engine, "SELECT count(*) FROM full_catalog.tables WHERE committed_at IS NULL")
    assert found == [(0,)]
    again = lead(storage, "shipped", "celery", "mini")
    assert again.success
    assert executed(again) == set()
    assert rows(engine, "SELECT * FROM mini_catalog.leases") == []


def test_tables_grow_by_what_steps_return(
    workers: Workers, storage: dg.DagsterInstance, engine: sa.Engine
) -> None:
    check_that_tables_grow(storage, engine, "celery")


def test_slices_are_built_by_workers(
    workers: Workers, storage: dg.DagsterInstance, engine: sa.Engine
) -> None:
    check_that_slices_are_built(storage, engine, "celery")


def test_a_worker_that_loaded_older_code_refuses(
    workers: Workers,
    storage: dg.DagsterInstance,
    engine: sa.Engine,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert lead(storage, "small", "celery").success
    monkeypatch.setattr(project, "VERSION", "2")
    stale = lead(storage, "small", "celery")
    assert not stale.success
    assert failure(storage, stale).startswith(
        "data_pipeline.errors.ConfigurationError: Step `s__t`"
    )
    assert rows(engine, "SELECT v FROM full_s.t") == [(1,)]
    workers.kill()
    assert rows(engine, "SELECT code_version FROM full_catalog.tables WHERE name = 't'") == [("1",)]


def test_steps_end_with_a_killed_leader(
    workers: Workers,
    storage: dg.DagsterInstance,
    engine: sa.Engine,
    tmp_path: Path,
    short_lease: None,
) -> None:
    command = [sys.executable, "-m", "data_pipeline_tests.runs.workers.leader", tmp_path]
    with subprocess.Popen([*command, "slow", "celery"], stderr=subprocess.DEVNULL) as leader:
        wait_until(lambda: bool(rows(engine, SLEEPING)))
        leader.kill()
    wait_until(lambda: not rows(engine, SLEEPING))
    assert lead(storage, "small", "celery").success


def test_a_run_whose_workers_die_fails_and_frees_its_stages(
    workers: Workers, storage: dg.DagsterInstance, engine: sa.Engine, short_lease: None
) -> None:
    import threading

    def kill() -> None:
        wait_until(lambda: bool(rows(engine, SLEEPING)))
        workers.kill()

    killer = threading.Thread(target=kill)
    killer.start()
    lost = lead(storage, "slow", "celery")
    killer.join()
    assert not lost.success
    assert "Step `s__t` was lost" in failure(storage, lost)
    assert rows(engine, "SELECT run_id FROM full_catalog.leases") == []
    workers.start()
    assert lead(storage, "small", "celery").success


def test_a_run_that_no_worker_takes_says_what_to_start_and_fails(
    redis: str,
    storage: dg.DagsterInstance,
    engine: sa.Engine,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """Nobody listens to that queue, however fast or slow everybody is."""
    monkeypatch.setenv(project.BROKER, redis)
    monkeypatch.setattr(lease, "SECONDS", 1.0)
    monkeypatch.setattr(step_queue, "WAIT", 0.1)
    table_store("step_wait_seconds: 2", tmp_path, monkeypatch)
    alone = lead(storage, "queued", "celery")
    assert not alone.success
    message = failure(storage, alone)
    assert "For 2 seconds (`table_store.step_wait_seconds`) no process has begun a step" in message
    assert "`s__t` (queue `large`)" in message
    assert "-A dagster_celery.app -q large`" in message
    logged = [entry.user_message for entry in storage.all_logs(alone.run_id)]
    assert any("It waits for `s__t` (queue `large`)" in text for text in logged)
    assert rows(engine, "SELECT run_id FROM full_catalog.leases") == []
