"""Steps in the processes of a real Dask cluster."""

from collections.abc import Iterator

import dagster as dg
import pytest
import sqlalchemy as sa

from data_pipeline_tests.io_manager.runs import rows
from data_pipeline_tests.runs.workers import project
from data_pipeline_tests.runs.workers.built_slices import check_that_slices_are_built
from data_pipeline_tests.runs.workers.grown import check_that_tables_grow
from data_pipeline_tests.runs.workers.leader import lead

pytest.importorskip("dagster_dask", reason="NOT TESTED: install data_pipeline[dask]")


@pytest.fixture(scope="module")
def _scheduler(place: dict[str, str]) -> Iterator[str]:
    """Two processes, which know the database of the module."""
    from dask.distributed import LocalCluster

    settings = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None}
    with pytest.MonkeyPatch.context() as environment:
        for name, value in place.items():
            environment.setenv(name, value)
        with LocalCluster(processes=True, **settings) as cluster:
            yield cluster.scheduler_address


@pytest.fixture
def cluster(_scheduler: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(project.SCHEDULER, _scheduler)


@pytest.mark.soak
def test_the_shipped_pipeline_runs_by_dask(
    cluster: None, storage: dg.DagsterInstance, engine: sa.Engine
) -> None:
    for name in ("full", "midi", "mini"):
        assert lead(storage, "shipped", "dask", name).success
    uncommitted = "SELECT count(*) FROM mini_catalog.tables WHERE committed_at IS NULL"
    assert rows(engine, uncommitted) == [(0,)]
    again = lead(storage, "shipped", "dask", "mini")
    assert again.success
    assert not [event for event in again.all_events if event.is_step_success]


def test_tables_grow_by_what_steps_return(
    cluster: None, storage: dg.DagsterInstance, engine: sa.Engine
) -> None:
    check_that_tables_grow(storage, engine, "dask")


@pytest.mark.soak
def test_slices_are_built_by_workers(
    cluster: None, storage: dg.DagsterInstance, engine: sa.Engine
) -> None:
    check_that_slices_are_built(storage, engine, "dask")
