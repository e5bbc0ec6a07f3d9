"""Tables with slices: each is built, reused and swapped in alone; readers see all of them."""

from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import pytest
import sqlalchemy as sa

from data_pipeline import (
    INSTANCE_PARTITIONS,
    InstanceResource,
    Stage,
    copy_filtered_inputs,
    instance_resources,
    outside_input,
    sql_query,
)
from data_pipeline_tests.io_manager.runs import execute, rows
from data_pipeline_tests.memo import jobs
from data_pipeline_tests.memo.jobs import called
from data_pipeline_tests.memo.world import World, new_storage, shared_storage

DAYS = dg.MultiPartitionsDefinition(
    {"instance": INSTANCE_PARTITIONS, "day": dg.DailyPartitionsDefinition("2026-01-01")}
)


class Shop:
    """Orders by day, of a source; cleaned by day; and what they come to."""

    def __init__(self, world: World, engine: sa.Engine) -> None:
        self.world = world
        self.engine = engine
        self.source = {f"2026-01-0{day}": [day * 10] for day in (1, 2, 3)}
        self.versions = {"orders": "1", "clean": "1", "total": "1"}
        self.more: list[Any] = []

    def assets(self) -> list[Any]:
        raw, shop = Stage("raw"), Stage("shop", reads=["raw"])
        source = outside_input(lambda instance: self.source.get(instance.slice))

        @raw.table(
            partitions_def=DAYS,
            code_version=self.versions["orders"],
            metadata=source,
            primary_key=("day", "k"),
        )
        def orders(context: dg.AssetExecutionContext) -> pd.DataFrame:
            start = context.partition_time_window.start
            called(f"orders@{start:%d}")
            found = self.source[f"{start:%Y-%m-%d}"]
            return pd.DataFrame(
                {"day": [start.date()] * len(found), "k": range(len(found)), "v": found}
            ).astype({"k": int, "v": int})

        @shop.table(partitions_def=DAYS, code_version=self.versions["clean"])
        def clean(context: dg.AssetExecutionContext, orders: sa.Table) -> sa.TextClause:
            called(f"clean@{context.partition_key[8:10]}")
            factor = int(self.versions["clean"])
            return sql_query(f"SELECT day, v * {factor} AS v FROM {{orders}}", orders=orders)

        @shop.table(code_version=self.versions["total"])
        def total(clean: pd.DataFrame) -> pd.DataFrame:
            called("total")
            return pd.DataFrame({"n": [len(clean)], "v": [int(clean["v"].sum())]})

        return [orders, clean, total, *self.more]

    def day(self, number: int, name: str = "full", **settings: Any) -> Any:
        tags = {"dagster/partition": f"2026-01-{number:02}|{name}"}
        return self.world.made(self.assets, "by_day", tags=tags, **settings)

    def days(self, *numbers: int) -> dict[str, int]:
        calls: dict[str, int] = {}
        for number in numbers:
            assert self.day(number).success, self.world.last.log
            calls |= self.world.calls
        return calls

    def run(self, name: str = "full", **settings: Any) -> Any:
        return self.world.made(self.assets, name, **settings)

    def total(self) -> list[tuple[Any, ...]]:
        return rows(self.engine, "SELECT n, v FROM full_shop.total")


@pytest.fixture
def shop(world: World, pipeline_database: sa.Engine) -> Shop:
    made = Shop(world, pipeline_database)
    assert made.days(1, 2, 3).keys() == {
        f"{n}@0{d}" for n in ("orders", "clean") for d in (1, 2, 3)
    }
    run = made.run()
    assert run.success
    assert made.total() == [(3, 60)]
    assert "Left out `raw/orders` (job `by_day`), `shop/clean` (job `by_day`)" in run.log
    return made


def test_what_reads_slices_waits_for_the_first(world: World, pipeline_database: sa.Engine) -> None:
    made = Shop(world, pipeline_database)
    run = made.run()
    assert run.success
    assert not run.steps
    assert "shop__total: not run, since no slice of `shop/clean` is built yet" in run.log
    made.days(1)
    assert made.run().steps == {"shop__total"}


def test_nothing_is_computed_twice(shop: Shop) -> None:
    assert not shop.days(1, 2, 3)
    assert shop.run().steps == set()


def test_a_late_correction_builds_its_day_and_what_reads_all(shop: Shop) -> None:
    shop.source["2026-01-02"] = [20, 5]
    assert shop.days(1, 2, 3).keys() == {"orders@02", "clean@02"}
    assert shop.run().steps == {"shop__total"}
    assert shop.total() == [(4, 65)]
    assert not shop.days(1, 2, 3)
    assert shop.run().steps == set()


