"""An asset returns several tables, whose names are known only when it has run."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import pytest
import sqlalchemy as sa

from data_pipeline import (
    INSTANCE_PARTITIONS,
    Table,
    Tables,
    View,
    instance_definitions,
    instance_resources,
    sql_query,
)
from data_pipeline.errors import ConfigurationError
from data_pipeline_tests.io_manager.runs import by_hand, execute, rows
from data_pipeline_tests.memo.jobs import called
from data_pipeline_tests.memo.stages import asset, constant
from data_pipeline_tests.memo.step_processes import BY_PROCESSES
from data_pipeline_tests.memo.world import Run, World, shared_storage

TABLES = "SELECT name, kind, part_of FROM full_catalog.tables WHERE stage = 's' ORDER BY name"
RELATIONS = "SELECT tablename FROM pg_tables WHERE schemaname = 'full_s' ORDER BY 1"


def frame(value: Any) -> pd.DataFrame:
    return pd.DataFrame({"v": [value]})


def parts(tables: Callable[[], Any], version: str = "1", kind: Any = Tables) -> dg.AssetsDefinition:
    """Gives `s/parts`, which returns what `tables` gives."""

    def made():  # type: ignore[no-untyped-def]
        called("parts")
        return tables()

    made.__annotations__["return"] = kind
    return asset("s/parts", made, version=version)


def total(kind: Any = pd.DataFrame) -> dg.AssetsDefinition:
    """Gives `t/total`, a row for each table of `s/parts`."""

    def read(parts):  # type: ignore[no-untyped-def]
        called("total")
        if kind is sa.Table:
            each = [sa.select(sa.literal(name).label("name"), p.c.v) for name, p in parts.items()]
            return sa.union_all(*each)
        return pd.DataFrame({"name": list(parts), "v": [p["v"][0] for p in parts.values()]})

    read.__annotations__["parts"] = dict[str, kind]
    return asset("t/total", read, "s/parts")


def told(run: Run) -> str:
    return str([e.step_failure_data.error for e in run.events if e.is_step_failure])


@pytest.mark.parametrize("kind", [pd.DataFrame, sa.Table])
def test_names_come_and_go(world: World, pipeline_database: sa.Engine, kind: Any) -> None:
    def steps(*names: str) -> set[str]:
        made = parts(lambda: {n: frame(n) for n in names}, str(names))
        run = world.made(lambda: [made, total(kind)])
        assert run.success, run.log
        assert "No asset makes" not in run.log
        return run.steps

    found = "SELECT name, v FROM full_t.total ORDER BY name"
    assert steps("a", "b c") == {"s__parts", "t__total"}
    assert rows(pipeline_database, found) == [("a", "a"), ("b c", "b c")]
    assert rows(pipeline_database, TABLES) == [
        ("a", "table", "parts"),
        ("b c", "table", "parts"),
        ("parts", "tables", None),
    ]
    assert steps("a", "b c") == set()
    assert steps("a", "d") == {"s__parts", "t__total"}
    assert "`s/b c` (gone, not returned by `s/parts`)" in world.last.log
    assert rows(pipeline_database, found) == [("a", "a"), ("d", "d")]
    assert rows(pipeline_database, RELATIONS) == [("a",), ("d",)]
    assert [row[0] for row in rows(pipeline_database, TABLES)] == ["a", "d", "parts"]
    assert steps("a", "b c") == set()  # swapped back in
    assert rows(pipeline_database, RELATIONS) == [("a",), ("b c",)]
    assert rows(pipeline_database, found) == [("a", "a"), ("b c", "b c")]


def test_each_may_be_what_an_asset_may_return(world: World, pipeline_database: sa.Engine) -> None:
    def made(a: sa.Table) -> dict[str, Table]:
        called("parts")
        return {
            "frame": Table(frame(1), primary_key="v"),
            "query": Table(sa.select(a)),
            "text": Table(sql_query("SELECT v + 1 AS v FROM {a}", a=a)),
            "shown": Table(View(a)),
        }

    def things(version: str) -> list[Any]:
        return [constant("s2/a", 5), asset("s/parts", made, "s2/a", version=version), total()]

    for version in ("1", "2"):  # the queries of the second one are left as they are
        run = world.made(lambda v=version: things(v))
        assert run.success, told(run)
        found = dict(rows(pipeline_database, "SELECT name, v FROM full_t.total"))
        assert found == {"frame": 1, "query": 5, "text": 6, "shown": 5}
    assert world.calls == {"parts": 1}
    assert world.made(lambda: things("2")).steps == set()


def test_none_is_a_number_of_tables_too(world: World, pipeline_database: sa.Engine) -> None:
    assert world.made(lambda: [parts(lambda: {"a": frame(1)}), total()]).success
    assert world.made(lambda: [parts(dict, "2"), total()]).success
    assert rows(pipeline_database, "SELECT * FROM full_t.total") == []
    assert rows(pipeline_database, TABLES) == [("parts", "tables", None)]
    assert world.made(lambda: [parts(dict, "2"), total()]).steps == set()


def test_what_others_do_to_one_is_seen(world: World, pipeline_database: sa.Engine) -> None:
    def things() -> list[Any]:
        return [parts(lambda: {"a": frame(1), "b": frame(2)}), total()]

    assert world.made(things).success
    execute(pipeline_database, "DROP TABLE full_s.b")
    run = world.made(things)
    assert run.steps == {"s__parts"}
    assert "table `s/b` of it was dropped" in run.log
    by_hand(pipeline_database, "UPDATE full_s.a SET v = 7")
    assert world.made(things).steps == {"s__parts"}
    assert rows(pipeline_database, "SELECT v FROM full_s.a") == [(1,)]


def test_they_are_committed_together_or_not_at_all(
    world: World, pipeline_database: sa.Engine
) -> None:
    good = parts(lambda: {"a": frame(1), "b": frame(2)})
    bad = parts(lambda: {"a": frame(3), "b": sa.text("SELECT nothing")}, "2")
    assert world.made(lambda: [good]).success
    assert not world.made(lambda: [bad]).success
    assert rows(pipeline_database, "SELECT * FROM full_s.a, full_s.b") == [(1, 2)]
    assert world.made(lambda: [good]).steps == set()
    better = parts(lambda: {"c": frame(3)}, "3")
    assert world.made(lambda: [better]).success
    assert rows(pipeline_database, RELATIONS) == [("c",)]
    staged = "SELECT tablename FROM pg_tables WHERE schemaname = 'full_s__staging'"
    assert rows(pipeline_database, staged) == []


def test_an_asset_may_come_to_make_one_table(world: World, pipeline_database: sa.Engine) -> None:
    for version, tables in (("1", ["a"]), ("3", ["b"])):
        named = parts(lambda t=tables: {name: frame(1) for name in t}, version)
        assert world.made(lambda n=named: [n]).success
        assert rows(pipeline_database, RELATIONS) == [(name,) for name in tables]
        assert world.made(lambda: [asset("s/parts", lambda: frame(2), version="2")]).success
        assert rows(pipeline_database, RELATIONS) == [("parts",)]


@pytest.mark.parametrize(
    ("tables", "words"),
    [
        ({"A": frame(1)}, "`A`, whose name is that of asset `s/a`"),
        ({"parts": frame(1)}, "`parts`, whose name is that of asset `s/parts`"),
        ({"x": frame(1), "X": frame(1)}, "`X`, whose name is that of its table `x`"),
        ({"old": frame(1)}, "`s/old`, which another asset has made"),
        ({1: frame(1)}, "the name 1, which is no text"),
        ({"": frame(1)}, "A name needs a character"),
        ({"a/b": frame(1)}, "A name needs a character"),
        ({"ä" * 32: frame(1)}, "64 bytes"),
        ({"x": 1}, "`x`, which is a builtins.int and no table"),
        ([frame(1)], "is no dictionary of tables"),
    ],
    ids=str,
)
def test_names_that_tables_cannot_have_are_refused(world: World, tables: Any, words: str) -> None:
    if isinstance(tables, dict) and "old" in tables:
        assert world.made(lambda: [constant("s/old", 1)]).success
    run = world.made(lambda: [constant("s/a", 1), parts(lambda: tables)])
    assert words in told(run)


def test_nobody_overwrites_one_of_them(world: World, pipeline_database: sa.Engine) -> None:
    assert world.made(lambda: [parts(lambda: {"a": frame(1)})]).success
    run = world.made(lambda: [constant("s/a", 2)])
    assert "`s/a`, which asset `s/a` has made, is that of `s/parts`" in run.failure
    assert rows(pipeline_database, "SELECT v FROM full_s.a") == [(1,)]
    # Who takes it out of the one may give it to the other in the same run.
    assert world.made(lambda: [parts(dict, "2"), constant("s/a", 2)]).success
    assert rows(pipeline_database, TABLES) == [("a", "table", None), ("parts", "tables", None)]


def test_they_are_orphans_with_their_asset(world: World) -> None:
    assert world.made(lambda: [parts(lambda: {"a": frame(1)})]).success
    run = world.made(lambda: [constant("t/b", 1)])
    assert "No asset makes `s/a`, `s/parts` any more" in run.log


def test_other_instances_read_theirs(world: World, pipeline_database: sa.Engine) -> None:
    @dg.asset(
        key=["t", "all"],
        ins={"parts": dg.AssetIn(["s", "parts"], partition_mapping=dg.AllPartitionMapping())},
        partitions_def=INSTANCE_PARTITIONS,
    )
    def each(parts: dict[str, dict[str, pd.DataFrame]]) -> pd.DataFrame:
        found = [(instance, name) for instance, own in parts.items() for name in own]
        return pd.DataFrame(found, columns=["instance", "name"])

    for name in ("full", "midi", "mini"):
        assert world.made(lambda: [parts(lambda: {"a": frame(1)})], name).success
    run = world.made(lambda: [parts(lambda: {"a": frame(1)}), each])
    assert run.success, told(run)
    found = rows(pipeline_database, "SELECT instance, name FROM full_t.all ORDER BY 1")
    assert found == [("full", "a"), ("midi", "a"), ("mini", "a")]


@pytest.mark.usefixtures("pipeline_database")
def test_readers_of_one_table_are_refused_when_definitions_load() -> None:
    def read(parts: pd.DataFrame) -> None:
        pass

    with pytest.raises(ConfigurationError, match=r"`parts` is annotated with .* several tables"):
        instance_definitions([parts(dict), asset("t/read", read, "s/parts")])


def test_in_memory_they_are_the_dictionary(world: World) -> None:
    world.save()
    assets = [parts(lambda: {"a": frame(1)}), total()]
    resources = instance_resources("mini", io_manager=False)
    result = dg.materialize_to_memory(assets, partition_key="mini", resources=resources)
    assert result.asset_value(["t", "total"])["name"].tolist() == ["a"]


@pytest.mark.usefixtures("forkserver")
def test_in_several_processes(world: World, pipeline_database: sa.Engine, tmp_path: Path) -> None:
    storage = shared_storage(tmp_path)
    for names in ({"a": 1, "b": 2}, {"b": 3}):
        world.state["names"] = names
        run = world.run(builder="several_by_processes", run_config=BY_PROCESSES, storage=storage)
        assert run.success, run.log
        found = rows(pipeline_database, "SELECT name, v FROM full_t.total ORDER BY name")
        assert found == sorted(names.items())
        assert rows(pipeline_database, RELATIONS) == [(name,) for name in names]
