"""Random histories, where steps are at work in Celery workers."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
import sqlalchemy as sa
from hypothesis import Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from data_pipeline.runs import lease
from data_pipeline_tests.proofs.celery_workers import CeleryWorkers
from data_pipeline_tests.proofs.runs import SHORT_BY_CELERY
from data_pipeline_tests.proofs.tally import TALLY
from data_pipeline_tests.proofs.test_histories import Histories, machines
from data_pipeline_tests.runs.workers.broker import Broker

pytest.importorskip("dagster_celery", reason="NOT TESTED: install data_pipeline[celery]")


class CeleryHistories(Histories):
    """Histories with workers of their own, whose broker is that of the test."""

    broker: Broker

    def __init__(self) -> None:
        super().__init__()
        self.world.more["PROOF_BROKER"] = self.broker.url
        self.workers = CeleryWorkers(self.world.folder, self.world.environment(0))
        self.workers.start()
        folder = str(self.world.folder)
        settings = {"telemetry": {"enabled": False}}
        self._storage = dg.DagsterInstance.local_temp(folder, overrides=settings)
        self.world.storage = self._storage.__enter__()

    def _kill(self, job: str, asset: str, way: str) -> None:
        """Kill the process of a step: the run hears of it, and fails."""
        with pytest.MonkeyPatch.context() as patch:
            # Until the lease has lapsed, Dagster's loop asks for the lost step without a pause.
            patch.setattr(lease, "SECONDS", 2.0)
            ended = self.world.run_here(self.generation, job, PROOF_KILL=asset, PROOF_REPLACE=way)
        assert not ended.success
        TALLY.kills += 1

    def teardown(self) -> None:
        self.workers.end()
        self._storage.__exit__(None, None, None)
        super().teardown()


@pytest.fixture
def histories(
    server_url: sa.URL, superuser_url: sa.URL, tmp_path: Path
) -> Iterator[type[Histories]]:
    broker = Broker(tmp_path)
    kind = type("Here", (CeleryHistories,), {"broker": broker})
    with machines(server_url, superuser_url, tmp_path, kind, SHORT_BY_CELERY) as machine:
        yield machine
    broker.kill()


@pytest.mark.soak
def test_a_history_by_celery_keeps_the_invariants(histories: type[Histories]) -> None:
    history = histories()
    try:
        history.begin()
        history.kill(asset="left/query", way="rows")
        _hold(history)
        history.fail(asset="right/both", way="table")
        _hold(history)
        history.break_slice(1, "daily/doubled", "table", kills=True)
        _hold(history)
        history.run(new=False)
        _hold(history)
    finally:
        history.teardown()


def _hold(history: Histories) -> None:
    history.invariants_hold()
    history.tables_hold_what_they_must()


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_every_history_by_celery_keeps_the_invariants(histories: type[Histories]) -> None:
    long = settings(
        max_examples=30, stateful_step_count=20, phases=[Phase.explicit, Phase.generate]
    )
    run_state_machine_as_test(histories, settings=long)
