"""Assets that instances do not compute, and those that are no tables, live beside the tables."""

from collections.abc import Iterator
from typing import Any

import dagster as dg
import pandas as pd
import pytest
import sqlalchemy as sa

from data_pipeline.assembly import instance_definitions
from data_pipeline.errors import ConfigurationError
from data_pipeline.identity.observed_versions import DATA_VERSION_TAG
from data_pipeline.instances.partitions import INSTANCE_PARTITIONS
from data_pipeline_tests.io_manager.runs import rows
from data_pipeline_tests.memo import jobs
from data_pipeline_tests.memo.jobs import called
from data_pipeline_tests.memo.stages import asset, constant
from data_pipeline_tests.memo.world import World

ORDERS = dg.AssetSpec(["source", "orders"])
FEED = dg.AssetKey("feed")


@dg.observable_source_asset(key=FEED)
def feed() -> dg.DataVersion:
    return dg.DataVersion("observed")


@dg.multi_observable_source_asset(specs=[dg.AssetSpec("parts")])
def parts() -> Iterator[dg.ObserveResult[Any]]:
    yield dg.ObserveResult(asset_key="parts")


@dg.asset(deps=[["s", "a"]])
def alone() -> None:
    called("alone")


@dg.asset(partitions_def=dg.DailyPartitionsDefinition("2024-01-01"))
def daily() -> None:
    called("daily")


def observe(world: World, key: Any, version: str) -> None:
    tags = {DATA_VERSION_TAG: version}
    world.storage.report_runless_asset_event(dg.AssetObservation(key, tags=tags))


@pytest.mark.parametrize("key", [FEED, ORDERS.key], ids=["observable", "spec"])
def test_the_observed_version_of_an_external_asset_decides(world: World, key: Any) -> None:
    a = constant("s/a", 1, key.to_user_string())
    b = constant("s/b", 1)

    def steps() -> set[str]:
        run = world.made(lambda: [a, b, feed, ORDERS, parts])
        assert run.success
        return run.steps

    assert steps() == {"s__a", "s__b"}
    assert steps() == {"s__a"}  # nobody has observed anything, so nothing is known of it
    observe(world, key, "1")
    assert steps() == {"s__a"}
    assert steps() == set()
    observe(world, key, "2")
    assert steps() == {"s__a"}
    assert steps() == set()
    observe(world, key, "2")
    assert steps() == set()


@pytest.mark.parametrize("partitions", [INSTANCE_PARTITIONS, None])
def test_the_table_of_another_code_location_is_external(world: World, partitions: Any) -> None:
    other = dg.AssetSpec(["s", "a"], partitions_def=partitions)

    @dg.asset(
        key=["t", "b"],
        ins={"a": dg.AssetIn(["s", "a"])},
        partitions_def=INSTANCE_PARTITIONS,
        code_version="1",
    )
    def b(a: pd.DataFrame) -> pd.DataFrame:
        called("b")
        return a

    for value, steps in ((1, {"t__b"}), (2, {"t__b"}), (2, set())):
        assert world.made(lambda v=value: [constant("s/a", v)]).success
        assert world.made(lambda: [other, b]).steps == steps


def test_what_stores_nothing_may_have_any_key(world: World, pipeline_database: sa.Engine) -> None:
    def things(version: str) -> list[Any]:
        @dg.asset(deps=[["s", "a"]], partitions_def=INSTANCE_PARTITIONS, code_version=version)
        def export() -> None:
            called("export")

        @dg.asset(
            key=["of", "three", "parts"],
            deps=["export"],
            partitions_def=INSTANCE_PARTITIONS,
            code_version="1",
        )
        def mail():  # type: ignore[no-untyped-def]
            called("mail")
            return dg.MaterializeResult(metadata={"n": 1})

        return [constant("s/a", 1), export, mail, constant("s/after", 1, "of/three/parts")]

    every = {"s__a", "export", "of__three__parts", "s__after"}
    assert world.made(lambda: things("1")).steps == every
    assert world.made(lambda: things("1")).steps == set()
    assert world.made(lambda: things("2")).steps == every - {"s__a"}
    assert world.made(lambda: things("2")).steps == set()
    kinds = rows(pipeline_database, "SELECT name, kind FROM full_catalog.tables WHERE stage = ''")
    assert sorted(kinds) == [("export", "none"), ("of/three/parts", "none")]


