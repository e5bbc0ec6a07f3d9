"""Dagster shows what is up to date as such, also when only the database knows it."""

from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import pytest
from dagster._core.definitions.data_version import CachingStaleStatusResolver, StaleStatus
from dagster._core.loader import LoadingContextForTest

from data_pipeline import copy_filtered_inputs, outside_input, table_checks, table_properties
from data_pipeline_tests.memo import jobs
from data_pipeline_tests.memo.stages import asset
from data_pipeline_tests.memo.world import World, new_storage

KEYS = [["raw", "t"], ["stage_1", "t"], ["stage_1", "b"], ["stage_2", "c"], ["stage_2", "query"]]


def statuses(storage: dg.DagsterInstance, name: str) -> dict[str, StaleStatus]:
    graph = jobs.changing(name, "status").asset_layer.asset_graph
    resolver = CachingStaleStatusResolver(storage, graph, LoadingContextForTest(storage))
    keys = KEYS if name == "full" else KEYS[1:]
    return {"/".join(key): resolver.get_status(dg.AssetKey(key), name) for key in keys}


def metadata(storage: dg.DagsterInstance, key: list[str]) -> dict[str, dg.MetadataValue[Any]]:
    event = storage.get_latest_materialization_event(dg.AssetKey(key))
    assert event is not None
    assert event.asset_materialization is not None
    return dict(event.asset_materialization.metadata)


def fresh(name: str) -> dict[str, StaleStatus]:
    keys = KEYS if name == "full" else KEYS[1:]
    return {"/".join(key): StaleStatus.FRESH for key in keys}


@pytest.mark.parametrize("name", ["full", "mini"])
def test_after_a_run_everything_is_fresh(world: World, name: str) -> None:
    world.run("full")
    world.run(name)
    assert statuses(world.storage, name) == fresh(name)


def test_a_backfill_finds_everything_materialized(world: World) -> None:
    """It ends as failed without: what is up to date, and raw tables that the instance copies."""
    keys = {dg.AssetKey(key) for key in KEYS}
    for name in ("full", "mini", "full", "mini"):
        run = world.run(name, tags={"dagster/backfill": "some"})
        found = {e.asset_key: e.partition for e in run.events if e.is_step_materialization}
        assert found == dict.fromkeys(keys, name)
        assert statuses(world.storage, name) == fresh(name)


def test_a_backfill_finds_what_stores_nothing_materialized(world: World) -> None:
    def table() -> pd.DataFrame:
        return pd.DataFrame({"n": [1]})

    def told(table: pd.DataFrame) -> None:
        assert len(table) == 1

    def after() -> pd.DataFrame:
        return pd.DataFrame({"n": [2]})

    def assets() -> list[dg.AssetsDefinition]:
        of_told = asset("s/after", after, deps=[dg.AssetKey(["s", "told"])])
        return [asset("s/table", table), asset("s/told", told, "s/table"), of_told]

    versions = []
    for steps in (3, 0, 0):
        run = world.made(assets, tags={"dagster/backfill": "some"})
        assert len(run.steps) == steps
        found = {
            e.asset_key.path[-1]: e.step_materialization_data.materialization.tags
            for e in run.events
            if e.is_step_materialization and e.asset_key
        }
        assert found.keys() == {"table", "told", "after"}
        versions.append({k: (tags or {})["dagster/data_version"] for k, tags in found.items()})
    assert versions[0] == versions[1] == versions[2]


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


def test_a_view_is_recorded_before_what_is_made_of_it(world: World) -> None:
    """Of new raw data, its view needs no step, and Dagster compares the order of events."""
    world.run()
    world.state["source"] = 2
    world.state["fingerprint"] = "other"
    world.run()
    assert "stage_1__copy_filtered_inputs" not in world.last.steps
    assert "stage_1__b" in world.last.steps
    assert statuses(world.storage, "full") == fresh("full")
    shown = metadata(world.storage, ["stage_1", "t"])
    assert {"dagster/column_schema", "dagster/table_name", "preview"} <= shown.keys()
    # The earlier data lie in cache slots, which are swapped in.
    world.state["source"] = 1
    world.state["fingerprint"] = "stable"
    world.run()
    assert world.calls == {}
    assert statuses(world.storage, "full") == fresh("full")
    shown = metadata(world.storage, ["stage_2", "query"])
    assert {"dagster/column_schema", "dagster/table_name", "preview", "sql"} <= shown.keys()
    assert str(shown["preview"].value).startswith("| k | v |")


def test_what_was_computed_from_other_data_elsewhere_is_in_sync(world: World) -> None:
    """The same result, of other input: where only the input is recorded, it would seem stale."""
    world.run()
    world.state["source"] = 0  # times the factor, it is
    world.state["fingerprint"] = "zero"
    world.run()
    other = new_storage()
    world.run(storage=other)
    assert statuses(other, "full") == fresh("full")
    world.state["source"] = 3
    world.state["fingerprint"] = "three"
    world.run()
    assert statuses(other, "full") == fresh("full")  # it has not heard of it
    world.run(storage=other)
    assert statuses(other, "full") == fresh("full")


def test_new_data_makes_what_was_recorded_stale(world: World) -> None:
    world.run()
    other = new_storage()
    world.run(storage=other)  # it learns all from the catalog
    world.state["source"] = 2
    world.state["fingerprint"] = "other"
    world.run(storage=other, selection=[dg.AssetKey(["raw", "t"])])
    assert statuses(other, "full")["stage_1/t"] is StaleStatus.STALE


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
    decisions = {item["asset"]: item for item in world.last.decisions}
    assert decisions["stage_1/b"]["decision"] == "served from the cache"
    assert decisions["stage_1/b"]["since"]
    assert decisions["stage_2/c"]["decision"] == "executed"
    assert "code of `c` changed" in decisions["stage_2/c"]["reason"]


def test_many_tables_are_no_reason_for_many_lines(world: World) -> None:
    def raw(number: int) -> dg.AssetsDefinition:
        name = f"t{number}"
        source = {**outside_input(lambda: 1), **table_properties(primary_key="k")}
        return asset(f"raw/{name}", lambda: pd.DataFrame({"k": [1, 2]}), metadata=source)

    tables = [raw(number) for number in range(8)]
    things = [*tables, copy_filtered_inputs(stage="s", raw=tables)]
    for name in ("full", "mini"):
        run = world.made(lambda: [*things, *table_checks(things)], name)
        assert run.success
        told = [m for m in run.messages if m and "`" in m and "steps executed" not in m]
        assert len(told) <= 4, told
        assert max(line.count("/t") for line in told) <= 3


def test_a_storage_that_is_deleted_after_the_run_gets_no_record(
    world: World, tmp_path: Path
) -> None:
    world.run()
    folder = tmp_path / ".tmp_dagster_home_x"  # as `dagster job execute` without DAGSTER_HOME
    folder.mkdir()
    temporary = dg.DagsterInstance.local_temp(str(folder))
    assert world.run(storage=temporary).steps == set()
    assert temporary.get_latest_materialization_event(dg.AssetKey(["stage_1", "b"])) is None
