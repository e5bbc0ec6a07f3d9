"""Dagster shows what is up to date as such, also when only the database knows it."""

from pathlib import Path

import dagster as dg
import pytest
from dagster._core.definitions.data_version import CachingStaleStatusResolver, StaleStatus
from dagster._core.loader import LoadingContextForTest

from data_pipeline_tests.memo import jobs
from data_pipeline_tests.memo.world import World, new_storage

KEYS = [["raw", "t"], ["stage_1", "t"], ["stage_1", "b"], ["stage_2", "c"], ["stage_2", "query"]]


def statuses(storage: dg.DagsterInstance, name: str) -> dict[str, StaleStatus]:
    graph = jobs.changing(name, "status").asset_layer.asset_graph
    resolver = CachingStaleStatusResolver(storage, graph, LoadingContextForTest(storage))
    keys = KEYS if name == "full" else KEYS[1:]
    return {"/".join(key): resolver.get_status(dg.AssetKey(key), name) for key in keys}


def fresh(name: str) -> dict[str, StaleStatus]:
    keys = KEYS if name == "full" else KEYS[1:]
    return {"/".join(key): StaleStatus.FRESH for key in keys}


@pytest.mark.parametrize("name", ["full", "mini"])
def test_after_a_run_everything_is_fresh(world: World, name: str) -> None:
    world.run("full")
    world.run(name)
    assert statuses(world.storage, name) == fresh(name)


def test_a_new_storage_learns_from_the_catalog(world: World) -> None:
    world.run("full")
    other = new_storage()
    assert set(statuses(other, "full").values()) == {StaleStatus.MISSING}
    assert world.run("full", storage=other).steps == set()
    assert statuses(other, "full") == fresh("full")
    event = other.get_latest_materialization_event(dg.AssetKey(["stage_1", "b"]))
    assert event is not None
    assert event.asset_materialization is not None
    assert event.asset_materialization.metadata["dagster/row_count"].value == 3


def test_what_is_known_is_not_recorded_again(world: World) -> None:
    world.run("full")

    def count() -> int:
        filters = dg.AssetRecordsFilter(asset_key=dg.AssetKey(["stage_1", "b"]))
        return len(world.storage.fetch_materializations(filters, limit=100).records)

    assert count() == 1
    world.run("full")
    assert count() == 1


@pytest.mark.parametrize("storage", ["the same", "another"])
def test_what_stores_nothing_is_fresh_and_not_recorded_in_every_run(
    world: World, storage: str
) -> None:
    def resolver() -> CachingStaleStatusResolver:
        graph = jobs.mailing("full", "status").asset_layer.asset_graph
        return CachingStaleStatusResolver(used, graph, LoadingContextForTest(used))

    keys = [["s", "t"], ["s", "mail"], ["t", "archive"], ["t", "report"]]
    assert world.run(builder="mailing").success
    used = world.storage if storage == "the same" else new_storage()
    for _ in range(3):
        assert world.run(builder="mailing", storage=used).steps == set()
    for key in map(dg.AssetKey, keys):
        assert resolver().get_status(key, "full") is StaleStatus.FRESH
        filters = dg.AssetRecordsFilter(asset_key=key)
        assert len(used.fetch_materializations(filters, limit=100).records) == 1


def test_the_summary_names_what_was_served_from_the_cache(world: World) -> None:
    world.run()
    world.state["versions"]["c"] = "2"
    world.run()
    summary = next(e for e in world.last.events if e.message and "served from" in e.message)
    assert summary.message == "1 of 5 steps executed; 4 tables served from the cache"
    assert "stage_1/b" in summary.engine_event_data.metadata


def test_a_storage_that_is_deleted_after_the_run_gets_no_record(
    world: World, tmp_path: Path
) -> None:
    world.run()
    folder = tmp_path / ".tmp_dagster_home_x"  # as `dagster job execute` without DAGSTER_HOME
    folder.mkdir()
    temporary = dg.DagsterInstance.local_temp(str(folder))
    assert world.run(storage=temporary).steps == set()
    assert temporary.get_latest_materialization_event(dg.AssetKey(["stage_1", "b"])) is None
