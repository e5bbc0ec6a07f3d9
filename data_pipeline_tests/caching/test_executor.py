"""The executor leaves out what has nothing to do, says so, and runs the rest.

It relies on private parts of Dagster (see `data_pipeline/caching/executor.py`): these tests fail
when Dagster changes them.
"""

from pathlib import Path

import dagster as dg
import pytest
import sqlalchemy as sa

from data_pipeline_tests.caching import jobs

SAMPLED = {"stage_1__copy_filtered_inputs", "stage_1__a2", "stage_2__b2", "stage_2__a3"}
RAW = {"raw__dfa", "raw__dfb"}
CHECKOUT = Path(__file__).parents[2]


class Run:
    """A finished run: what it did, and what its log says."""

    def __init__(
        self,
        storage: dg.DagsterInstance,
        executor: str,
        job: str,
        tags: dict[str, str] | None = None,
        selection: list[dg.AssetKey] | None = None,
    ) -> None:
        reconstructable = dg.build_reconstructable_job(
            jobs.__name__, executor, (job,), reconstructor_working_directory=str(CHECKOUT)
        )
        with dg.execute_job(
            reconstructable, storage, tags=tags, asset_selection=selection
        ) as result:
            self.success = result.success
            self.run_id = result.run_id
        records = storage.get_records_for_run(self.run_id).records
        entries = [record.event_log_entry for record in records]
        self.messages = [entry.user_message for entry in entries]
        self.steps = {
            entry.step_key
            for entry in entries
            if entry.dagster_event_type is dg.DagsterEventType.STEP_SUCCESS
        }


@pytest.fixture
def storage(tmp_path_factory: pytest.TempPathFactory) -> dg.DagsterInstance:
    folder = str(tmp_path_factory.mktemp("storage"))
    return dg.DagsterInstance.local_temp(folder, overrides={"telemetry": {"enabled": False}})


@pytest.mark.parametrize("executor", ["in_process", "multiprocess"])
def test_raw_tables_are_left_out_on_instances_that_copy(
    pipeline_database: sa.Engine, storage: dg.DagsterInstance, executor: str
) -> None:
    full = Run(storage, executor, "full")
    assert full.success
    assert full.steps == SAMPLED | RAW
    mini = Run(storage, executor, "mini")
    assert mini.success
    assert mini.steps == SAMPLED
    for step in RAW:
        reason = f"Left out {step}: instance `mini` does not load it but copies from `full`"
        assert reason in mini.messages
    assert "mini_raw" not in sa.inspect(pipeline_database).get_schema_names()


def test_any_job_works_for_any_instance(
    pipeline_database: sa.Engine, storage: dg.DagsterInstance
) -> None:
    assert Run(storage, "in_process", "pipeline", {"dagster/partition": "full"}).success
    midi = Run(storage, "in_process", "pipeline", {"dagster/partition": "midi"})
    assert midi.success
    assert midi.steps == SAMPLED


def test_a_run_with_nothing_to_do_executes_no_step_and_succeeds(
    pipeline_database: sa.Engine, storage: dg.DagsterInstance
) -> None:
    raw = [dg.AssetKey(["raw", "dfa"])]
    run = Run(storage, "in_process", "pipeline", {"dagster/partition": "mini"}, raw)
    assert run.success
    assert run.steps == set()
