"""`--slices` of `run`, `plan` and `gc`, and how other commands show tables with slices."""

from collections.abc import Callable

import dagster as dg
import pytest
import sqlalchemy as sa
from click.testing import CliRunner

from data_pipeline import (
    INSTANCE_PARTITIONS,
    Stage,
    copy_filtered_inputs,
    instance_definitions,
    instance_resources,
    sql_query,
)
from data_pipeline.cli import main
from data_pipeline_tests.io_manager.runs import rows
from data_pipeline_tests.launch import sliced

SOLD = "SELECT day::text, sold FROM full_sliced_daily.turnover ORDER BY 1"


@pytest.fixture(autouse=True)
def _own_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path_factory.mktemp("dagster")))


def command(*words: str, code: int = 0) -> str:
    """Run a command on the project `launch/sliced.py`."""
    arguments = [words[0], "-m", "data_pipeline_tests.launch.sliced", *words[1:]]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == code, result.output
    return result.output


def test_slices_are_run_one_after_the_other(pipeline_database: sa.Engine) -> None:
    said = command("run", "full", "--slices", "2026-01-02..2026-01-04,2026-01-30")
    assert "full 2026-01-03 (by_day)" in said
    assert "What reads all slices: data-pipeline" in said
    assert rows(pipeline_database, SOLD) == [(f"2026-01-{d:02}", d) for d in (2, 3, 4, 30)]
    planned = command("plan", "full", "--slices", "day=2026-01-04..2026-01-05")
    assert "sliced_daily__turnover: `sliced_daily/turnover@2026-01-04` unchanged since" in planned
    assert "sliced_raw__sales: not built yet" in planned
    assert "Left out `sliced_daily/turnover` (job `by_day`)" in command("plan", "full")
    assert "sliced_total__everything" in command("run", "full")
    listed = command("instances", "full")
    assert "4 slices" in listed
    assert "@" not in listed
    assert command("diff", "full", "full")
    command("drop", "full", "--yes")
    assert "full_sliced_daily" not in sa.inspect(pipeline_database).get_schema_names()


def test_slices_behind_a_copy_are_run_when_it_is_there(
    pipeline_database: sa.Engine, define: Callable[[dg.Definitions], None]
) -> None:
    copied = Stage("sliced_copied", reads="sliced_inputs", partitions_def=sliced.DAYS)

    @copied.table
    def kept(context: dg.AssetExecutionContext, sales: sa.Table) -> sa.TextClause:
        day = context.partition_time_window.start.date()
        return sql_query(f"SELECT * FROM {{sales}} WHERE day = '{day}'", sales=sales)

    copy = copy_filtered_inputs(stage="sliced_inputs", raw=[sliced.sales])
    define(instance_definitions([sliced.sales, copy, kept]))
    chosen = ["run", "full", "mini", "--slices", "2026-01-02"]
    result = CliRunner().invoke(main, chosen)
    assert result.exit_code == 0, result.output
    assert rows(pipeline_database, "SELECT count(*) FROM full_sliced_copied.kept") == [(2,)]
    assert rows(pipeline_database, "SELECT count(*) FROM mini_sliced_copied.kept") == [(1,)]
    assert "mini 2026-01-02 (by_day)" not in result.output


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ("2026-02-01", "`day` has no slice `2026-02-01`. They go from `2026-01-01` to"),
        ("2026-01-05..2026-01-04", "`2026-01-05` comes after `2026-01-04`"),
        ("zone=a", "`day` has no slice `zone=a`"),
    ],
)
def test_slices_that_there_are_not_are_refused(
    pipeline_database: sa.Engine, said: str, message: str
) -> None:
    assert message in command("run", "full", "--slices", said, code=1)


def test_slices_whose_keys_are_gone_are_dropped(pipeline_database: sa.Engine) -> None:
    later = dg.MultiPartitionsDefinition(
        {"instance": INSTANCE_PARTITIONS, "day": dg.DailyPartitionsDefinition("2026-02-01")}
    )

    @Stage("sliced_daily").table(partitions_def=later, primary_key="day")
    def turnover() -> sa.TextClause:
        return sql_query("SELECT DATE '2026-02-01' AS day, 7::bigint AS sold")

    command("run", "full", "--slices", "2026-01-01")
    key = dg.MultiPartitionKey({"instance": "full", "day": "2026-02-01"})
    dg.materialize([turnover], partition_key=key, resources=instance_resources("full"))
    command("run", "full")
    assert "turnover@2026-02-01" in command("gc", "full", "--slices")
    assert len(rows(pipeline_database, SOLD)) == 2
    assert "Dropped." in command("gc", "full", "--slices", "--yes")
    assert rows(pipeline_database, SOLD) == [("2026-01-01", 1)]
    assert "no slices to drop" in command("gc", "full", "--slices")
    assert "sliced_total/everything" in command("run", "full")
    assert rows(pipeline_database, "SELECT sold FROM full_sliced_total.everything") == [(1,)]
