"""The checks of what is served from the cache keep their last result, for everybody."""

import asyncio
import warnings
from typing import Any

import dagster as dg
import pandas as pd
import pytest
import sqlalchemy as sa
from dagster._core.loader import LoadingContextForTest

from data_pipeline import copy_filtered_inputs, outside_input, table_checks, table_properties
from data_pipeline.instances.partitions import INSTANCE_PARTITIONS
from data_pipeline_tests.io_manager.runs import rows
from data_pipeline_tests.memo.jobs import called
from data_pipeline_tests.memo.world import World, new_storage

A, B = dg.AssetKey(["s", "a"]), dg.AssetKey(["s", "b"])


def made(
    *, within: bool = False, passes: bool = True, breaks: bool = False, version: str = "1"
) -> Any:
    """Gives two assets, the first with a check (a part of it, or apart), the second may break."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.PreviewWarning)
        spec = dg.AssetCheckSpec("good", asset=A, partitions_def=INSTANCE_PARTITIONS)

    def result() -> dg.AssetCheckResult:
        return dg.AssetCheckResult(
            asset_key=A, check_name="good", passed=passes, description="seen", metadata={"n": 3}
        )

    @dg.asset(
        key=A,
        partitions_def=INSTANCE_PARTITIONS,
        code_version=version,
        check_specs=[spec] if within else [],
    )
    def a() -> Any:
        yield dg.Output(pd.DataFrame({"v": [int(version)]}))
        if within:
            yield result()

    @dg.multi_asset_check(specs=[spec])
    def good() -> Any:
        called("good")
        yield result()

    @dg.asset(key=B, partitions_def=INSTANCE_PARTITIONS, code_version=str(breaks))
    def b() -> pd.DataFrame:
        if breaks:
            raise RuntimeError("broken on purpose")
        return pd.DataFrame({"v": [1]})

    return lambda: [a, b] if within else [a, b, good]


def records(storage: dg.DagsterInstance, key: dg.AssetKey = A, name: str = "good") -> list[Any]:
    check = dg.AssetCheckKey(key, name)
    return list(storage.event_log_storage.get_asset_check_execution_history(check, limit=100))


def said(storage: dg.DagsterInstance) -> list[tuple[str, str | None]]:
    """Gives the status of a check as each run has left it, the last run first."""
    return [(item.status.value, item.partition) for item in records(storage)]


@pytest.mark.parametrize("within", [True, False], ids=["within the asset", "apart"])
@pytest.mark.parametrize("passes", [True, False])
def test_what_is_served_from_the_cache(world: World, within: bool, passes: bool) -> None:
    first = world.made(made(within=within, passes=passes))
    again = world.made(made(within=within, passes=passes))
    assert again.success
    assert again.steps == set()
    status = "SUCCEEDED" if passes else "FAILED"
    assert said(world.storage) == [(status, "full")] * 2
    last = records(world.storage)[0].evaluation
    assert last.description == "seen"
    assert last.metadata["n"].value == 3
    assert last.metadata["checked by run"] == dg.MetadataValue.dagster_run(first.run_id)
    made_by = world.storage.get_latest_materialization_event(A)
    assert made_by is not None
    assert last.target_materialization_data.run_id == made_by.run_id


@pytest.mark.parametrize("within", [True, False], ids=["within the asset", "apart"])
def test_another_step_that_fails(world: World, within: bool) -> None:
    world.made(made(within=within))
    failed = world.made(made(within=within, breaks=True))
    assert not failed.success
    assert said(world.storage) == [("SUCCEEDED", "full")] * 2
    partitions = world.storage.event_log_storage
    incomplete = (
        partitions.get_latest_asset_partition_materialization_attempts_without_materializations
    )
    assert "full" not in incomplete(A)  # it would be shown as failed
    assert "full" in incomplete(B)


def test_another_storage_learns_what_was_said(world: World) -> None:
    world.made(made(passes=False))
    other = new_storage()
    assert world.made(made(passes=False), storage=other).steps == set()
    assert said(other) == [("FAILED", "full")]


def test_each_instance_has_results_of_its_own(world: World) -> None:
    world.made(made(passes=False))
    world.made(made(passes=True), "mini")
    world.made(made(passes=False), "full")
    assert said(world.storage) == [("FAILED", "full"), ("SUCCEEDED", "mini"), ("FAILED", "full")]


def test_a_check_without_partitions_is_shown_after_runs_of_several_instances(world: World) -> None:
    def assets() -> list[Any]:
        @dg.asset(key=A, partitions_def=INSTANCE_PARTITIONS, code_version="1")
        def a() -> pd.DataFrame:
            return pd.DataFrame({"v": [1]})

        @dg.asset_check(asset=A)
        def good() -> dg.AssetCheckResult:
            return dg.AssetCheckResult(passed=True)

        return [a, good]

    for name in ("full", "mini", "full", "mini"):
        world.made(assets, name)
        last = records(world.storage)[0]
        assert last.partition is None
        assert asyncio.run(
            last.targets_latest_materialization(LoadingContextForTest(world.storage))
        )


def test_a_check_that_was_not_evaluated_yet_is(world: World) -> None:
    world.made(lambda: made()()[:2])
    run = world.made(made())
    assert run.steps == {"good"}
    assert {d["reason"] for d in run.decisions if d["asset"] == "good"} == {
        "check `good` has not been evaluated on `s/a`"
    }
    assert world.made(made()).steps == set()


def test_a_check_with_other_code_is_evaluated_again(world: World) -> None:
    world.made(made())
    run = world.made(made(passes=False))
    assert run.steps == {"good"}
    assert {d["reason"] for d in run.decisions if d["asset"] == "good"} == {
        "code of check `good` changed"
    }
    assert said(world.storage)[0] == ("FAILED", "full")
    assert world.made(made(passes=False)).steps == set()


def test_a_version_that_is_swapped_back_in_is_checked_or_remembered(world: World) -> None:
    for within, steps in ((True, set()), (False, {"good"})):
        for passes, version in ((True, "1"), (False, "2")):
            world.made(made(within=within, passes=passes, version=version))
        assert world.made(made(within=within, version="1")).steps == steps
        assert said(world.storage)[0] == ("SUCCEEDED", "full")


def test_results_of_versions_that_are_gone_are_forgotten(
    world: World, pipeline_database: sa.Engine
) -> None:
    for version in range(6):
        world.made(made(version=str(version)))
    kept = rows(pipeline_database, "SELECT count(*) FROM full_catalog.slots WHERE name = 'a'")
    found = rows(pipeline_database, "SELECT count(*) FROM full_catalog.checks")
    assert found[0][0] <= kept[0][0] + 2


def test_raw_tables_of_instances_that_copy_show_what_is_known_of_their_source(
    world: World,
) -> None:
    @dg.asset(
        key=["r", "t"],
        group_name="r",
        partitions_def=INSTANCE_PARTITIONS,
        metadata={**table_properties(primary_key="k"), **outside_input(lambda: 1)},
    )
    def t() -> pd.DataFrame:
        return pd.DataFrame({"k": [1, 2, 3]})

    inputs = copy_filtered_inputs(stage="i", raw=[t])
    assets = [t, inputs]
    things = [*assets, *table_checks(assets)]
    for name in ("full", "mini"):
        assert world.made(lambda: things, name).success
    for name in ("full", "mini"):
        assert world.made(lambda: things, name).steps == set()
    for key in ("r", "i"):
        found = records(world.storage, dg.AssetKey([key, "t"]), "row_count")
        assert {item.status.value for item in found} == {"SUCCEEDED"}
        assert {item.partition for item in found} == {"full", "mini"}
