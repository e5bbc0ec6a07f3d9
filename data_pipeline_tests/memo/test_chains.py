"""Chains of copies: a stable one takes no fresh rows, and what copies it depends on it alone."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import dagster as dg
import pytest
import sqlalchemy as sa
from dagster._core.definitions.data_version import CachingStaleStatusResolver, StaleStatus
from dagster._core.loader import LoadingContextForTest

from data_pipeline import View, instance_resources
from data_pipeline.identity.computation import RAW_TAG
from data_pipeline.instances import load_configuration
from data_pipeline.instances.partitions import instance_partitions, raw_partition_mapping
from data_pipeline.io_manager.instance_resource import InstanceResource
from data_pipeline_tests.beginnings import BeginWith
from data_pipeline_tests.io_manager.runs import execute, rows
from data_pipeline_tests.memo import jobs
from data_pipeline_tests.memo.chains import STABLE, Desk, configured, copy_of, result, results
from data_pipeline_tests.memo.jobs import called
from data_pipeline_tests.memo.world import World, new_storage

MODE = "data_pipeline/cache_validation"

Built: TypeAlias = Callable[..., None]


def run(world: World, desk: Desk, name: str, mode: str | None = None, **settings: Any) -> None:
    tags = {"dagster/partition": name, **({} if mode is None else {MODE: mode})}
    world.made(desk.assets, name, tags=tags, **settings)


def fresh(world: World, desk: Desk, *names: str) -> None:
    """Builds instances with all that is new."""
    for name in names:
        run(world, desk, name, "normal")
        assert world.last.success, world.last.log


@pytest.fixture
def built(world: World, begin_with: BeginWith) -> Built:
    """Lets a test begin where instances of a desk have been built."""

    def built(desk: Desk, *names: str) -> None:
        key = (__name__, str(desk.options), names)
        begin_with(key, lambda: fresh(world, desk, *names))

    return built


def days(engine: sa.Engine, instance: str) -> dict[str, int]:
    """Gives the day that each input table of an instance is of."""
    tables = ("orders", "visits")
    query = "SELECT DISTINCT day FROM {}_desk.{}"
    return {name: rows(engine, query.format(instance, name))[0][0] for name in tables}


def identities(engine: sa.Engine, instance: str) -> dict[str, int]:
    """Gives a number for each input table that changes when it is written anew."""
    query = "SELECT '{1}', CAST(to_regclass('{0}_desk.{1}') AS bigint)"
    return dict(rows(engine, query.format(instance, name))[0] for name in ("orders", "visits"))


@pytest.fixture(params=STABLE)
def stable(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A chain of four instances, of which the second one is stable; gives its mode."""
    mode = str(request.param)
    configured(
        tmp_path,
        monkeypatch,
        base=None,
        shown=copy_of("base", mode=mode),
        part=copy_of("shown", copy_filter_cnt=4),
        least=copy_of("part", copy_filter_cnt=1),
    )
    return mode


def test_new_data_stay_at_the_source_until_they_are_asked_for(
    world: World, built: Built, pipeline_database: sa.Engine, stable: str
) -> None:
    desk = Desk(weights=stable == STABLE[0])
    built(desk, "base", "shown", "part", "least")
    desk.new_day("orders", "visits")
    fresh(world, desk, "base")
    run(world, desk, "shown")
    assert world.last.success, world.last.log
    assert world.last.steps == set()
    said = f"input `base/raw/orders`, `base/raw/visits` has new data that is not taken ({stable})"
    assert world.last.messages.count(said) == 1
    for name in ("part", "least"):
        run(world, desk, name)
        assert world.last.steps == set(), world.last.log
        assert "not taken" not in world.last.log
    old = {"orders": 1, "visits": 1}
    assert [days(pipeline_database, name) for name in ("shown", "part", "least")] == [old] * 3
    for name in ("shown", "part", "least"):
        run(world, desk, name, "normal" if name == "shown" else None)
        assert world.calls == results("orders", "visits")
        assert days(pipeline_database, name) == {"orders": 2, "visits": 2}
    for name in ("shown", "part", "least"):
        run(world, desk, name)
        assert world.last.steps == set(), world.last.log


