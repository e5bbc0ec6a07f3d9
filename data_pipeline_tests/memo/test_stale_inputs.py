"""What was computed from inputs that others replaced meanwhile is not up to date."""

from collections.abc import Callable
from typing import Any

import dagster as dg
import pandas as pd
import sqlalchemy as sa

from data_pipeline.store.table_properties import View
from data_pipeline_tests.io_manager.runs import rows, write
from data_pipeline_tests.memo.jobs import called
from data_pipeline_tests.memo.stages import asset, constant
from data_pipeline_tests.memo.world import World

ONLY_B = [dg.AssetKey(["t", "b"])]


class Meanwhile:
    """Something that another run does once, in the middle of a step."""

    def __init__(self, action: Callable[[], None]) -> None:
        self._action: Callable[[], None] | None = action

    def happens(self) -> None:
        action, self._action = self._action, None
        if action is not None:
            action()


def replaced() -> None:
    """Commits another `s/a`."""
    write("a", pd.DataFrame({"v": [2]}), run_id="other")


def b(engine: sa.Engine) -> list[Any]:
    return rows(engine, "SELECT v FROM full_t.b")


def test_a_step_that_read_by_itself_runs_again(world: World, pipeline_database: sa.Engine) -> None:
    # It names its input in SQL of its own, so that nobody keeps the input from being replaced.
    meanwhile = Meanwhile(replaced)

    def read() -> pd.DataFrame:
        called("b")
        found = rows(pipeline_database, "SELECT v FROM full_s.a")
        meanwhile.happens()
        return pd.DataFrame(found, columns=["v"])

    def things() -> list[Any]:
        return [constant("s/a", 1), asset("t/b", read, deps=[dg.AssetKey(["s", "a"])])]

    assert world.made(lambda: [constant("s/a", 1)]).success
    assert world.made(things, selection=ONLY_B).success
    assert b(pipeline_database) == [(1,)]
    assert world.made(things, selection=ONLY_B).success
    assert world.calls == {"b": 1}
    assert b(pipeline_database) == [(2,)]
    assert world.made(things, selection=ONLY_B).steps == set()


def test_a_step_that_read_before_the_commit_of_its_stage_runs_again(
    world: World, pipeline_database: sa.Engine
) -> None:
    # The input is replaced between the step and the commit of the stage, by a later step's doing.
    meanwhile = Meanwhile(replaced)

    def read(a: pd.DataFrame) -> pd.DataFrame:
        called("b")
        return a

    def last(b: pd.DataFrame) -> pd.DataFrame:
        meanwhile.happens()
        return b

    def things() -> list[Any]:
        return [constant("s/a", 1), asset("t/b", read, "s/a"), asset("t/c", last, "t/b")]

    selection = [*ONLY_B, dg.AssetKey(["t", "c"])]
    assert world.made(lambda: [constant("s/a", 1)]).success
    assert world.made(things, selection=selection).success
    assert b(pipeline_database) == [(1,)]
    assert world.made(things, selection=selection).success
    assert world.calls == {"b": 1}
    assert b(pipeline_database) == [(2,)]


def test_a_query_view_shows_what_replaced_its_input(
    world: World, pipeline_database: sa.Engine
) -> None:
    meanwhile = Meanwhile(replaced)

    def view(a: sa.Table) -> Any:
        return View(sa.select((a.c.v * 10).label("v")))

    def last(b: pd.DataFrame) -> pd.DataFrame:
        called("c")
        meanwhile.happens()
        return b

    def things() -> list[Any]:
        return [constant("s/a", 1), asset("t/b", view, "s/a"), asset("u/c", last, "t/b")]

    selection = [*ONLY_B, dg.AssetKey(["u", "c"])]
    assert world.made(lambda: [constant("s/a", 1)]).success
    assert world.made(things, selection=selection).success
    assert b(pipeline_database) == [(20,)]
    # What was computed from the view as it was is computed again.
    assert world.made(things, selection=selection).success
    assert world.calls == {"c": 1}
    assert rows(pipeline_database, "SELECT v FROM full_u.c") == [(20,)]


def test_an_instance_that_reads_another_one_notices_too(
    world: World, pipeline_database: sa.Engine
) -> None:
    meanwhile = Meanwhile(lambda: write("a", pd.DataFrame({"v": [2]}), run_id="other"))
    to_full = dg.StaticPartitionMapping({"full": ["full", "midi", "mini"]})

    def read() -> pd.DataFrame:
        called("b")
        found = rows(pipeline_database, "SELECT v FROM full_s.a")
        meanwhile.happens()
        return pd.DataFrame(found, columns=["v"])

    def things() -> list[Any]:
        dep = dg.AssetDep(dg.AssetKey(["s", "a"]), partition_mapping=to_full)
        return [constant("s/a", 1), asset("t/b", read, deps=[dep])]

    assert world.made(lambda: [constant("s/a", 1)]).success
    assert world.made(things, "mini", selection=ONLY_B).success
    assert world.made(things, "mini", selection=ONLY_B).success
    assert world.calls == {"b": 1}
    assert rows(pipeline_database, "SELECT v FROM mini_t.b") == [(2,)]
