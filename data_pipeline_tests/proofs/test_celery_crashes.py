"""The same proof where steps are at work in Celery workers: any part of that may be killed."""

import random
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest

from data_pipeline_tests.proofs.celery_workers import CeleryWorkers
from data_pipeline_tests.proofs.launched import Launched
from data_pipeline_tests.proofs.runs import BY_CELERY, SHORT_BY_CELERY
from data_pipeline_tests.proofs.tally import TALLY
from data_pipeline_tests.proofs.test_crashes import Assassin
from data_pipeline_tests.proofs.world import World
from data_pipeline_tests.runs.workers.broker import Broker

pytest.importorskip("dagster_celery", reason="NOT TESTED: install data_pipeline[celery]")

VICTIMS = ("worker", "run", "step", "broker", "all", "server")
SHORT_LEASE = {"PROOF_LEASE": "2", "PROOF_STEP_WAIT": "30"}
"""Only of runs that are killed: for others, it would matter how fast they are."""


@dataclass
class CeleryAssassin(Assassin):
    """Kills workers and their broker, too.

    Attributes:
        broker: The broker of the workers.
        workers: Those that execute the steps.
    """

    modules: tuple[str, ...] = (BY_CELERY,)
    broker: Broker = field(kw_only=True)
    workers: CeleryWorkers = field(kw_only=True)

    def _launch(self, module: str, **_: Any) -> Launched:
        self.world.more |= SHORT_LEASE
        try:
            return super()._launch(module, by_command=False)
        finally:
            for name in SHORT_LEASE:
                self.world.more.pop(name, None)

    def _kill(self, run: Launched, victim: str) -> None:
        if victim == "broker":
            self.broker.kill()
            self.broker.start()
        elif victim == "worker":
            self.workers.kill(self._choice("one", "two"))
        elif victim == "all":
            run.kill_all()
            self.workers.end()
        if victim in ("broker", "worker", "all"):
            self.kills += 1
            TALLY.kills += 1
        else:
            super()._kill(run, victim)
        self.workers.start()

    def _kill_step(self, run: Launched) -> None:
        callers = {pid for pid, _ in self.world.calls()}
        children = self.workers.children()
        at_work = [child for child in children if child.pid in callers]
        with suppress(psutil.NoSuchProcess):
            self.random.choice(at_work or children).kill()


@dataclass
class SliceAssassin(CeleryAssassin):
    """Kills runs that build a slice of one day or another."""

    modules: tuple[str, ...] = (SHORT_BY_CELERY,)
    job: str = "day_1"
    calls: int = 2

    def strike(self, victim: str) -> None:
        self.job = self._choice("day_1", "day_2")
        super().strike(victim)

    def _check_finished(self) -> None:
        self.world.check("always", "whole", "finished")
        made = f"SELECT DISTINCT made FROM {{}} WHERE day = '2026-01-0{self.job[-1]}'"
        for table in ("full_landed.sales", "full_daily.doubled"):
            assert self.world.rows(made.format(table)) == [(self.generation,)]


def strike_all(
    world: World,
    folder: Path,
    wanted: int,
    victims: tuple[str, ...],
    assassins: type[CeleryAssassin] = CeleryAssassin,
) -> None:
    """Kill that often, with every victim in turn."""
    broker = Broker(folder)
    [world.module] = assassins.modules
    world.more["PROOF_BROKER"] = broker.url
    workers = CeleryWorkers(folder, world.environment(0))
    assassin = assassins(world, random.Random(20_17 + wanted), broker=broker, workers=workers)
    try:
        workers.start()
        assassin.strike_until(wanted, victims)
    finally:
        workers.end()
        broker.kill()
    TALLY.reused_after_kills += assassin.reused


@pytest.mark.soak
def test_after_kills_of_worker_and_broker_the_next_run_finishes(
    built_on: World, tmp_path: Path
) -> None:
    strike_all(built_on, tmp_path, 2, ("worker", "broker"))


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_after_sixty_kills_the_next_run_by_celery_finishes(
    own_server: World, tmp_path: Path
) -> None:
    strike_all(own_server, tmp_path, 60, VICTIMS)


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_after_sixty_kills_of_runs_of_slices_the_next_one_finishes(
    own_server: World, tmp_path: Path
) -> None:
    strike_all(own_server, tmp_path, 60, VICTIMS, SliceAssassin)
