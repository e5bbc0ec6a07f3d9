"""A run ends when it is asked to, whatever it waits for, and commits nothing more."""

import os
import signal

import dagster as dg
import pytest

from data_pipeline_tests.runs.interrupts import by_processes, project
from data_pipeline_tests.runs.interrupts.conftest import Runs

IN_PROCESS, BY_PROCESSES = project.__name__, by_processes.__name__
PLACES = ("another run", "a reader", "query", "load", "read", "sample", "the catalog")


def check_ends(
    runs: Runs, module: str, place: str, number: int, *, by_command: bool = False
) -> None:
    """Ends a run that is held up, by a signal; whoever holds it up is still there afterwards."""
    job = "mini" if place == "sample" else "full"
    with runs.held.at(place) as is_there:
        run = runs.start(module, job, by_command=by_command)
        run.wait_until("it is held up", lambda: is_there(run.log))
        committed = runs.held.generations(job)
        os.kill(run.pid, number)
        assert run.await_end() > 0, run.log
        run.await_others()
        assert not runs.held.is_asleep()
        assert runs.held.generations(job) == committed
    assert all(len(found) == 1 for found in committed.values())
    assert runs.status(run) is dg.DagsterRunStatus.FAILURE


def check_finishes(runs: Runs, module: str, job: str) -> None:
    runs.succeed(module, job)
    found = runs.held.generations(job)
    assert {f"{job}_loads.loaded", f"{job}_queries.queried", f"{job}_reads.read"} <= found.keys()
    assert all(generations == {runs.generation} for generations in found.values())


@pytest.mark.parametrize(
    ("place", "number", "by_command"),
    [
        pytest.param(place, number, by_command, marks=[] if is_short else [pytest.mark.soak])
        for n, place in enumerate(PLACES)
        for number, by_command, is_short in [
            (signal.SIGINT, False, n % 2 == 0),
            (signal.SIGTERM, True, n % 2 == 1),
        ]
    ],
)
def test_a_run_ends_and_the_next_one_finishes(
    runs: Runs, place: str, number: signal.Signals, by_command: bool
) -> None:
    runs.renew()
    job = "full"
    if place == "sample":
        runs.succeed(IN_PROCESS, job)
        job = "mini"
    check_ends(runs, IN_PROCESS, place, number, by_command=by_command)
    check_finishes(runs, IN_PROCESS, job)


@pytest.mark.parametrize(
    ("place", "number"),
    [
        pytest.param("another run", signal.SIGTERM, marks=pytest.mark.soak),
        pytest.param("a reader", signal.SIGINT, marks=pytest.mark.soak),
        pytest.param("query", signal.SIGTERM, marks=pytest.mark.soak),
        ("load", signal.SIGINT),
    ],
)
def test_so_does_one_with_a_process_for_each_step(
    runs: Runs, place: str, number: signal.Signals
) -> None:
    runs.renew()
    check_ends(runs, BY_PROCESSES, place, number)
    check_finishes(runs, BY_PROCESSES, "full")


def test_a_request_that_comes_while_the_code_is_loaded_counts(runs: Runs) -> None:
    runs.renew()
    with runs.held.at("another run"):
        committed = runs.held.generations("full")
        run = runs.start(IN_PROCESS, "full", by_command=True, EARLY="1")
        assert run.await_end() > 0, run.log
        assert runs.held.generations("full") == committed
