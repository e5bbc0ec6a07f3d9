"""Checks in runs: for the instance of the run, after its tables, and only where there are any."""

import functools
from collections.abc import Callable

import dagster as dg
import pandas as pd

from data_pipeline.assembly import instance_definitions
from data_pipeline.instances.partitions import INSTANCE_PARTITIONS
from data_pipeline.sampling.checks import table_checks
from data_pipeline_tests.results.conftest import Execute
from data_pipeline_tests.results.shop import check, raw_tables, run, sampled


@dg.asset(key=["shop_raw", "broken"], partitions_def=INSTANCE_PARTITIONS)
def broken() -> pd.DataFrame:
    raise RuntimeError("no source today")


@functools.lru_cache(maxsize=1)  # a run asks for it several times
def job_of(instance: str, *also: dg.AssetsDefinition) -> dg.JobDefinition:
    """Gives the job of an instance, with all checks."""
    raw = raw_tables()
    assets = [*raw, sampled(raw), *also]
    return instance_definitions(assets, asset_checks=table_checks(assets)).resolve_job_def(instance)


def full() -> dg.JobDefinition:
    return job_of("full")


def midi() -> dg.JobDefinition:
    return job_of("midi")


def full_with_a_broken_table() -> dg.JobDefinition:
    return job_of("full", broken)


def execute_job(job: Callable[[], dg.JobDefinition]) -> list[dg.DagsterEvent]:
    """Runs a job with its own executor, as the web UI and the command line do."""
    with (
        dg.DagsterInstance.ephemeral() as storage,
        dg.execute_job(dg.reconstructable(job), storage) as result,
    ):
        return list(result.all_events)


def evaluations(events: list[dg.DagsterEvent]) -> dict[str, list[dg.AssetCheckEvaluation]]:
    """Gives the results of checks, by stage."""
    found: dict[str, list[dg.AssetCheckEvaluation]] = {}
    for event in events:
        if event.event_type == dg.DagsterEventType.ASSET_CHECK_EVALUATION:
            result = event.asset_check_evaluation_data
            found.setdefault(result.asset_key.path[0], []).append(result)
    return found


def test_a_run_checks_the_tables_of_its_instance(execute: Execute) -> None:
    for job, stages in ((full, {"shop_raw", "shop"}), (midi, {"shop"})):
        events = execute_job(job)
        assert events[-1].event_type == dg.DagsterEventType.RUN_SUCCESS
        found = evaluations(events)
        assert found.keys() == stages
        for results in found.values():
            assert len(results) == 5
            # Each instance has results of its own in the UI.
            assert all(item.passed and item.partition == job.__name__ for item in results)


def test_a_failed_table_leaves_out_the_checks_of_its_stage(execute: Execute) -> None:
    events = execute_job(full_with_a_broken_table)
    assert events[-1].event_type == dg.DagsterEventType.RUN_FAILURE
    assert evaluations(events).keys() == {"shop"}


def test_raw_tables_that_an_instance_does_not_load_have_no_results(execute: Execute) -> None:
    raw = raw_tables()
    assets = [*raw, sampled(raw)]
    run("full", assets)
    run("mini", [assets[-1]], raw)
    assert {name.split("/")[0] for name in check("mini", assets)} == {"shop"}


def test_raw_tables_that_a_copying_instance_did_load_are_checked(execute: Execute) -> None:
    raw = raw_tables()
    run("full", raw)
    assert run("mini", raw)["shop_raw/customers.row_count"].passed