@pytest.mark.parametrize("stable", STABLE[:1], indirect=True)
@pytest.mark.usefixtures("stable")
def test_of_two_tables_only_that_with_new_data_is_copied(
    world: World, built: Built, pipeline_database: sa.Engine
) -> None:
    desk = Desk()
    built(desk, "base", "shown", "part", "least")
    names = ("shown", "part", "least")
    before = {name: identities(pipeline_database, name) for name in names}
    desk.new_day("visits")
    fresh(world, desk, "base")
    for name in names:
        run(world, desk, name)
        assert world.last.steps == set()
    for name in names:
        run(world, desk, name, "normal")
        assert world.calls == results("visits")
        after = identities(pipeline_database, name)
        assert after["orders"] == before[name]["orders"]
        assert after["visits"] != before[name]["visits"]
        assert days(pipeline_database, name) == {"orders": 1, "visits": 2}


@pytest.mark.parametrize("stable", ["assert_no_fresh_input"], indirect=True)
@pytest.mark.usefixtures("stable")
def test_a_copy_that_must_be_made_is_refused_by_name(
    world: World, built: Built, pipeline_database: sa.Engine
) -> None:
    desk = Desk()
    built(desk, "base")
    run(world, desk, "shown")
    assert not world.last.success
    said = "Nothing was run: desk/orders (shown), desk/visits (shown) would take input from outside"
    assert said in world.last.failure
    assert " run shown --fresh" in world.last.failure  # -m, where the module is not configured
    fresh(world, desk, "shown")
    execute(pipeline_database, "DROP TABLE shown_desk.visits")
    desk.new_day("orders", "visits")
    fresh(world, desk, "base")
    run(world, desk, "shown")
    assert "Nothing was run: desk/visits (shown) would take" in world.last.failure
    assert world.last.steps == set()
    run(world, desk, "shown", "normal")
    assert world.last.success


