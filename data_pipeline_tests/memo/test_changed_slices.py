"""A reader of all slices asks which of them changed since it was computed."""

from collections.abc import Sequence
from typing import Any

import dagster as dg
import pandas as pd
import pytest
import sqlalchemy as sa

from data_pipeline import (
    INSTANCE_PARTITIONS,
    InstanceResource,
    Stage,
    instance_resources,
    sql_query,
)
from data_pipeline_tests.io_manager.runs import execute, rows
from data_pipeline_tests.memo.test_slices import Shop
from data_pipeline_tests.memo.world import World


class Told:
    """Assets that read `shop/clean` and note what they are told of its slices."""

    def __init__(self, shop: Shop) -> None:
        self.shop = shop
        self.version = "1"
        self.said: dict[str, Any] = {}

    @property
    def sums(self) -> Any:
        """A table that grows by what follows from changed slices."""

        @Stage("report", reads="shop").table(
            primary_key="day", write="merge", code_version=self.version
        )
        def sums(clean: sa.Table, previous: sa.Table | None, instance: InstanceResource) -> Any:
            found = self.said["sums"] = instance.changed_slices("shop/clean")
            where = "true" if found is None else found.condition
            return sql_query(
                f"SELECT day, sum(v)::bigint AS v FROM {{clean}} WHERE {where} GROUP BY day",
                clean=clean,
            )

        return sums

    @property
    def export(self) -> Any:
        """An asset that stores nothing, and does not load what it depends on."""

        @dg.asset(
            key=["out", "export"],
            deps=[["shop", "clean"]],
            code_version=self.version,
            partitions_def=INSTANCE_PARTITIONS,
        )
        def export(instance: InstanceResource) -> None:
            self.said["export"] = instance.changed_slices(["shop", "clean"])

        return export

    def run(self) -> dict[str, Sequence[str] | None]:
        self.said = {}
        self.shop.more = [self.sums, self.export]
        assert self.shop.run().success, self.shop.world.last.failure
        return self.said

    def sums_there(self) -> list[tuple[Any, ...]]:
        return rows(self.shop.engine, "SELECT v FROM full_report.sums ORDER BY day")


@pytest.fixture
def told(world: World, pipeline_database: sa.Engine) -> Told:
    shop = Shop(world, pipeline_database)
    shop.days(1, 2)
    made = Told(shop)
    assert made.run() == {"sums": None, "export": None}
    assert made.sums_there() == [(10,), (20,)]
    return made


def both(*keys: str) -> dict[str, Sequence[str]]:
    return {"sums": keys, "export": keys}


def test_the_slices_that_changed_since_are_named(told: Told) -> None:
    assert told.run() == {}
    told.shop.source["2026-01-02"] = [25]
    told.shop.days(2, 3)
    assert told.run() == both("2026-01-02", "2026-01-03")
    assert told.said["sums"].condition.count("day") == 6
    assert told.sums_there() == [(10,), (25,), (30,)]
    assert told.run() == {}
    increment = "SELECT increment->>'number' FROM full_catalog.tables WHERE name = 'sums'"
    assert rows(told.shop.engine, increment) == [("1",)]
    told.shop.source["2026-01-01"] = (10,)  # another fingerprint, the same rows
    told.shop.days(1)
    assert told.run() == {}


def test_other_code_takes_all_slices(told: Told) -> None:
    told.version = "2"
    assert told.run() == {"sums": None, "export": None}
    told.shop.versions["clean"] = "2"
    told.shop.days(1)
    assert told.run() == {"sums": None, "export": ("2026-01-01",)}
    assert told.sums_there() == [(20,), (20,)]


def test_what_was_changed_by_hand_is_named_until_it_is_built_again(told: Told) -> None:
    execute(told.shop.engine, "UPDATE full_shop.clean SET v = 0 WHERE day = '2026-01-01'")
    execute(told.shop.engine, 'DROP TABLE full_shop."clean@2026-01-02"')
    assert told.run() == both("2026-01-01", "2026-01-02")
    assert told.run() == {}
    told.shop.days(1, 2)
    assert told.run() == both("2026-01-01", "2026-01-02")
    assert told.sums_there() == [(10,), (20,)]


def test_once_a_slice_is_gone_all_are_taken(told: Told) -> None:
    gone = "DELETE FROM full_catalog.tables WHERE name = 'clean@2026-01-01'"
    execute(told.shop.engine, f'DROP TABLE full_shop."clean@2026-01-01"; {gone}')
    told.shop.days(3)
    assert told.run() == {"sums": None, "export": None}
    assert told.sums_there() == [(20,), (30,)]


def test_asking_of_another_table_is_refused(told: Told) -> None:
    def run(table: str) -> str:
        @Stage("out", reads="shop").table(code_version="1")
        def wrong(total: sa.Table, instance: InstanceResource) -> Any:
            instance.changed_slices(table)

        told.shop.more = [wrong]
        [failed] = [event for event in told.shop.run().events if event.is_step_failure]
        return str(failed.step_failure_data.error.to_string())

    assert "asks which slices of `shop/clean` changed, and does not read all" in run("shop/clean")
    assert "asks which slices of `shop/total` changed, which has none" in run("shop/total")


def test_in_memory_everything_is_taken(pipeline_database: sa.Engine) -> None:
    @Stage("s").table
    def t(instance: InstanceResource) -> pd.DataFrame:
        return pd.DataFrame({"told": [str(instance.changed_slices("shop/clean"))]})

    resources = instance_resources("mini", io_manager=False)
    made = dg.materialize_to_memory([t], partition_key="mini", resources=resources)
    assert made.output_for_node("s__t")["told"].to_list() == ["None"]
