"""A stage commits as a whole, with its last table; if one fails, it keeps its earlier content."""

from typing import Any

import dagster as dg
import pandas as pd
import pytest
import sqlalchemy as sa

from data_pipeline.instances.partitions import INSTANCE_PARTITIONS
from data_pipeline_tests.io_manager.runs import execute, rows
from data_pipeline_tests.memo.stages import asset, constant, failing
from data_pipeline_tests.memo.world import World

OIDS = "SELECT relname, c.oid::bigint FROM pg_class c WHERE relnamespace = 'full_s'::regnamespace"
COMMITS = "SELECT count(DISTINCT xmin::text) FROM {}"


def seen(engine: sa.Engine, *relations: str) -> list[Any]:
    """Gives the value of each table."""
    return [rows(engine, f"SELECT v FROM {name}")[0][0] for name in relations]


def test_tables_of_a_stage_appear_all_at_once(world: World, pipeline_database: sa.Engine) -> None:
    before: list[bool] = []

    def last(b: pd.DataFrame) -> pd.DataFrame:
        before.extend(
            there
            for (there,) in rows(pipeline_database, "SELECT to_regclass('full_s.b') IS NOT NULL")
        )
        return b

    run = world.made(lambda: [constant("s/a", 1), constant("s/b", 1), asset("s/c", last, "s/b")])
    assert run.success
    assert before == [False]
    assert seen(pipeline_database, "full_s.a", "full_s.b", "full_s.c") == [1, 1, 1]
    # One transaction wrote all rows of the catalog.
    assert rows(pipeline_database, COMMITS.format("full_catalog.tables")) == [(1,)]
    assert "Committed stage `s` of instance `full`: `s/a`, `s/b`, `s/c`" in run.messages


def test_tables_that_are_up_to_date_are_neither_moved_nor_locked(
    world: World, pipeline_database: sa.Engine
) -> None:
    assert world.made(lambda: [constant("s/a", 1), constant("s/b", 1)]).success
    before = dict(rows(pipeline_database, OIDS))
    with pipeline_database.connect() as reader:
        reader.execute(sa.text("SELECT * FROM full_s.a"))  # the transaction stays open
        assert world.made(lambda: [constant("s/a", 1), constant("s/b", 2)]).success
    after = dict(rows(pipeline_database, OIDS))
    assert after["a"] == before["a"]
    assert after["b"] != before["b"]
    assert seen(pipeline_database, "full_s.a", "full_s.b") == [1, 2]


def test_a_failing_table_keeps_its_stage_as_it_was(
    world: World, pipeline_database: sa.Engine
) -> None:
    assert world.made(lambda: [constant("s/a", 1), constant("s/b", 1)]).success
    run = world.made(lambda: [constant("s/a", 2), failing("s/b", version="2")])
    assert not run.success
    assert seen(pipeline_database, "full_s.a", "full_s.b") == [1, 1]
    # What was made stays for inspection, under its own name.
    assert seen(pipeline_database, "full_s__staging.a") == [2]
    assert (
        "Not committed: stage `s` of instance `full` keeps its earlier content as a whole, since "
        "`s__b` did not succeed. What was made for it stays for inspection:\n"
        "  full_s__staging.a" in run.log
    )


def test_stages_that_do_not_need_what_failed_commit(
    world: World, pipeline_database: sa.Engine
) -> None:
    run = world.made(lambda: [constant("r/a", 1), failing("s/b"), constant("t/c", 1, "r/a")])
    assert not run.success
    assert seen(pipeline_database, "full_r.a", "full_t.c") == [1, 1]


def test_a_stage_does_not_commit_before_those_that_it_reads_from(
    world: World, pipeline_database: sa.Engine
) -> None:
    run = world.made(lambda: [constant("s/a", 1), constant("t/b", 1, "s/a"), failing("s/c", "t/b")])
    assert not run.success
    # s reads from t and t from s: neither can go first, so they commit together.
    assert rows(pipeline_database, "SELECT * FROM full_catalog.tables") == []
    run = world.made(lambda: [constant("s/a", 1), failing("s/c"), constant("t/b", 1, "s/a")])
    assert rows(pipeline_database, "SELECT * FROM full_catalog.tables") == []
    assert "since stage `s` did not" in run.log


def test_stages_that_read_from_each_other_commit_together(
    world: World, pipeline_database: sa.Engine
) -> None:
    run = world.made(
        lambda: [constant("s/a", 1), constant("t/b", 1, "s/a"), constant("s/c", 1, "t/b")]
    )
    assert run.success
    assert "Committed stages `s`, `t` of instance `full`: `s/a`, `s/c`, `t/b`" in run.messages
    assert rows(pipeline_database, COMMITS.format("full_catalog.tables")) == [(1,)]