def test_a_changed_filter_copies_again_or_is_refused(
    world: World, pipeline_database: sa.Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = Desk()
    for mode in STABLE:
        configured(tmp_path, monkeypatch, base=None, shown=copy_of("base", mode=mode))
        fresh(world, desk, "base", "shown")
        fewer = copy_of("base", mode=mode, copy_filter_cnt=3)
        configured(tmp_path, monkeypatch, base=None, shown=fewer)
        run(world, desk, "shown")
        assert world.last.success == (mode == "ignore_fresh_input")
        kept = rows(pipeline_database, "SELECT count(*) FROM shown_desk.orders")
        assert kept == [(3 if mode == "ignore_fresh_input" else 8,)]


@pytest.mark.parametrize("stable", ["ignore_fresh_input"], indirect=True)
@pytest.mark.usefixtures("stable")
@pytest.mark.parametrize(("dropped", "weights"), [("orders", True), ("visits", False)])
def test_a_copy_that_must_be_made_takes_no_other_along(
    world: World, built: Built, pipeline_database: sa.Engine, dropped: str, weights: bool
) -> None:
    desk = Desk(weights=weights)
    other = {"orders": "visits", "visits": "orders"}[dropped]
    built(desk, "base", "shown")
    desk.new_day("orders", "visits")
    fresh(world, desk, "base")
    execute(pipeline_database, f"DROP TABLE shown_desk.{dropped} CASCADE")
    for calls in (results(dropped), {}):
        run(world, desk, "shown")
        assert world.last.success, world.last.log
        assert world.calls == calls
        assert days(pipeline_database, "shown") == {dropped: 2, other: 1}
        assert f"input `base/raw/{other}` has new data that is not taken" in world.last.log
    run(world, desk, "shown", "normal")
    assert world.calls == results(other)
    assert days(pipeline_database, "shown") == {"orders": 2, "visits": 2}


def test_a_chain_works_on_when_its_root_is_gone(
    world: World,
    built: Built,
    pipeline_database: sa.Engine,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    stable: str,
) -> None:
    desk = Desk(weights=stable == STABLE[0])
    built(desk, "base", "shown", "part", "least")
    gone = ", ".join(f"base_{stage}" for stage in ("raw", "desk", "result", "catalog"))
    execute(pipeline_database, f"DROP SCHEMA {gone} CASCADE")
    for name in ("shown", "part", "least"):
        run(world, desk, name)
        assert world.last.success
        assert world.last.steps == set(), world.last.log
        assert "not taken" not in world.last.log
    configured(
        tmp_path,
        monkeypatch,
        base=None,
        shown=copy_of("base", mode="assert_no_fresh_input"),
        part=copy_of("shown", copy_filter_cnt=5),
        least=copy_of("part", copy_filter_cnt=2),
    )
    for name, count in (("part", 5), ("least", 2)):
        run(world, desk, name)
        assert world.last.success, world.last.log
        assert rows(pipeline_database, f"SELECT count(*) FROM {name}_desk.orders") == [(count,)]


@pytest.mark.parametrize("stable", STABLE[:1], indirect=True)
@pytest.mark.usefixtures("stable")
def test_before_its_source_is_built_a_copy_says_what_to_build(
    world: World, built: Built, pipeline_database: sa.Engine
) -> None:
    desk = Desk()
    built(desk, "base")
    for name, source in (("part", "shown"), ("least", "part")):
        run(world, desk, name)
        assert not world.last.success
        errors = [e.step_failure_data.error for e in world.last.events if e.is_step_failure]
        text = "".join(f"{error.message}{error.cause and error.cause.message}" for error in errors)
        assert f"has not been built yet in instance `{source}`" in text
        assert f"-j {source}" in text
        assert rows(pipeline_database, f"SELECT to_regclass('{name}_desk.orders')") == [(None,)]


@pytest.mark.parametrize("stable", STABLE[:1], indirect=True)
@pytest.mark.usefixtures("stable")
def test_every_mode_takes_changed_inputs_of_copies_but_the_stable_ones(
    world: World, built: Built, pipeline_database: sa.Engine
) -> None:
    desk = Desk()
    built(desk, "base", "shown")
    before = identities(pipeline_database, "shown")
    run(world, desk, "shown", "force_fresh_input")
    assert world.last.steps == set()
    for day, mode in enumerate(("force_fresh_input", "force_cache_invalid"), 2):
        desk.new_day("orders")
        fresh(world, desk, "base")
        run(world, desk, "shown", mode)
        assert days(pipeline_database, "shown")["orders"] == day
    assert identities(pipeline_database, "shown") != before


def test_the_middle_of_a_chain_may_be_everybodys_own(
    world: World, pipeline_database: sa.Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("USER", "ann")
    configured(
        tmp_path,
        monkeypatch,
        base=None,
        shown=copy_of("base", mode="ignore_fresh_input"),
        own=copy_of("shown", per_user=True, copy_filter_cnt=5),
        least=copy_of("own", copy_per_user=True, copy_filter_cnt=2),
    )
    own = load_configuration().instance("own").instance_id
    assert own != "own"
    desk = Desk(weights=True)
    fresh(world, desk, "base", "shown", "own", "least")
    desk.new_day("orders")
    fresh(world, desk, "base")
    for name in ("shown", "own", "least"):
        run(world, desk, name)
        assert world.last.steps == set(), world.last.log
    fresh(world, desk, "shown")
    run(world, desk, "least")
    assert world.last.steps == set()
    run(world, desk, "own")
    run(world, desk, "least")
    assert world.calls == results("orders")
    assert days(pipeline_database, own)["orders"] == 2
    assert days(pipeline_database, "least")["orders"] == 2


def test_what_reads_results_of_another_instance_is_no_copy(
    world: World, pipeline_database: sa.Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    configured(
        tmp_path, monkeypatch, base=None, shown=copy_of("base", mode="assert_no_fresh_input")
    )
    to_base = dg.StaticPartitionMapping({"base": ["base", "shown"]})
    desk = Desk()

    def things() -> list[Any]:
        partitions = instance_partitions(load_configuration())
        compared = result("compared/orders", "result/orders", partitions, partition_mapping=to_base)
        return desk.assets(compared)

    world.made(things, "base")
    world.made(things, "shown", tags={"dagster/partition": "shown", MODE: "normal"})
    desk.new_day("orders")
    world.made(things, "base")
    world.made(things, "shown")
    assert world.last.success, world.last.failure
    assert world.calls == {"compared/orders": 1}
    assert rows(pipeline_database, "SELECT DISTINCT day FROM shown_compared.orders") == [(2,)]


@pytest.mark.parametrize("named", [True, False])
def test_a_copy_by_ones_own_function_takes_no_fresh_rows_either(
    world: World,
    pipeline_database: sa.Engine,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    named: bool,
) -> None:
    stable = copy_of("base", mode="assert_no_fresh_input")
    configured(tmp_path, monkeypatch, base=None, shown=stable, least=copy_of("shown"))
    desk = Desk()

    def things() -> list[Any]:
        configuration = load_configuration()
        raw, *_ = desk.assets()
        mapping = raw_partition_mapping(configuration)

        @dg.asset(
            key=["own", "orders"],
            ins={"orders": dg.AssetIn(key=raw.key, partition_mapping=mapping)},
            partitions_def=raw.partitions_def,
            code_version="1",
            metadata={"data_pipeline/raw_table": "raw/orders"} if named else None,
        )
        def copied(instance: InstanceResource, orders: sa.Table) -> Any:
            called("own/orders")
            return sa.select(orders) if instance.current.copies else View(orders)

        return [raw.map_asset_specs(tagged), copied]

    def own(name: str, mode: str | None = None) -> dict[str, int]:
        tags = {"dagster/partition": name, **({} if mode is None else {MODE: mode})}
        world.made(things, name, tags=tags)
        return {table: count for table, count in world.calls.items() if table != "raw/orders"}

    for name in ("base", "shown", "least"):
        assert own(name, "normal") == {"own/orders": 1}
    desk.new_day("orders")
    own("base")
    assert own("shown") == {}
    assert "input `base/raw/orders` has new data that is not taken" in world.last.log
    if named:  # else nobody knows that the function reads a copy where there is one
        assert own("least") == {}
        execute(pipeline_database, "DROP SCHEMA base_raw CASCADE")
        assert own("least", "force_cache_invalid") == {"own/orders": 1}
        days_ = "SELECT DISTINCT day FROM least_own.orders"
        assert rows(pipeline_database, days_) == [(1,)]
    execute(pipeline_database, "DROP TABLE shown_own.orders")
    assert own("shown") == {}
    assert "Nothing was run: own/orders (shown) would take input" in world.last.failure


def tagged(spec: dg.AssetSpec) -> dg.AssetSpec:
    """Says that a table is a raw one, as tables are that `copy_filtered_inputs` copies."""
    return spec.replace_attributes(tags={**spec.tags, RAW_TAG: ""})


@pytest.mark.parametrize("stable", ["ignore_fresh_input"], indirect=True)
@pytest.mark.usefixtures("stable")
def test_a_storage_that_learns_from_the_catalog_shows_copies_of_copies_as_fresh(
    world: World, built: Built
) -> None:
    desk = Desk(weights=True)
    names = ("base", "shown", "part", "least")
    built(desk, *names)
    other = new_storage()
    for name in names:
        run(world, desk, name, storage=other)
        assert world.last.steps == set()
        graph = jobs.made(name, "status").asset_layer.asset_graph
        resolver = CachingStaleStatusResolver(other, graph, LoadingContextForTest(other))
        keys = [key for key in graph.materializable_asset_keys if key.path[0] != "raw"]
        assert {resolver.get_status(key, name) for key in keys} == {StaleStatus.FRESH}


@pytest.mark.parametrize("stable", STABLE[1:], indirect=True)
@pytest.mark.usefixtures("stable")
def test_without_a_memoising_executor_a_chain_reads_the_same(
    world: World, built: Built, pipeline_database: sa.Engine
) -> None:
    desk = Desk(weights=True)
    built(desk, "base", "shown", "part")
    desk.new_day("orders", "visits")
    fresh(world, desk, "base")
    selection = dg.AssetSelection.groups("desk", "sample")
    for name in ("shown", "part", "least"):
        made = dg.materialize(
            desk.assets(),
            selection=selection,
            partition_key=name,
            resources=instance_resources(name),
        )
        assert made.success
        assert days(pipeline_database, name) == {"orders": 1, "visits": 1}
    run(world, desk, "least")
    assert world.last.steps == {"result__orders", "result__visits"}
