"""Slices of other days or columns than those of the table: said early, and never a mix."""

import datetime as dt
from typing import Any

import dagster as dg
import pandas as pd
import pytest
import sqlalchemy as sa
from click.testing import CliRunner

from data_pipeline import INSTANCE_PARTITIONS, Stage
from data_pipeline.cli import main
from data_pipeline_tests.io_manager.runs import rows
from data_pipeline_tests.memo.jobs import called
from data_pipeline_tests.memo.world import Run, World


def by(**dimensions: Any) -> dg.MultiPartitionsDefinition:
    return dg.MultiPartitionsDefinition({"instance": INSTANCE_PARTITIONS, **dimensions})


DAYS = by(day=dg.DailyPartitionsDefinition("2026-01-01"))
WEEKS = by(day=dg.WeeklyPartitionsDefinition("2026-01-04"))
BERLIN = by(day=dg.DailyPartitionsDefinition("2026-01-01", timezone="Europe/Berlin"))
ZONES = by(zone=dg.StaticPartitionsDefinition(["a"]))
DROP = "drop full --table s/t"


class Table:
    """`s/t`, of which a test says the partitions, the type of the column and another column."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.partitions: Any = DAYS
        self.column = "date"
        self.code = "1"
        self.more: dict[str, Any] = {}

    def assets(self) -> list[Any]:
        @Stage("s").table(partitions_def=self.partitions, code_version=self.code)
        def t(context: dg.AssetExecutionContext) -> Any:
            called("t")
            if self.partitions in (ZONES, INSTANCE_PARTITIONS):
                return pd.DataFrame({"zone": ["a"], **self.more})
            at = context.partition_time_window.start
            value: Any = at.date() if self.column == "date" else at
            value = str(at.date()) if self.column == "text" else value
            return pd.DataFrame({"day": [value], **self.more})

        return [t]

    def build(self, key: str, job: str = "by_day") -> Run:
        return self.world.made(self.assets, job, tags={"dagster/partition": key})

    def refused(self, key: str, job: str = "by_day") -> str:
        """Run what is to be refused before the first step; return why."""
        run = self.build(key, job)
        assert not run.success
        assert not self.world.calls
        assert "Nothing was run: " in run.failure
        assert DROP in run.failure
        assert "What would run, and why:\ns__t: " in run.failure
        return run.failure


@pytest.fixture
def table(world: World, pipeline_database: sa.Engine) -> Table:
    return Table(world)


@pytest.mark.parametrize("column", ["date", "time", "text"])
def test_weeks_do_not_go_where_days_are(table: Table, column: str) -> None:
    table.column = column
    for day in (4, 5, 6):
        assert table.build(f"2026-01-{day:02}|full").success
    table.partitions = WEEKS
    said = "the times of `s/t@2026-01-04` overlap those of `s/t@2026-01-05`, `s/t@2026-01-06`"
    assert said in table.refused("2026-01-04|full")
    assert table.build("2026-01-11|full").success  # no day of it is there
    table.partitions = DAYS
    assert "overlap those of `s/t@2026-01-11`" in table.refused("2026-01-12|full")
    assert not table.build("2026-01-05|full").steps


def test_days_of_another_time_zone_are_the_same_dates(
    table: Table, pipeline_database: sa.Engine
) -> None:
    for zone in (DAYS, BERLIN):
        table.partitions = zone
        for day in (1, 2):
            assert "s__t" in table.build(f"2026-01-{day:02}|full").steps
    assert rows(pipeline_database, "SELECT count(*) FROM full_s.t") == [(2,)]


def test_times_of_another_time_zone_overlap(table: Table) -> None:
    table.column = "time"
    for day in (1, 2):
        assert table.build(f"2026-01-{day:02}|full").success
    table.partitions = BERLIN
    assert "`s/t@2026-01-02` overlap those of `s/t@2026-01-01`" in table.refused("2026-01-02|full")


def test_another_dimension_and_none_are_refused(table: Table, pipeline_database: sa.Engine) -> None:
    assert table.build("2026-01-01|full").success
    table.partitions = ZONES
    said = "full_s.t is cut by `day`, and `s/t@a` by `zone`"
    assert said in table.refused("full|a", "by_zone")
    table.partitions = INSTANCE_PARTITIONS
    assert "`s/t` has no slices any more, and full_s.t has some" in table.refused("full", "full")
    dropped("s/t")
    assert table.build("full", "full").success
    table.partitions = DAYS
    said = "`s/t` has slices now, and full_s.t is a relation without"
    assert said in table.refused("2026-01-01|full")
    assert rows(pipeline_database, "SELECT * FROM full_s.t") == [("a",)]


def test_slices_with_other_columns_are_kept_until_the_table_is_dropped(
    table: Table, pipeline_database: sa.Engine
) -> None:
    for day in (1, 2):
        assert table.build(f"2026-01-{day:02}|full").success
    table.code, table.more = "2", {"w": ["x"]}
    for day in (1, 2):
        run = table.build(f"2026-01-{day:02}|full")
        assert not run.success
        [said] = [
            str(event.step_failure_data.error.cause.message)
            for event in run.events
            if event.event_type is dg.DagsterEventType.STEP_FAILURE
        ]
        assert f"Slice `s/t@2026-01-{day:02}` does not fit the other slices" in said
        assert "it has a column `w`, which they have not" in said
        commands = [line.partition("full ")[2] for line in said.splitlines()[1:]]
        all_slices = "--slices 2026-01-01..2026-01-02"
        assert commands == [all_slices, "--table s/t", all_slices]
        # A backfill counts what was materialized.
        kinds = {event.event_type for event in run.events}
        assert dg.DagsterEventType.ASSET_MATERIALIZATION not in kinds
        assert table.world.calls == {"t": 1}
    first, second = dt.date(2026, 1, 1), dt.date(2026, 1, 2)
    query = "SELECT * FROM full_s.t ORDER BY 1"
    assert rows(pipeline_database, query) == [(first,), (second,)]
    dropped("s/t")
    for day in (1, 2):
        run = table.build(f"2026-01-{day:02}|full")
        assert run.success
        assert not table.world.calls
    assert rows(pipeline_database, query) == [(first, "x"), (second, "x")]
    assert not table.build("2026-01-01|full").steps


def test_who_goes_back_to_the_earlier_columns_has_nothing_to_do(
    table: Table, pipeline_database: sa.Engine
) -> None:
    for day in (1, 2):
        assert table.build(f"2026-01-{day:02}|full").success
    table.code, table.more = "2", {"w": ["x"]}
    assert not table.build("2026-01-01|full").success
    table.code, table.more = "1", {}
    assert not table.build("2026-01-01|full").steps
    table.code = "3"
    assert table.build("2026-01-01|full").success
    assert table.world.calls == {"t": 1}
    query = "SELECT count(*) FROM pg_class WHERE relnamespace = 'full_s__staging'::regnamespace"
    assert rows(pipeline_database, query) == [(0,)]


def dropped(table: str) -> None:
    arguments = ["drop", "-m", "data_pipeline_tests.launch.sliced", "full", "--table", table]
    result = CliRunner().invoke(main, [*arguments, "--yes"])
    assert result.exit_code == 0, result.output