def test_a_multi_asset_commits_its_stages_together(
    world: World, pipeline_database: sa.Engine
) -> None:
    @dg.multi_asset(
        outs={
            "x": dg.AssetOut(key=["s", "x"], code_version="1"),
            "y": dg.AssetOut(key=["t", "y"], code_version="1"),
        },
        partitions_def=INSTANCE_PARTITIONS,
    )
    def both() -> tuple[pd.DataFrame, pd.DataFrame]:
        frame = pd.DataFrame({"v": [1]})
        return frame, frame

    assert world.made(lambda: [both]).success
    assert rows(pipeline_database, COMMITS.format("full_catalog.tables")) == [(1,)]
    assert seen(pipeline_database, "full_s.x", "full_t.y") == [1, 1]


def test_optional_outputs_that_are_not_made_do_not_hold_up_the_stage(
    world: World, pipeline_database: sa.Engine
) -> None:
    @dg.multi_asset(
        outs={
            "x": dg.AssetOut(key=["s", "x"], code_version="1"),
            "y": dg.AssetOut(key=["s", "y"], code_version="1", is_required=False),
        },
        partitions_def=INSTANCE_PARTITIONS,
    )
    def some() -> Any:
        yield dg.Output(pd.DataFrame({"v": [1]}), "x")

    assert world.made(lambda: [some, constant("s/a", 1)]).success
    assert seen(pipeline_database, "full_s.x", "full_s.a") == [1, 1]


def test_a_selection_commits_what_it_selects(world: World, pipeline_database: sa.Engine) -> None:
    assert world.made(lambda: [constant("s/a", 1), constant("s/b", 1)]).success
    selection = [dg.AssetKey(["s", "a"])]
    assert world.made(lambda: [constant("s/a", 2), constant("s/b", 2)], selection=selection).success
    assert seen(pipeline_database, "full_s.a", "full_s.b") == [2, 1]


def test_steps_read_what_their_run_has_staged(world: World, pipeline_database: sa.Engine) -> None:
    def as_frame(a: pd.DataFrame) -> pd.DataFrame:
        return a

    def as_reference(a: sa.Table) -> Any:
        return sa.select(a)

    def as_text() -> Any:
        return sa.text("SELECT v FROM full_s.a")

    def things(value: int) -> list[dg.AssetsDefinition]:
        return [
            constant("s/a", value),
            asset("t/frame", as_frame, "s/a"),
            asset("t/reference", as_reference, "s/a"),
            asset("t/text", as_text, version=str(value), deps=[dg.AssetKey(["s", "a"])]),
            failing("s/z", version=str(value)) if value == 2 else constant("s/z", value),
        ]

    names = ("frame", "reference", "text")
    assert world.made(lambda: things(1)).success
    assert not world.made(lambda: things(2)).success
    assert seen(pipeline_database, *(f"full_t__staging.{name}" for name in names)) == [2, 2, 2]
    assert seen(pipeline_database, *(f"full_t.{name}" for name in names)) == [1, 1, 1]
    world.made(lambda: things(3))
    assert seen(pipeline_database, *(f"full_t.{name}" for name in names)) == [3, 3, 3]
    assert rows(pipeline_database, "SELECT * FROM full_catalog.staged") == []


def test_what_a_step_made_twice_is_committed_once(
    world: World, pipeline_database: sa.Engine
) -> None:
    attempts: list[int] = []

    def second_time() -> Any:
        attempts.append(1)
        yield dg.Output(pd.DataFrame({"v": [len(attempts)]}))
        if len(attempts) < 2:
            raise dg.RetryRequested

    run = world.made(lambda: [asset("s/a", second_time), constant("s/b", 1)])
    assert run.success
    assert seen(pipeline_database, "full_s.a", "full_s.b") == [2, 1]


@pytest.mark.parametrize("kind", ["blob", "table"])
def test_blobs_commit_with_the_tables_of_their_stage(
    world: World, pipeline_database: sa.Engine, kind: str
) -> None:
    first, second = ("blob", "table") if kind == "blob" else ("table", "blob")

    def things(what: str, value: int, *, fails: bool) -> Any:
        def make() -> Any:
            return {"v": value} if what == "blob" else pd.DataFrame({"v": [value]})

        return [
            asset("s/a", make, version=str(value)),
            failing("s/b", version=str(value)) if fails else constant("s/b", value),
        ]

    def committed() -> list[Any]:
        return rows(pipeline_database, "SELECT kind FROM full_catalog.tables WHERE name = 'a'")

    assert world.made(lambda: things(first, 1, fails=False)).success
    assert not world.made(lambda: things(second, 2, fails=True)).success
    assert committed() == [(first,)]
    assert world.made(lambda: things(second, 2, fails=False)).success
    assert committed() == [(second,)]
    there = rows(pipeline_database, "SELECT to_regclass('full_s.a') IS NOT NULL")
    assert there == [(second == "table",)]


def test_a_table_that_somebody_dropped_is_built_again(
    world: World, pipeline_database: sa.Engine
) -> None:
    assert world.made(lambda: [constant("s/a", 1), constant("s/b", 1)]).success
    execute(pipeline_database, "DROP TABLE full_s.a")
    assert world.made(lambda: [constant("s/a", 1), constant("s/b", 1)]).success
    assert world.calls == {"s/a": 1}
    assert seen(pipeline_database, "full_s.a", "full_s.b") == [1, 1]
