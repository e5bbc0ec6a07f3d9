"""What a run has started ends with it, and what cannot end with it commits nothing."""

import os

import psutil
import pytest

from data_pipeline_tests.patience import PATIENCE
from data_pipeline_tests.proofs.launched import Launched
from data_pipeline_tests.proofs.runs import BY_PROCESSES, IN_PROCESS
from data_pipeline_tests.proofs.world import World

QUERYING = """
SELECT count(*) FROM pg_stat_activity
WHERE wait_event = 'PgSleep' AND datname = current_database()
"""


def held_at(world: World, asset: str, **environment: str) -> Launched:
    """Starts a run with processes for its steps, and waits until it is held in an asset."""
    return world.launch_until(asset, module=BY_PROCESSES, PROOF_HOLD=asset, **environment)


def forkserver_of(world: World, asset: str) -> psutil.Process:
    """Gives the process that has started the step that called an asset last."""
    caller = [pid for pid, name in world.calls() if name == asset][-1]
    parent = psutil.Process(caller).parent()
    assert parent is not None
    return parent


def test_steps_end_with_the_process_of_their_run(built_on: World) -> None:
    """They would go on computing what nobody commits, and the next run would wait for them."""
    built_on.prepare_hold()
    run = held_at(built_on, "raw/orders")
    run.kill()
    run.await_others()
    written = [file.read_text() for file in run.storage.rglob("*.err")]
    assert any("its step in process" in text for text in written)
    built_on.check("always", "whole")


@pytest.mark.soak
def test_steps_end_with_a_run_that_takes_them_for_dead(built_on: World) -> None:
    """Dagster takes steps for crashed when their forkserver is gone, and ends the run."""
    built_on.prepare_hold()
    run = held_at(built_on, "raw/orders")
    forkserver_of(built_on, "raw/orders").kill()
    run.await_end()
    run.await_others()
    built_on.check("always", "whole")
    built_on.succeed(2, module=BY_PROCESSES)
    built_on.check("always", "whole", "finished", generation=2)


def test_a_step_that_outlives_its_run_commits_nothing(built_on: World) -> None:
    """As one can that was started on another machine."""
    pipe = built_on.prepare_hold()
    run = held_at(built_on, "raw/orders", PROOF_OUTLIVES="yes")
    forkserver_of(built_on, "raw/orders").kill()
    run.await_end()
    with open(os.open(pipe, os.O_WRONLY | os.O_NONBLOCK), "w") as held:  # fails if nobody reads
        held.write("go on")
    run.await_others()
    assert "Not committed: stage `raw`" in run.log
    built_on.check("always", "whole")
    built_on.succeed(2, module=BY_PROCESSES)
    built_on.check("always", "whole", "finished", generation=2)


@pytest.mark.parametrize("module", [IN_PROCESS, pytest.param(BY_PROCESSES, marks=pytest.mark.soak)])
def test_a_query_ends_with_the_process_that_asked_for_it(built_on: World, module: str) -> None:
    """It would keep its locks until it is done, and the next run waiting."""
    built_on.pace(100 * PATIENCE)
    run = built_on.launch(2, module=module)
    run.wait_until("it queries", lambda: built_on.rows(QUERYING) != [(0,)])
    run.kill_all()
    built_on.pace(0)
    built_on.succeed(2)
    assert built_on.rows(QUERYING) == [(0,)]
    built_on.check("always", "whole", "finished", generation=2)
