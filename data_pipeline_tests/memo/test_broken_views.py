"""What becomes of users' views that do not fit a new table is configured: `on_broken_view`."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import sqlalchemy as sa

from data_pipeline_tests.io_manager.runs import execute, rows
from data_pipeline_tests.memo.settings import table_store
from data_pipeline_tests.memo.stages import asset, constant
from data_pipeline_tests.memo.world import World


def things(version: int, column: str) -> Any:
    return [
        asset("s/a", lambda: pd.DataFrame({column: [version]}), version=str(version)),
        constant("s/b", version),
        constant("t/c", version),
    ]


def test_the_commit_fails_by_default_and_names_view_and_column(
    world: World, pipeline_database: sa.Engine
) -> None:
    assert world.made(lambda: things(1, "v")).success
    execute(pipeline_database, "CREATE VIEW public.mine AS SELECT v FROM full_s.a")
    run = world.made(lambda: things(2, "w"))
    assert not run.success
    assert "View public.mine does not fit the new columns: column full_s.a.v is gone" in run.failure
    assert rows(pipeline_database, "SELECT a.v, b.v FROM full_s.a, full_s.b, public.mine") == [
        (1, 1)
    ]
    assert rows(pipeline_database, "SELECT v FROM full_t.c") == [(2,)]
    # When the view is gone, the next run commits what is staged.
    execute(pipeline_database, "DROP VIEW public.mine")
    assert world.made(lambda: things(2, "w")).success
    assert not world.calls
    assert rows(pipeline_database, "SELECT w FROM full_s.a") == [(2,)]


def test_the_view_is_dropped_where_that_is_configured(
    world: World, pipeline_database: sa.Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert world.made(lambda: things(1, "v")).success
    execute(
        pipeline_database,
        "CREATE VIEW public.mine AS SELECT v FROM full_s.a",
        "CREATE VIEW public.fine AS SELECT v FROM full_s.b",
    )
    table_store("on_broken_view: drop", tmp_path, monkeypatch)
    run = world.made(lambda: things(2, "w"))
    assert run.success
    assert "Dropped with the commit of stage `s` (`on_broken_view: drop`): " in run.log
    assert "iew public.mine" in run.log
    assert rows(pipeline_database, "SELECT w, v FROM full_s.a, public.fine") == [(2, 2)]
    assert rows(pipeline_database, "SELECT to_regclass('public.mine')") == [(None,)]