def test_a_correction_that_changes_nothing_goes_no_further(shop: Shop) -> None:
    shop.source["2026-01-02"] = (20,)  # another fingerprint, the same rows
    assert shop.days(2).keys() == {"orders@02"}
    assert shop.run().steps == set()


def test_new_code_makes_each_slice_out_of_date_and_readers_see_a_mix(shop: Shop) -> None:
    shop.versions["clean"] = "2"
    assert shop.days(1).keys() == {"clean@01"}
    assert shop.run().steps == {"shop__total"}
    assert shop.total() == [(3, 70)]
    assert shop.days(1, 2, 3).keys() == {"clean@02", "clean@03"}
    shop.run()
    assert shop.total() == [(3, 120)]


def test_users_views_grants_and_indexes_on_the_table_stay(shop: Shop) -> None:
    execute(
        shop.engine,
        "CREATE VIEW of_users AS SELECT sum(v) AS v FROM full_shop.clean;"
        "CREATE INDEX by_v ON full_shop.clean (v);"
        "GRANT SELECT ON full_shop.clean TO PUBLIC",
    )
    before = rows(shop.engine, "SELECT 'full_shop.clean'::regclass::oid")
    shop.source["2026-01-02"] = [25]
    shop.days(2)
    shop.source["2026-01-04"] = [40]
    shop.days(4)
    assert rows(shop.engine, "SELECT v::int FROM of_users") == [(105,)]
    assert rows(shop.engine, "SELECT 'full_shop.clean'::regclass::oid") == before
    found = "SELECT count(*) FROM pg_inherits WHERE inhparent = 'full_shop.by_v'::regclass"
    assert rows(shop.engine, found) == [(4,)]
    granted = "SELECT has_table_privilege('pg_monitor', 'full_shop.clean', 'SELECT')"
    assert rows(shop.engine, granted) == [(True,)]


def test_a_slice_changed_dropped_or_detached_by_hand_is_built_again(shop: Shop) -> None:
    execute(shop.engine, "UPDATE full_shop.clean SET v = 0 WHERE day = '2026-01-01'")
    assert shop.run().steps == {"shop__total"}
    assert shop.total() == [(3, 50)]
    assert shop.run().steps == set()
    execute(shop.engine, 'DROP TABLE full_shop."clean@2026-01-02"')
    execute(
        shop.engine, 'ALTER TABLE full_shop.clean DETACH PARTITION full_shop."clean@2026-01-03"'
    )
    assert shop.run().steps == {"shop__total"}
    assert shop.days(1, 2, 3).keys() == {"clean@01", "clean@02", "clean@03"}
    shop.run()
    assert shop.total() == [(3, 60)]


def test_what_was_read_without_a_dropped_slice_is_computed_again_with_it(shop: Shop) -> None:
    execute(shop.engine, 'DROP TABLE full_shop."clean@2026-01-02"')
    assert shop.run().steps == {"shop__total"}
    assert shop.total() == [(2, 40)]
    assert shop.run().steps == set()
    assert shop.days(2).keys() == {"clean@02"}
    shop.run()
    assert shop.total() == [(3, 60)]


def test_a_table_dropped_by_hand_is_built_again(shop: Shop) -> None:
    execute(shop.engine, "DROP TABLE full_shop.clean")
    assert shop.days(1).keys() == {"clean@01"}
    shop.run()
    assert shop.total() == [(1, 10)]
    assert shop.days(1, 2, 3).keys() == {"clean@02", "clean@03"}


def test_an_empty_slice_is_a_slice(shop: Shop) -> None:
    shop.source["2026-01-04"] = []
    assert shop.days(4).keys() == {"orders@04", "clean@04"}
    assert not shop.days(4)
    shop.source["2026-01-01"] = []
    shop.days(1)
    shop.run()
    assert shop.total() == [(2, 50)]


def test_the_catalog_has_a_row_for_each_slice_and_one_for_the_table(shop: Shop) -> None:
    query = "SELECT name, kind, row_count FROM full_catalog.tables WHERE stage = 'shop' ORDER BY 1"
    assert rows(shop.engine, query) == [
        ("clean", "sliced", 3),
        ("clean@2026-01-01", "table", 1),
        ("clean@2026-01-02", "table", 1),
        ("clean@2026-01-03", "table", 1),
        ("total", "table", 1),
    ]


