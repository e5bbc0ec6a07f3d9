"""Who commits the stages of a run: its executor, or its process where that executes all of it."""

from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from data_pipeline_tests.io_manager.runs import rows
from data_pipeline_tests.memo.conftest import forkserver as forkserver
from data_pipeline_tests.memo.conftest import world as world
from data_pipeline_tests.memo.step_processes import BY_PROCESSES
from data_pipeline_tests.memo.world import Run, World, shared_storage


def refusals(run: Run) -> str:
    """Gives what the steps of a run failed of, with all causes."""
    errors = [event.step_failure_data.error for event in run.events if event.is_step_failure]
    return "".join(error.to_string() for error in errors if error)


@pytest.mark.usefixtures("forkserver")
def test_steps_in_processes_that_nobody_leads_are_refused(
    world: World, pipeline_database: sa.Engine, tmp_path: Path
) -> None:
    """Each would commit its own table, and so a part of the stage."""
    settings: dict[str, Any] = {
        "builder": "led_by_nobody",
        "storage": shared_storage(tmp_path),
        "run_config": BY_PROCESSES,
    }
    full = {"dagster/partition": "full"}
    refused = refusals(world.run("job", tags=full, **settings))
    assert "executes its steps in several processes (executor `multiprocess`)" in refused
    refused = refusals(world.run("memoised job", **settings))
    assert "executes its steps in several processes (executor `memoised_multiproc" in refused
    tables = "SELECT count(*) FROM pg_tables WHERE schemaname = 'full_s'"
    assert rows(pipeline_database, tables) == [(0,)]
    assert world.run("one", tags=full, **settings).success
    assert rows(pipeline_database, tables) == [(1,)]
