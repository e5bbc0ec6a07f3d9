"""Memoised runs over tables whose rows are replaced in place: reuse, slots, own views."""

from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import pytest
import sqlalchemy as sa

from data_pipeline import INSTANCE_PARTITIONS, View, sql_query, table_properties
from data_pipeline_tests.io_manager.runs import by_hand, execute, rows
from data_pipeline_tests.memo import settings
from data_pipeline_tests.memo.jobs import called
from data_pipeline_tests.memo.stages import asset
from data_pipeline_tests.memo.test_changes_by_hand import CHANGES
from data_pipeline_tests.memo.world import World
from data_pipeline_tests.plain_roles import PlainRoles

BY_HAND = {what: change for kind in CHANGES.values() for what, change in kind.items()}


@pytest.fixture(autouse=True)
def in_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All tables of all instances are replaced by their rows."""
    settings.table_store("replace: rows", tmp_path, monkeypatch)


def oid(engine: sa.Engine, table: str) -> int:
    return rows(engine, f"SELECT '{table}'::regclass::oid::bigint")[0][0]


def switch(world: World, version: int) -> None:
    world.state["versions"] |= {"b": str(version), "c": str(version)}
    world.state["factor"] = version
    assert world.run().success, world.last.failure


INDEXES = "SELECT indexdef FROM pg_indexes WHERE schemaname = 'full_stage_1' ORDER BY 1"


@pytest.mark.parametrize(
    "properties", [{}, {"primary_key": "k", "indexes": ["v"], "nullable": ["v"]}], ids=["", "key"]
)
def test_earlier_rows_are_kept_and_come_back(
    world: World, pipeline_database: sa.Engine, properties: dict[str, Any]
) -> None:
    world.state["properties"] = properties
    switch(world, 1)
    known, indexes = oid(pipeline_database, "full_stage_1.b"), rows(pipeline_database, INDEXES)
    switch(world, 2)
    assert world.calls == {"b": 1, "c": 1, "query": 1}
    for version in (1, 2, 1):
        switch(world, version)
        assert not world.calls
        assert rows(pipeline_database, "SELECT DISTINCT v FROM full_stage_1.b") == [(version,)]
        assert oid(pipeline_database, "full_stage_1.b") == known
        assert rows(pipeline_database, INDEXES) == indexes
        assert not world.run().steps


@pytest.mark.usefixtures("counters_may_begin_anew")
@pytest.mark.parametrize("change", sorted(BY_HAND.keys() - {"dropped column", "another relation"}))
def test_a_change_by_hand_is_noticed(
    world: World, pipeline_database: sa.Engine, change: str
) -> None:
    def things() -> list[Any]:
        data = {"k": [1, 2, 3], "v": [world.state["source"], 2, 3], "w": list("abc")}
        return [asset("s/t", lambda: called("t") or pd.DataFrame(data), version="1")]

    for source in (1, 2):
        world.state["source"] = source
        settled = world.made(things, tags={"data_pipeline/cache_validation": "force_cache_invalid"})
        assert settled.success
    assert not world.made(things).steps
    statement, _ = BY_HAND[change]
    by_hand(pipeline_database, *statement.format(t="full_s.t").split("; "))
    run = world.made(things)
    assert world.calls == {"t": 1}, run.log
    found = rows(pipeline_database, "SELECT k, v, w FROM full_s.t ORDER BY k")
    assert found == [(1, 2, "a"), (2, 2, "b"), (3, 3, "c")]
    assert not world.made(things).steps


def views(world: World) -> Any:
    """Gives a table, views of it in its stage and in the next, and what reads these."""

    def t() -> pd.DataFrame:
        called("t")
        return pd.DataFrame({"k": [1, 2], "v": [world.state["source"]] * 2})

    def v(t: sa.Table) -> Any:
        return View(sa.select(t.c.k, (t.c.v + world.state["factor"]).label("v")))

    def whole(t: sa.Table) -> Any:
        return View(t)

    def on_view(v: sa.Table) -> Any:
        return View(sa.select(v.c.v))

    def total(on_view: sa.Table, whole: sa.Table) -> Any:
        query = "SELECT (SELECT sum(v) FROM {v}) + (SELECT sum(v) FROM {w}) AS total"
        return sql_query(query, v=on_view, w=whole)

    def things() -> list[Any]:
        version = str(world.state["source"])
        return [
            asset("a/t", t, version=version, metadata=table_properties(primary_key="k")),
            asset("a/v", v, "a/t", version=str(world.state["factor"])),
            asset("b/whole", whole, "a/t"),
            asset("b/on_view", on_view, "a/v"),
            asset("c/total", total, "b/on_view", "b/whole"),
        ]

    return things


@pytest.mark.parametrize("forced", [False, True])
def test_own_views_follow_a_table_that_stays(
    world: World, pipeline_database: sa.Engine, forced: bool
) -> None:
    things = views(world)
    tags = {"data_pipeline/cache_validation": "force_cache_invalid"} if forced else {}
    world.state["factor"] = 0
    for source, factor in [(1, 0), (2, 0), (2, 10), (3, 20), (1, 0)]:
        world.state |= {"source": source, "factor": factor}
        run = world.made(things, tags=tags)
        assert run.success, run.failure
        expected = 2 * (source + factor) + 2 * source
        assert rows(pipeline_database, "SELECT total FROM full_c.total") == [(expected,)]
        assert not world.made(things).steps
    staged = "SELECT relname FROM pg_class WHERE relnamespace::regnamespace::text LIKE '%staging%'"
    assert rows(pipeline_database, staged) == []


def test_views_of_another_role_on_own_views_stay(world: World, roles: PlainRoles) -> None:
    things = views(world)
    world.state |= {"source": 1, "factor": 0}
    assert world.made(things).success, world.last.failure
    analyst = roles.new("analyst")
    for statement in ("USAGE ON SCHEMA full_a", "SELECT ON ALL TABLES IN SCHEMA full_a"):
        execute(roles.engine(roles.owner), f"GRANT {statement} TO {analyst}")
    execute(roles.admin, f"CREATE SCHEMA own AUTHORIZATION {analyst}")
    execute(roles.engine(analyst), "CREATE VIEW own.x AS SELECT k, v FROM full_a.v")
    for source, factor in [(2, 0), (2, 10), (3, 20)]:
        world.state |= {"source": source, "factor": factor}
        assert world.made(things).success, world.last.failure
        found = rows(roles.engine(analyst), "SELECT DISTINCT v FROM own.x")
        assert found == [(source + factor,)]
        assert not world.made(things).steps


def test_rows_are_kept_beside_views_of_another_role(world: World, roles: PlainRoles) -> None:
    switch(world, 1)
    analyst = roles.new("analyst")
    execute(roles.engine(roles.owner), f"GRANT USAGE ON SCHEMA full_stage_1 TO {analyst}")
    execute(roles.engine(roles.owner), f"GRANT SELECT ON full_stage_1.b TO {analyst}")
    execute(roles.admin, f"CREATE SCHEMA own AUTHORIZATION {analyst}")
    execute(roles.engine(analyst), "CREATE VIEW own.x AS SELECT * FROM full_stage_1.b")
    for version in (2, 1, 2):
        switch(world, version)
        assert rows(roles.engine(analyst), "SELECT DISTINCT v FROM own.x") == [(version,)]
    assert not world.calls


@pytest.mark.parametrize("replace", ["table", "rows"])
def test_an_optional_table_leaves_and_comes_again_below_a_view_of_another_role(
    world: World, roles: PlainRoles, replace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if replace == "table":
        monkeypatch.delenv("DATA_PIPELINE_CONFIG")

    def things() -> list[Any]:
        value = world.state["source"]
        outs = {"x": dg.AssetOut(key=["s", "x"], code_version=str(value), is_required=False)}

        @dg.multi_asset(outs=outs, partitions_def=INSTANCE_PARTITIONS)
        def some() -> Any:
            if value:
                yield dg.Output(pd.DataFrame({"v": [value]}), "x")

        return [some]

    world.state["source"] = 1
    assert world.made(things).success, world.last.failure
    analyst = roles.new("analyst")
    execute(roles.engine(roles.owner), f"GRANT USAGE ON SCHEMA full_s TO {analyst}")
    execute(roles.engine(roles.owner), f"GRANT SELECT ON full_s.x TO {analyst}")
    execute(roles.admin, f"CREATE SCHEMA own AUTHORIZATION {analyst}")
    execute(roles.engine(analyst), "CREATE VIEW own.x AS SELECT v FROM full_s.x")
    for value in (0, 2, 0, 2, 3):
        world.state["source"] = value
        assert world.made(things).success, world.last.failure
        there = rows(roles.admin, "SELECT to_regclass('full_s.x') IS NOT NULL")
        assert there == [(bool(value),)]
        if value:
            assert rows(roles.engine(analyst), "SELECT v FROM own.x") == [(value,)]
            assert not world.made(things).steps