def test_what_has_no_instance_is_in_no_job_of_one(world: World) -> None:
    a = constant("s/a", 1)

    def definitions() -> dg.Definitions:
        mixed = dg.define_asset_job("mixed", [a, alone])
        mine = instance_definitions([a, ORDERS, feed, alone])
        return dg.Definitions.merge(mine, dg.Definitions(assets=[daily, parts], jobs=[mixed]))

    jobs.DEFINED.append(definitions)
    assert world.run(builder="defined").steps == {"s__a"}
    assert world.run("mini", builder="defined").steps == {"s__a"}
    run = world.run("mixed", builder="defined", selection=[dg.AssetKey("alone")])
    assert run.success
    assert world.calls == {"alone": 1}
    refused = world.run("mixed", builder="defined", selection=[dg.AssetKey(["s", "a"])])
    assert "has no partition" in refused.failure


def test_its_value_lies_where_dagster_keeps_it(world: World) -> None:
    @dg.asset
    def settings() -> dict[str, int]:
        return {"limit": 3}

    @dg.asset(partitions_def=INSTANCE_PARTITIONS, key=["s", "limited"])
    def limited(settings: dict[str, int]) -> pd.DataFrame:
        return pd.DataFrame({"v": [1, 2, 3, 4]}).head(settings["limit"])

    job = dg.define_asset_job("settings_alone", [settings])
    jobs.DEFINED.append(lambda: instance_definitions([settings, limited], jobs=[job]))
    for steps in ({"s__limited"}, set()):
        assert world.run("settings_alone", builder="defined").success
        assert world.run(builder="defined").steps == steps
    found = instance_definitions([settings]).load_asset_value("settings", instance=world.storage)
    assert found == {"limit": 3}


def test_its_table_is_one_of_the_full_instance(world: World, pipeline_database: sa.Engine) -> None:
    def definitions(value: int) -> dg.Definitions:
        @dg.asset(key=["shared", "codes"], code_version=str(value))
        def codes() -> pd.DataFrame:
            return pd.DataFrame({"v": [value]})

        def read(codes: sa.Table) -> Any:
            called("read")
            return sa.select(codes)

        job = dg.define_asset_job("codes_alone", [codes])
        others = dg.Definitions(assets=[alone])
        mine = instance_definitions([codes, asset("s/read", read, "shared/codes")], jobs=[job])
        return dg.Definitions.merge(mine, others)

    for value in (1, 2):
        jobs.DEFINED.append(lambda v=value: definitions(v))
        assert world.run("codes_alone", builder="defined").success
        assert rows(pipeline_database, "SELECT v FROM full_shared.codes") == [(value,)]
        for steps in ({"s__read"}, set()):
            assert world.run("mini", builder="defined").steps == steps
        assert rows(pipeline_database, "SELECT v FROM mini_s.read") == [(value,)]
        assert "No asset makes" not in world.last.log
    found = definitions(2).load_asset_value(
        ["shared", "codes"], python_type=pd.DataFrame, instance=world.storage
    )
    assert found["v"].tolist() == [2]


