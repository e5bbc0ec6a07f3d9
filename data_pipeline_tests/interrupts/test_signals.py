"""A run ends when it is asked to, whatever it waits for, and commits nothing more."""

import os
import signal

import dagster as dg
import pytest

from data_pipeline_tests.interrupts import by_processes, project
from data_pipeline_tests.interrupts.conftest import Runs

IN_PROCESS, BY_PROCESSES = project.__name__, by_processes.__name__
PLACES = ("another run", "a reader", "query", "load", "read", "sample")


def check_ends(runs: Runs, module: str, place: str, number: int, *, by_command: bool) -> None:
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


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("module", [IN_PROCESS, BY_PROCESSES], ids=["in_process", "by_processes"])
def test_a_run_ends_and_the_next_one_finishes(runs: Runs, module: str, place: str) -> None:
    generation = runs.renew()
    job = "full"
    if place == "sample":
        runs.succeed(IN_PROCESS, "full")
        job = "mini"
    check_ends(runs, module, place, signal.SIGINT, by_command=False)
    check_ends(runs, module, place, signal.SIGTERM, by_command=True)
    runs.succeed(module, job)
    found = runs.held.generations(job)
    assert {"queries", "loads", "reads"} <= {name.split(".")[0].split("_")[1] for name in found}
    assert all(generations == {generation} for generations in found.values())
