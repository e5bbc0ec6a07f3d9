"""`View` of a query: an asset that shows what its inputs are now, and copies nothing."""

from typing import Any

import pandas as pd
import sqlalchemy as sa

from data_pipeline.store.table_properties import View
from data_pipeline_tests.io_manager.runs import rows
from data_pipeline_tests.memo.jobs import called
from data_pipeline_tests.memo.stages import asset, constant, failing
from data_pipeline_tests.memo.world import World

KINDS = """
SELECT n.nspname || '.' || c.relname, c.relkind::text
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relname IN ('view', 'text') ORDER BY 1
"""


def ten_times(a: sa.Table) -> Any:
    called("view")
    return View(sa.select((a.c.v * 10).label("v")))


def in_text() -> Any:
    called("text")
    return View(sa.text("SELECT v * 100 AS v FROM full_s.a -- of full_s.a"))


def reader(view: pd.DataFrame) -> pd.DataFrame:
    called("reader")
    return view


def things(value: int, *more: Any) -> Any:
    return [
        constant("s/a", value),
        asset("s/view", ten_times, "s/a"),
        asset("t/text", in_text, deps=[["s", "a"]]),
        asset("t/reader", reader, "s/view"),
        *more,
    ]


SHOWN = "SELECT x.v, y.v, z.v FROM full_s.view x, full_t.text y, full_t.reader z"


def test_it_shows_what_its_inputs_are_now(world: World, pipeline_database: sa.Engine) -> None:
    assert world.made(lambda: things(1)).success
    assert rows(pipeline_database, KINDS) == [("full_s.view", "v"), ("full_t.text", "v")]
    assert rows(pipeline_database, SHOWN) == [(10, 100, 10)]
    assert world.made(lambda: things(2)).success
    assert rows(pipeline_database, SHOWN) == [(20, 200, 20)]
    # What reads from it notices.
    assert world.calls["reader"] == 1
    assert rows(pipeline_database, KINDS) == [("full_s.view", "v"), ("full_t.text", "v")]


def test_it_is_up_to_date_when_nothing_has_changed(world: World) -> None:
    assert world.made(lambda: things(1)).success
    assert world.made(lambda: things(1)).steps == set()


def test_the_committed_view_does_not_show_what_is_only_staged(
    world: World, pipeline_database: sa.Engine
) -> None:
    assert world.made(lambda: things(1, constant("s/z", 1))).success
    assert not world.made(lambda: things(2, failing("s/z", version="2"))).success
    assert world.calls["reader"] == 1  # and read what the run had staged
    assert rows(pipeline_database, SHOWN) == [(10, 100, 10)]
    assert world.made(lambda: things(2, constant("s/z", 2))).success
    assert rows(pipeline_database, SHOWN) == [(20, 200, 20)]


def test_the_catalog_speaks_of_committed_names(world: World, pipeline_database: sa.Engine) -> None:
    assert world.made(lambda: things(1)).success
    definition = "SELECT pg_get_viewdef('full_t.text'::regclass)"
    assert "staging" not in rows(pipeline_database, definition)[0][0]
    assert world.made(lambda: things(1)).steps == set()
