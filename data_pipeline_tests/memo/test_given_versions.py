"""What follows a result runs again exactly when the version changes that its code gave it."""

from collections.abc import Callable
from typing import Any

import dagster as dg
import pandas as pd
import pytest
import sqlalchemy as sa

from data_pipeline import sql_query
from data_pipeline_tests.io_manager.runs import rows
from data_pipeline_tests.memo.jobs import called
from data_pipeline_tests.memo.stages import asset
from data_pipeline_tests.memo.world import World

MAKERS: dict[str, Callable[[str], Any]] = {
    "frame": lambda code: pd.DataFrame({"v": [code]}),
    "same frame": lambda _: pd.DataFrame({"v": ["x"]}),
    "query": lambda code: sql_query(f"SELECT '{code}' AS v"),
    "same query": lambda _: sql_query("SELECT 'x' AS v"),
    "blob": lambda code: {"v": code},
}


@pytest.mark.parametrize("kind", MAKERS)
def test_what_follows_runs_when_it_changes_and_only_then(
    world: World, pipeline_database: sa.Engine, kind: str
) -> None:
    def steps(code: str, version: str) -> set[str]:
        def first() -> Any:
            return dg.MaterializeResult(
                value=MAKERS[kind](code), data_version=dg.DataVersion(version)
            )

        def after(first: Any) -> Any:
            called("after")
            return {"seen": 1}

        things = [asset("s/first", first, version=code), asset("t/after", after, "s/first")]
        run = world.made(lambda: things)
        assert run.success
        assert rows(
            pipeline_database, "SELECT data_version FROM full_catalog.tables WHERE name = 'first'"
        ) == [(version,)]
        return run.steps

    assert steps("1", "a") == {"s__first", "t__after"}
    assert steps("1", "a") == set()
    assert steps("2", "a") == {"s__first"}
    assert steps("3", "b") == {"s__first", "t__after"}
    assert steps("3", "b") == set()
    # The version before lies in its slot with the data version that it had, and what was made
    # of that too.
    assert steps("2", "a") == set()
    assert steps("4", "b") == {"s__first"}
