"""The executor leaves out what has nothing to do, says so, and runs the rest.

It relies on private parts of Dagster (see `data_pipeline/memo/executor.py`): these tests fail
when Dagster changes them.
"""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
import sqlalchemy as sa

from data_pipeline_tests.memo.step_processes import BY_PROCESSES
from data_pipeline_tests.memo.world import Run, World, new_storage, shared_storage

SAMPLED = {"stage_1__copy_filtered_inputs", "stage_1__a2", "stage_2__b2", "stage_2__a3"}
RAW = {"raw__dfa", "raw__dfb"}


@pytest.fixture
def storage() -> Iterator[dg.DagsterInstance]:
    with new_storage() as made:
        yield made


def test_raw_tables_are_left_out_on_instances_that_copy(
    pipeline_database: sa.Engine, storage: dg.DagsterInstance
) -> None:
    full = Run(storage, "in_process", "full")
    assert full.success
    assert full.steps == SAMPLED | RAW
    mini = Run(storage, "in_process", "mini")
    assert mini.success
    assert mini.steps == SAMPLED
    reason = (
        "Left out raw__dfa, raw__dfb: instance `mini` does not load raw tables but copies from "
        "`full`"
    )
    assert reason in mini.messages
    assert "mini_raw" not in sa.inspect(pipeline_database).get_schema_names()


def test_any_job_works_for_any_instance(
    pipeline_database: sa.Engine, storage: dg.DagsterInstance
) -> None:
    assert Run(storage, "in_process", "pipeline", tags={"dagster/partition": "full"}).success
    midi = Run(storage, "in_process", "pipeline", tags={"dagster/partition": "midi"})
    assert midi.success
    assert midi.steps == SAMPLED


def test_a_run_without_a_partition_is_refused_before_its_first_step(
    pipeline_database: sa.Engine, storage: dg.DagsterInstance
) -> None:
    run = Run(storage, "in_process", "pipeline")
    assert not run.success
    assert not run.steps
    assert "has no partition" in run.failure
    assert '--tags \'{"dagster/partition": "mini"}\'' in run.failure


def test_a_run_with_nothing_to_do_executes_no_step_and_succeeds(world: World) -> None:
    world.run()
    again = world.run()
    assert again.success
    assert again.steps == set()
    assert not world.calls


@pytest.mark.usefixtures("forkserver")
def test_several_processes_share_what_is_decided(world: World, tmp_path: Path) -> None:
    settings = {
        "run_config": BY_PROCESSES,
        "storage": shared_storage(tmp_path),
    }
    first = world.run(builder="changing_by_processes", **settings)
    assert first.success
    assert world.calls == {"t": 1, "b": 1, "c": 1, "query": 1}
    again = world.run(builder="changing_by_processes", **settings)
    assert again.success
    assert again.steps == set()
    world.state["source"] = 7
    assert world.run(builder="changing_by_processes", **settings).success
    assert world.calls == {"t": 1, "b": 1, "c": 1, "query": 1}


def test_what_depends_on_a_failed_step_is_not_executed(
    world: World, pipeline_database: sa.Engine
) -> None:
    world.run()
    world.state["versions"]["b"] = "2"
    world.state["factor"] = "no number"
    failed = world.run()
    assert not failed.success
    assert world.calls == {"b": 1}
    assert "Not executed: stage_2__c, since stage_1__b failed" in failed.log
    world.state["factor"] = 3
    assert world.run().success
    assert world.calls == {"b": 1, "c": 1, "query": 1}


def test_a_selection_of_assets_is_decided_too(world: World) -> None:
    world.run()
    selection = [dg.AssetKey(["stage_2", "c"])]
    assert world.run(selection=selection).steps == set()
    world.state["versions"]["c"] = "2"
    assert world.run(selection=selection).steps == {"stage_2__c"}
