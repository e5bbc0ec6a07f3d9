"""`--slices` of `run`, `plan` and `gc`, and how other commands show tables with slices."""

from collections.abc import Callable
from pathlib import Path

import dagster as dg
import pytest
import sqlalchemy as sa
from click.testing import CliRunner

from data_pipeline import (
    INSTANCE_PARTITIONS,
    InstanceResource,
    Stage,
    copy_filtered_inputs,
    instance_definitions,
    instance_resources,
    sql_query,
)
from data_pipeline.cli import main
from data_pipeline_tests.io_manager.runs import execute, rows
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


def test_the_other_slices_are_run_when_one_fails(
    pipeline_database: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLICED_BROKEN", "2026-01-02 2026-01-03 2026-01-05")
    said = command("run", "full", "mini", "--slices", "2026-01-01..2026-01-05", code=1)
    assert rows(pipeline_database, SOLD) == [("2026-01-01", 1), ("2026-01-04", 4)]
    assert "Not made of instance `full`: 2026-01-02..2026-01-03,2026-01-05; see above." in said
    module = "-m data_pipeline_tests.launch.sliced"
    again = f"data-pipeline {module} run full --slices 2026-01-02..2026-01-03,2026-01-05\n"
    rest = f"data-pipeline {module} run mini --slices 2026-01-01..2026-01-05\n"
    assert said.endswith(f"Go on:\n{again}{rest}")
    monkeypatch.delenv("SLICED_BROKEN")
    command("run", "full", "--slices", "2026-01-02..2026-01-03,2026-01-05")
    assert len(rows(pipeline_database, SOLD)) == 5


def test_the_other_slices_are_run_when_one_cannot_be_committed(
    pipeline_database: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    command("run", "full", "--slices", "2026-01-01..2026-01-03")
    check = "ALTER TABLE full_sliced_daily.turnover ADD CHECK (sold <> 4)"
    execute(pipeline_database, check)
    monkeypatch.setenv("SLICED_FACTOR", "2")
    said = command("run", "full", "--slices", "2026-01-01..2026-01-03", code=1)
    assert rows(pipeline_database, SOLD) == [
        (f"2026-01-0{d}", n) for d, n in ((1, 2), (2, 2), (3, 6))
    ]
    assert "Not made of instance `full`: 2026-01-02; see above." in said


def test_no_other_slice_is_run_after_an_interrupt(
    pipeline_database: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLICED_BROKEN", "2026-01-02!")
    said = command("run", "full", "--fresh", "--slices", "2026-01-01..2026-01-04", code=1)
    assert rows(pipeline_database, SOLD) == [("2026-01-01", 1)]
    assert "full 2026-01-03" not in said
    assert said.endswith("run full --fresh --slices 2026-01-02..2026-01-04\n")


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
        (
            "2026-02-01",
            "`day` has no slice `2026-02-01`. They go from `2026-01-01` to `2026-01-30`; one is",
        ),
        ("2026-01-05..2026-01-04", "`2026-01-05` comes after `2026-01-04`"),
        ("zone=a", "`day` has no slice `zone=a`"),
    ],
)
def test_slices_that_there_are_not_are_refused(
    pipeline_database: sa.Engine, said: str, message: str
) -> None:
    assert message in command("run", "full", "--slices", said, code=1)


def test_of_slices_that_are_no_times_the_close_ones_are_named(
    pipeline_database: sa.Engine, define: Callable[[dg.Definitions], None]
) -> None:
    keys = dg.StaticPartitionsDefinition(["north", "south"])
    zones = dg.MultiPartitionsDefinition({"instance": INSTANCE_PARTITIONS, "zone": keys})

    @Stage("s").table(partitions_def=zones)
    def t() -> sa.TextClause:
        return sql_query("SELECT 'north' AS zone")

    define(instance_definitions([t]))
    result = CliRunner().invoke(main, ["run", "full", "--slices", "nort"])
    assert "no slice `nort`. Did you mean 'north'? Known here: 'north', 'south'." in result.output
    assert result.exit_code == 1


def test_slices_by_dynamic_partitions_stay_where_no_key_is_known(
    pipeline_database: sa.Engine,
    define: Callable[[dg.Definitions], None],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    keys = dg.DynamicPartitionsDefinition(name="zones")
    zones = dg.MultiPartitionsDefinition({"instance": INSTANCE_PARTITIONS, "zone": keys})

    @Stage("s").table(partitions_def=zones)
    def t(instance: InstanceResource) -> sa.TextClause:
        return sql_query(f"SELECT '{instance.slice}' AS zone")

    def said(*words: str) -> str:
        result = CliRunner().invoke(main, list(words))
        assert result.exit_code == 0, result.output
        return result.output

    define(instance_definitions([t]))
    with dg.DagsterInstance.get() as storage:
        storage.add_dynamic_partitions("zones", ["a", "b"])
    said("run", "full", "--slices", "a,b")
    with monkeypatch.context() as elsewhere:
        elsewhere.setenv("DAGSTER_HOME", str(tmp_path))
        found = said("gc", "full", "--slices", "--yes")
    assert "`s/t` stays, since Dagster's storage has no key of its dynamic partitions" in found
    with dg.DagsterInstance.get() as storage:
        storage.delete_dynamic_partition("zones", "a")
    assert "t@a" in said("gc", "full", "--slices", "--yes")
    assert rows(pipeline_database, "SELECT zone FROM full_s.t") == [("b",)]


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
