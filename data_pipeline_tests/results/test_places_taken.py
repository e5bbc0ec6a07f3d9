"""What users have made by hand under the name of an asset is not lost."""

from collections.abc import Callable
from typing import Any

import dagster as dg
import pandas as pd
import pytest
import sqlalchemy as sa

from data_pipeline import INSTANCE_PARTITIONS, Tables
from data_pipeline.store.table_properties import View
from data_pipeline_tests.io_manager.runs import execute, refusal, rows, run, table_asset

MAKERS: dict[str, Callable[[], Any]] = {
    "frame": lambda: pd.DataFrame({"a": [1]}),
    "query": lambda: sa.text("SELECT 1 AS a"),
    "view": lambda: View(sa.text("SELECT 1 AS a")),
    "object": lambda: {"a": 1},
}


@pytest.mark.parametrize("kind", MAKERS)
@pytest.mark.parametrize(
    "theirs", ["TABLE full_s.t AS SELECT 7 AS mine", "VIEW full_s.t AS SELECT 7 AS mine"]
)
def test_it_is_refused_by_name(pipeline_database: sa.Engine, kind: str, theirs: str) -> None:
    execute(pipeline_database, "CREATE SCHEMA full_s", f"CREATE {theirs}")
    error = str(refusal(table_asset("t", MAKERS[kind])))
    assert "`s/t` would take the place of full_s.t, which somebody has made by hand" in error
    assert 'ALTER TABLE "full_s"."t" RENAME TO' in error
    assert rows(pipeline_database, "SELECT mine FROM full_s.t") == [(7,)]
    execute(pipeline_database, "ALTER TABLE full_s.t RENAME TO mine")
    run(table_asset("t", MAKERS[kind]))
    assert rows(pipeline_database, "SELECT mine FROM full_s.mine") == [(7,)]


def test_several_tables_by_name_leave_it(pipeline_database: sa.Engine) -> None:
    execute(pipeline_database, "CREATE SCHEMA full_s", "CREATE TABLE full_s.t AS SELECT 7 AS mine")

    @dg.asset(key=["s", "t"], partitions_def=INSTANCE_PARTITIONS)
    def several() -> Tables:
        return Tables({"u": sa.text("SELECT 1 AS a")})

    run(several)
    assert rows(pipeline_database, "SELECT mine, a FROM full_s.t, full_s.u") == [(7, 1)]


def test_an_empty_table_is_named_and_replaced(
    pipeline_database: sa.Engine, capfd: pytest.CaptureFixture[str]
) -> None:
    execute(pipeline_database, "CREATE SCHEMA full_s", "CREATE TABLE full_s.t (mine int)")
    run(table_asset("t", MAKERS["query"]))
    assert (
        "full_s.t, an empty table that no run has made, will be replaced" in capfd.readouterr().err
    )
    assert rows(pipeline_database, "SELECT a FROM full_s.t") == [(1,)]


def test_what_takes_the_place_of_a_table_that_was_made_is_replaced(
    pipeline_database: sa.Engine,
) -> None:
    run(table_asset("t", MAKERS["query"]))
    execute(pipeline_database, "DROP TABLE full_s.t", "CREATE TABLE full_s.t AS SELECT 7 AS mine")
    run(table_asset("t", MAKERS["query"]))
    assert rows(pipeline_database, "SELECT a FROM full_s.t") == [(1,)]


def test_what_runs_had_made_before_the_catalog_was_lost_is_made_again(
    pipeline_database: sa.Engine, capfd: pytest.CaptureFixture[str]
) -> None:
    assets = [table_asset("t", MAKERS["query"]), table_asset("u", MAKERS["frame"])]
    run(*assets)
    execute(
        pipeline_database,
        "CREATE VIEW on_it AS SELECT a FROM full_s.t",
        "DROP SCHEMA full_catalog CASCADE",
    )
    for asset in assets:
        run(asset)
    said = capfd.readouterr().err
    assert "full_s.t, which the catalog, younger than the stage, does not know" in said
    assert rows(pipeline_database, "SELECT on_it.a, u.a FROM on_it, full_s.u") == [(1, 1)]