def test_copies_take_all_slices_and_instances_that_copy_build_slices_of_them(
    world: World, pipeline_database: sa.Engine
) -> None:
    source = {1: [1, 2, 3], 2: [4, 5]}

    def assets() -> list[Any]:
        raw, shop = Stage("raw"), Stage("shop", reads="inputs")

        @raw.table(
            partitions_def=DAYS,
            primary_key=("day", "k"),
            code_version="1",
            source=lambda instance: source.get(int(instance.slice[-2:])),
        )
        def orders(context: dg.AssetExecutionContext) -> pd.DataFrame:
            start = context.partition_time_window.start
            found = source[start.day]
            return pd.DataFrame({"day": [start.date()] * len(found), "k": found})

        @shop.table(partitions_def=DAYS, code_version="1")
        def clean(context: dg.AssetExecutionContext, orders: sa.Table) -> sa.TextClause:
            called(f"clean@{context.partition_key[8:10]}")
            day = context.partition_time_window.start.date()
            return sql_query(f"SELECT * FROM {{orders}} WHERE day = '{day}'", orders=orders)

        return [orders, copy_filtered_inputs(stage="inputs", raw=[orders]), clean]

    def day(number: int, name: str) -> Any:
        tags = {"dagster/partition": f"2026-01-{number:02}|{name}"}
        made = world.made(assets, "by_day_2", tags=tags)
        assert made.success, made.log
        return made

    def raw_day(number: int) -> Any:
        tags = {"dagster/partition": f"2026-01-{number:02}|full"}
        key = [dg.AssetKey(["raw", "orders"])]
        assert world.made(assets, "by_day", tags=tags, selection=key).success

    raw_day(1)
    raw_day(2)
    for name in ("full", "midi", "mini"):
        run = world.made(assets, name)
        assert run.success, run.log
        assert world.made(assets, name).steps == set()
        assert "shop__clean" in day(1, name).steps
        assert "shop__clean" in day(2, name).steps
    assert rows(pipeline_database, "SELECT count(*) FROM full_shop.clean") == [(5,)]
    assert rows(pipeline_database, "SELECT count(*) FROM midi_shop.clean") == [(2,)]
    assert rows(pipeline_database, "SELECT count(*) FROM mini_shop.clean") == [(1,)]
    source[2] = [4, 5, 6]
    raw_day(2)
    assert world.made(assets, "full").steps == set()  # its input table is a view of all slices
    assert "inputs__copy_filtered_inputs" in world.made(assets, "mini").steps
    day(1, "full")
    assert world.calls == {"clean@01": 1}  # it reads the whole input table
    assert day(2, "full").steps == {"shop__clean"}
    assert rows(pipeline_database, "SELECT count(*) FROM full_shop.clean") == [(6,)]


def test_dynamic_partitions_are_slices(world: World, pipeline_database: sa.Engine) -> None:
    zones = dg.MultiPartitionsDefinition(
        {"instance": INSTANCE_PARTITIONS, "zone": dg.DynamicPartitionsDefinition(name="zones")}
    )

    def assets() -> list[Any]:
        @Stage("s").table(partitions_def=zones, code_version="1")
        def t(instance: InstanceResource) -> pd.DataFrame:
            called(f"t@{instance.slice}")
            return pd.DataFrame({"zone": [instance.slice]})

        @Stage("s").table(code_version="1")
        def total(t: pd.DataFrame) -> pd.DataFrame:
            return pd.DataFrame({"zones": ["".join(sorted(t["zone"]))]})

        return [t, total]

    world.storage.add_dynamic_partitions("zones", ["a", "b"])
    for key in ("a", "b", "a"):
        tags = {"dagster/partition": f"full|{key}"}
        run = world.made(assets, "by_zone", tags=tags)
        assert run.success, run.log
    assert not run.steps
    assert world.made(assets, "full").success
    assert rows(pipeline_database, "SELECT zones FROM full_s.total") == [("ab",)]


@pytest.mark.parametrize(
    ("job", "key", "said"),
    [
        ("by_day", "2025-12-31|full", "`day` has no slice `2025-12-31`. They go from `2026-01-01`"),
        ("by_day", "2099-01-01|full", "one is there when its time is over"),
        ("by_day", "yesterday|full", "`day` has no slice `yesterday`"),
        ("by_day", "full|2026-01-01", "write `day|instance`, or data-pipeline"),
        ("by_day", "full", "builds slices by `day`: write `day|instance`"),
        ("full", "2026-01-01|full", "builds whole tables: its key is `full`. Slices of tables are"),
        ("full", "2026-01-01|fulll", "names no instance"),
    ],
)
def test_a_partition_key_that_the_job_has_not_is_refused_before_the_first_step(
    world: World, pipeline_database: sa.Engine, job: str, key: str, said: str
) -> None:
    made = Shop(world, pipeline_database)
    run = world.made(made.assets, job, tags={"dagster/partition": key})
    assert said in run.failure
    assert not run.success
    assert not world.calls
    assert "full_catalog" not in sa.inspect(pipeline_database).get_schema_names()


