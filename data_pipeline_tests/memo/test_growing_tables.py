"""Tables that grow by increments in memoised runs: when they grow, and when they begin anew."""

from typing import Any

import pytest
import sqlalchemy as sa

from data_pipeline import Stage, copy_filtered_inputs, outside_input, sql_query
from data_pipeline_tests.io_manager.runs import rows
from data_pipeline_tests.memo.jobs import called
from data_pipeline_tests.memo.stages import failing
from data_pipeline_tests.memo.world import World

_STAGED = """
SELECT relname FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace
WHERE nspname LIKE 'full%staging' AND relkind IN ('r', 'v')
UNION ALL SELECT name FROM full_catalog.staged
"""


class Shop:
    """Raw orders that come one after the other, sums of them that grow, and who reads these."""

    def __init__(self, world: World, engine: sa.Engine) -> None:
        self.world = world
        self.engine = engine
        self.orders = 2
        self.told: dict[str, int | None] = {}
        self.versions = {"orders": "1", "known": "1", "total": "1"}
        self.more: list[Any] = []

    def assets(self) -> list[Any]:
        raw, shop = Stage("raw"), Stage("shop", reads="inputs")
        versions = self.versions
        source = outside_input(lambda: self.orders)

        @raw.table(
            primary_key="k", write="append", code_version=versions["orders"], metadata=source
        )
        def orders(previous: sa.Table | None) -> Any:
            first = 0 if previous is None else self._count(previous)
            self._note("orders", None if previous is None else first)
            return sql_query(
                f"SELECT k, k * 10 AS v FROM generate_series(1, {self.orders}) AS s(k) "
                f"WHERE k > {first}"
            )

        @shop.table(primary_key="k", write="append", code_version=versions["known"])
        def known(orders: sa.Table, previous: sa.Table | None) -> Any:
            first = 0 if previous is None else self._count(previous)
            self._note("known", None if previous is None else first)
            return sql_query(
                f"SELECT k, v + 1 AS v FROM {{orders}} WHERE k > {first}", orders=orders
            )

        @shop.table(code_version=versions["total"])
        def total(known: sa.Table) -> Any:
            called("total")
            return sql_query("SELECT count(*) AS n, sum(v)::bigint AS v FROM {known}", known=known)

        return [
            orders,
            copy_filtered_inputs(stage="inputs", raw=[orders]),
            known,
            total,
            *self.more,
        ]

    def run(self, name: str = "full", **settings: Any) -> Any:
        self.told = {}
        return self.world.made(self.assets, name, **settings)

    def total(self, name: str = "full") -> list[tuple[Any, ...]]:
        return rows(self.engine, f"SELECT n, v FROM {name}_shop.total")

    def _count(self, table: sa.Table) -> int:
        return rows(self.engine, f'SELECT count(*) FROM "{table.schema}"."{table.name}"')[0][0]

    def _note(self, name: str, found: int | None) -> None:
        called(name)
        self.told[name] = found


@pytest.fixture
def shop(world: World, pipeline_database: sa.Engine) -> Shop:
    made = Shop(world, pipeline_database)
    assert made.run().success
    assert made.told == {"orders": None, "known": None}
    assert made.total() == [(2, 32)]
    return made


def test_what_is_new_is_added_from_table_to_table(shop: Shop) -> None:
    assert shop.run().steps == set()
    shop.orders = 4
    run = shop.run()
    assert shop.told == {"orders": 2, "known": 2}
    assert shop.total() == [(4, 104)]
    assert "raw__orders: its source has new data; adds to what is there" in run.log
    assert shop.run().steps == set()


def test_new_code_builds_from_the_start_and_what_grows_with_it_too(shop: Shop) -> None:
    shop.orders = 3
    shop.run()
    shop.versions["known"] = "2"
    run = shop.run()
    assert shop.told == {"known": None}
    assert "is built from the start" in run.log
    shop.versions["orders"] = "2"
    shop.orders = 4
    run = shop.run()
    assert shop.told == {"orders": None, "known": None}
    assert "input `inputs/orders` was built from the start, by other code" in run.log
    assert shop.total() == [(4, 104)]
    shop.orders = 5
    shop.run()
    assert shop.told == {"orders": 4, "known": 4}
    shop.run(tags={"data_pipeline/cache_validation": "force_cache_invalid"})
    assert shop.told == {"orders": None, "known": None}
    assert shop.total() == [(5, 155)]


def test_an_increment_that_a_failed_run_staged_is_added_once(shop: Shop) -> None:
    shop.more = [failing("shop/z")]
    shop.orders = 3
    assert not shop.run().success
    assert shop.total() == [(2, 32)]
    shop.more = []
    run = shop.run()
    assert run.success
    assert shop.told == {}
    assert "shop__known: staged by a run that did not commit it" in run.log
    assert shop.total() == [(3, 63)]
    assert rows(shop.engine, _STAGED) == []


def test_a_staged_increment_is_not_added_to_other_rows(shop: Shop) -> None:
    shop.more = [failing("shop/z")]
    shop.orders = 3
    assert not shop.run().success
    shop.more = []
    shop.orders = 4
    shop.run(tags={"data_pipeline/cache_validation": "force_cache_invalid"})
    assert shop.total() == [(4, 104)]
    shop.orders = 3  # the orders of that time are swapped back in
    shop.run()
    assert shop.told == {"known": None}
    assert shop.total() == [(3, 63)]
    assert rows(shop.engine, _STAGED) == []


def test_a_copy_is_made_anew_of_what_has_come(world: World, pipeline_database: sa.Engine) -> None:
    shop = Shop(world, pipeline_database)
    shop.orders = 1
    assert shop.run().success
    assert shop.run("midi").success
    shop.orders = 2
    shop.run()
    assert shop.run("midi").success
    assert shop.told == {"known": None}
    assert shop.total("midi") == rows(
        shop.engine, "SELECT count(*), sum(v + 1) FROM midi_inputs.orders"
    )
    assert shop.run("midi").steps == set()


def test_the_plan_says_what_grows(shop: Shop) -> None:
    shop.orders = 3
    run = shop.run()
    assert "adds to what is there" in run.log
    before = "SELECT increment ->> 'number' FROM full_catalog.tables WHERE increment <> '{}'"
    assert rows(shop.engine, before) == [("1",), ("1",)]