@pytest.mark.usefixtures("pipeline_database")
def test_what_cannot_be_is_refused_when_it_loads() -> None:
    @dg.asset
    def forgotten() -> pd.DataFrame:
        return pd.DataFrame()

    @dg.asset(partitions_def=INSTANCE_PARTITIONS)
    def short() -> pd.DataFrame:
        return pd.DataFrame()

    @dg.asset(partitions_def=INSTANCE_PARTITIONS, key=["t", "reader"], group_name="other")
    def elsewhere(a: pd.DataFrame) -> pd.DataFrame:
        return a

    @dg.asset(partitions_def=INSTANCE_PARTITIONS, ins={"a": dg.AssetIn(["stage1", "a"])})
    def slip(a: pd.DataFrame) -> None:
        pass

    @dg.asset(partitions_def=INSTANCE_PARTITIONS, ins={"a": dg.AssetIn(["s", "orderz"])})
    def misspelt(a: pd.DataFrame) -> None:
        pass

    @dg.asset(key=["o", "a"], ins={"a": dg.AssetIn(["s", "a"])})
    def overview(a: sa.Table) -> None:
        pass

    @dg.asset(key=["of", "days"], partitions_def=dg.DailyPartitionsDefinition("2024-01-01"))
    def daily_table() -> pd.DataFrame:
        return pd.DataFrame()

    @dg.asset(key=["s", "b"])
    def among():  # type: ignore[no-untyped-def]
        return 1

    @dg.asset(partitions_def=INSTANCE_PARTITIONS, key=["s", "reader"])
    def reader(a: pd.DataFrame) -> pd.DataFrame:
        return a

    @dg.asset(partitions_def=INSTANCE_PARTITIONS, key=["s", "frame"])
    def frame() -> pd.DataFrame:
        return pd.DataFrame()

    def reading(kind: Any) -> dg.AssetsDefinition:
        def read(frame):  # type: ignore[no-untyped-def]
            return frame

        read.__annotations__["frame"] = kind
        ins = {"frame": dg.AssetIn(["s", "frame"])}
        return dg.asset(ins=ins, key=["s", "read"], partitions_def=INSTANCE_PARTITIONS)(read)

    for assets, words in (
        ([frame, reading(list[pd.DataFrame])], r"`s/read`.*`frame`.*List\[.*is a table, made of"),
        ([frame, reading(int)], "`s/read`.*`frame` is annotated with .*int.*is a table, made of"),
        ([frame, reading(dict[str, int])], "`frame` is annotated with .*is a table, made of"),
        ([frame, reading(pd.Series)], "Series, but a table has columns"),
        ([forgotten], "`forgotten` returns .*DataFrame, but is not partitioned.*partitions_def="),
        ([short], r"`short` cannot be stored as a table.*key_prefix"),
        ([constant("s/a", 1), elsewhere], r'`a` asks for an asset `a`.*key=\["s", "a"\]\)'),
        ([constant("stage_1/a", 1), slip], r"`a` asks for an asset `stage1/a`.*`stage_1/a` meant"),
        (
            [constant("s/orders", 1), misspelt],
            r"`a` asks for an asset `s/orderz`.*`s/orders` meant",
        ),
        ([constant("s/a", 1), among], "`s/b` lies in a stage, but is not partitioned"),
        ([constant("s/a", 1), overview], r"`o/a` is not partitioned.*`a` reads `s/a` of all.*dict"),
        ([daily_table], "`of/days` returns .*DataFrame, but is not partitioned by instance"),
        (constant("s/a", 1), "is no list of assets"),
        ([constant], "is no asset"),
    ):
        with pytest.raises(ConfigurationError, match=words):
            instance_definitions(assets)
    instance_definitions([constant("s/orders", 1), dg.AssetSpec(["s", "orderz"]), misspelt])
    instance_definitions([constant("s/other", 1), misspelt])  # another code location may make it
    instance_definitions([constant("s/a", 1), reader])  # Dagster finds the only one of the name
    for kind in (pd.DataFrame | None, dict[str, sa.Table], sa.FromClause, Any, dict):
        instance_definitions([frame, reading(kind)])

    @dg.input_manager
    def counting(context: dg.InputContext) -> int:
        return 1

    @dg.asset(partitions_def=INSTANCE_PARTITIONS, key=["s", "elsewhere"], io_manager_key="files")
    def stored_elsewhere() -> pd.DataFrame:
        return pd.DataFrame()

    @dg.asset(
        partitions_def=INSTANCE_PARTITIONS,
        key=["s", "count"],
        ins={
            "frame": dg.AssetIn(["s", "frame"], input_manager_key="counting"),
            "path": dg.AssetIn(["s", "elsewhere"]),
        },
    )
    def count(frame: int, path: pd.Series) -> None:
        pass

    resources = {"counting": counting, "files": dg.FilesystemIOManager()}
    instance_definitions([frame, stored_elsewhere, count], resources=resources)