def test_dynamic_partitions_that_were_not_added_are_refused(
    world: World, pipeline_database: sa.Engine
) -> None:
    keys = dg.DynamicPartitionsDefinition(name="zones")
    zones = dg.MultiPartitionsDefinition({"instance": INSTANCE_PARTITIONS, "zone": keys})

    @Stage("s").table(partitions_def=zones, code_version="1")
    def t(instance: InstanceResource) -> pd.DataFrame:
        return pd.DataFrame({"zone": [instance.slice]})

    def built(key: str) -> Any:
        return world.made(lambda: [t], "by_zone", tags={"dagster/partition": f"full|{key}"})

    assert "`zone` has no slice `a`. There are none yet." in built("a").failure
    world.storage.add_dynamic_partitions("zones", [f"z{n}" for n in range(30)])
    assert "Did you mean 'z7'?" in (said := built("z7z").failure)
    assert "There are 30. Dynamic partitions are added" in said
    assert "'zones', [\"key\"]" in said
    assert built("z7").success


def test_checks_of_a_slice_look_at_it_alone(shop: Shop) -> None:
    @dg.asset_check(asset=["shop", "clean"], additional_ins={}, blocking=True)
    def is_small(clean: pd.DataFrame) -> dg.AssetCheckResult:
        called(f"looked_at:{len(clean)}")
        return dg.AssetCheckResult(passed=len(clean) < 2)

    shop.more = [is_small]
    shop.day(1)
    assert "looked_at:1" in shop.world.calls
    assert not shop.day(1).steps
    shop.source["2026-01-02"] = [1, 2]
    assert not shop.day(2).success
    assert "looked_at:2" in shop.world.calls
    assert rows(shop.engine, "SELECT count(*) FROM full_shop.clean") == [(3,)]
    assert not shop.day(2).success
    shop.source["2026-01-02"] = [2]
    assert shop.day(2).success
    shop.run()
    assert shop.total() == [(3, 42)]


def test_the_log_of_dagster_has_each_slice(shop: Shop) -> None:
    key = dg.AssetKey(["shop", "clean"])
    made = shop.world.storage.get_materialized_partitions(key)
    assert made == {f"2026-01-0{day}|full" for day in (1, 2, 3)}
    other = new_storage()
    assert not shop.day(2, storage=other).steps
    assert other.get_materialized_partitions(key) == {"2026-01-02|full"}
    assert not shop.day(2, storage=other).steps
    filter_ = dg.AssetRecordsFilter(asset_key=key)
    assert len(other.fetch_materializations(filter_, limit=9).records) == 1


def test_in_memory_a_slice_knows_its_key(pipeline_database: sa.Engine) -> None:
    @Stage("s").table(partitions_def=DAYS)
    def t(context: dg.AssetExecutionContext, instance: InstanceResource) -> pd.DataFrame:
        return pd.DataFrame({"day": [context.partition_time_window.start], "k": [instance.slice]})

    key = dg.MultiPartitionKey({"instance": "mini", "day": "2026-01-02"})
    resources = instance_resources("mini", io_manager=False)
    result = dg.materialize_to_memory([t], partition_key=key, resources=resources)
    assert result.output_for_node("s__t")["k"].to_list() == ["2026-01-02"]


def test_values_of_tables_with_slices_are_loaded_whole_or_by_slice(shop: Shop) -> None:
    definitions = jobs.definitions(shop.assets())
    key = dg.AssetKey(["shop", "clean"])
    part = "2026-01-02|full"
    one = definitions.load_asset_value(key, python_type=pd.DataFrame, partition_key=part)
    assert one["v"].to_list() == [20]


def test_processes_of_steps_build_slices(
    world: World, pipeline_database: sa.Engine, forkserver: None, tmp_path: Path
) -> None:
    storage = shared_storage(tmp_path)
    for day in (1, 2, 1):
        tags = {"dagster/partition": f"2026-01-{day:02}|full"}
        run = world.run("by_day", builder="sliced_by_processes", storage=storage, tags=tags)
        assert run.success, run.log
    assert not run.steps
    query = "SELECT day::text, sold FROM full_sliced_daily.turnover ORDER BY 1"
    assert rows(pipeline_database, query) == [("2026-01-01", 1), ("2026-01-02", 2)]
