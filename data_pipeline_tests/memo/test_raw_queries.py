"""Raw tables that are a query or a view over another schema follow their source."""

from collections.abc import Callable
from typing import Any

import dagster as dg
import pandas as pd
import pytest
import sqlalchemy as sa

from data_pipeline import Table, View, sql_query, table_properties
from data_pipeline.instances.partitions import INSTANCE_PARTITIONS
from data_pipeline.sampling import copy_filtered_inputs
from data_pipeline.sources.fingerprints import (
    outside_input,
)
from data_pipeline_tests.io_manager.runs import execute, rows
from data_pipeline_tests.memo.jobs import called
from data_pipeline_tests.memo.stages import asset
from data_pipeline_tests.memo.world import World

MODE = "data_pipeline/cache_validation"
THEIRS = sa.Table("items", sa.MetaData(), sa.Column("id", sa.Integer), schema="theirs")
FORMS: dict[str, Callable[[], Any]] = {
    "text": lambda: sql_query("SELECT * FROM theirs.items"),
    "select": lambda: sa.select(THEIRS),
    "table": lambda: THEIRS,
    "with properties": lambda: Table(sa.select(THEIRS), primary_key="id", types={"id": "bigint"}),
    "view of a table": lambda: View(THEIRS),
    "view of a query": lambda: View(sql_query("SELECT id FROM theirs.items WHERE id > 0")),
}
"""What a raw table is made by; each has stages of its own, and all are of one pipeline."""
FINGERPRINTS: dict[str, Callable[[World], dict[str, Any]]] = {
    "fingerprint": lambda world: outside_input(lambda: world.state["source"]),
    "no fingerprint": lambda _: outside_input(),
    "an unstable one": lambda _: outside_input(object),
}


@pytest.fixture(autouse=True)
def _source(pipeline_database: sa.Engine) -> None:
    execute(
        pipeline_database,
        "CREATE SCHEMA theirs",
        "CREATE TABLE theirs.items AS SELECT generate_series(1, 4) AS id",
    )


def pipeline(world: World, source: Callable[[World], dict[str, Any]]) -> Callable[[], list[Any]]:
    """Gives for each form `load/items`, what reads it directly, and what reads its input table."""

    def items(form: Callable[[], Any]) -> Callable[[], Any]:
        def items() -> Any:
            called("items")
            return form()

        return items

    def direct(items: sa.Table) -> Any:
        called("direct")
        return sa.select(sa.func.count().label("n")).select_from(items)

    def behind(items: pd.DataFrame) -> pd.DataFrame:
        called("behind")
        return pd.DataFrame({"n": [len(items)]})

    def things() -> list[Any]:
        made: list[Any] = []
        for number, (name, form) in enumerate(FORMS.items()):
            key = {} if name.startswith("view") else table_properties(primary_key="id")
            metadata = {**source(world), **key}
            raw = asset(f"load_{number}/items", items(form), metadata=metadata)
            made += [
                raw,
                copy_filtered_inputs(stage=f"shop_{number}", raw=[raw]),
                asset(f"sums_{number}/direct", direct, f"load_{number}/items"),
                asset(f"sums_{number}/behind", behind, f"shop_{number}/items"),
            ]
        return made

    return things


def counts(engine: sa.Engine) -> dict[str, list[int]]:
    query = "SELECT n FROM full_sums_{0}.direct UNION ALL SELECT n FROM full_sums_{0}.behind"
    return {
        name: [n for (n,) in rows(engine, query.format(number))]
        for number, name in enumerate(FORMS)
    }


def everywhere(expected: int) -> dict[str, list[int]]:
    return {name: [expected, expected] for name in FORMS}


def more(world: World, engine: sa.Engine) -> None:
    execute(engine, "INSERT INTO theirs.items SELECT max(id) + 1 FROM theirs.items")
    world.state["source"] += 1


@pytest.mark.parametrize("source", FINGERPRINTS.values(), ids=FINGERPRINTS)
def test_new_rows_of_the_source_reach_everything_behind(
    world: World, pipeline_database: sa.Engine, source: Callable[[World], dict[str, Any]]
) -> None:
    things = pipeline(world, source)
    assert world.made(things).success
    for expected in (5, 6):
        more(world, pipeline_database)
        assert world.made(things).success
        assert counts(pipeline_database) == everywhere(expected)


def test_while_the_fingerprint_is_the_same_nothing_is_done_unless_it_is_forced(
    world: World, pipeline_database: sa.Engine
) -> None:
    things = pipeline(world, FINGERPRINTS["fingerprint"])
    assert world.made(things).success
    assert world.made(things).success
    assert not world.calls
    execute(pipeline_database, "INSERT INTO theirs.items VALUES (7)")
    assert world.made(things).success
    assert not world.calls
    assert world.made(things, tags={MODE: "force_fresh_input"}).success
    assert counts(pipeline_database) == everywhere(5)


def test_fresh_input_is_not_taken_where_that_is_ruled_out(
    world: World, pipeline_database: sa.Engine
) -> None:
    things = pipeline(world, FINGERPRINTS["fingerprint"])
    assert world.made(things).success
    more(world, pipeline_database)
    for mode in ("ignore_fresh_input", "assert_no_fresh_input"):
        assert world.made(things, tags={MODE: mode}).success
        assert not world.calls


@pytest.mark.parametrize("form", [FORMS["text"], FORMS["view of a table"]], ids=["query", "view"])
def test_copies_of_other_instances_follow(
    world: World, pipeline_database: sa.Engine, form: Callable[[], Any]
) -> None:
    def things() -> list[Any]:
        raw = asset("load/items", form, metadata=outside_input(lambda: world.state["source"]))
        inputs = copy_filtered_inputs(stage="shop", raw=[raw])

        def read(items: sa.Table) -> Any:
            called("read")
            return sa.select(sa.func.sum(items.c.id).label("n"))

        return [raw, inputs, asset("sums/read", read, "shop/items")]

    for name in ("full", "midi"):
        assert world.made(things, name).success
    execute(pipeline_database, "UPDATE theirs.items SET id = id + 100")
    world.state["source"] += 1
    for name in ("full", "midi"):
        assert world.made(things, name).success
        assert world.calls == {"read": 1}
    assert rows(pipeline_database, "SELECT n > 200 FROM midi_sums.read") == [(True,)]


def test_tables_of_one_step_follow_too(world: World, pipeline_database: sa.Engine) -> None:
    def things() -> list[Any]:
        source = outside_input(lambda: world.state["source"])

        @dg.multi_asset(
            outs={
                "all": dg.AssetOut(key=["load", "all"], metadata=source, code_version="1"),
                "top": dg.AssetOut(key=["load", "top"], metadata=source, code_version="1"),
            },
            partitions_def=INSTANCE_PARTITIONS,
        )
        def both() -> tuple[Any, Any]:
            query = sql_query("SELECT * FROM theirs.items")
            return query, View(sa.select(sa.func.max(THEIRS.c.id).label("id")))

        def read(top: pd.DataFrame) -> pd.DataFrame:
            return top

        return [both, asset("sums/read", read, "load/top")]

    assert world.made(things).success
    more(world, pipeline_database)
    assert world.made(things).success
    query = "SELECT (SELECT count(*) FROM full_load.all), id FROM full_sums.read"
    assert rows(pipeline_database, query) == [(5, 5)]
