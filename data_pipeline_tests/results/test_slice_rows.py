"""What a slice returns: rows of the slice, in the columns of its table; all else is refused."""

import datetime as dt
import re
from collections.abc import Callable
from typing import Any

import dagster as dg
import pandas as pd
import pytest
import sqlalchemy as sa

from data_pipeline import INSTANCE_PARTITIONS, Stage, View, instance_resources
from data_pipeline_tests.io_manager.runs import execute, rows

START = dt.datetime(2026, 1, 1, 5)


def by(**dimensions: Any) -> dg.MultiPartitionsDefinition:
    return dg.MultiPartitionsDefinition({"instance": INSTANCE_PARTITIONS, **dimensions})


DAYS = by(day=dg.DailyPartitionsDefinition("2026-01-01"))
HOURS = by(hour=dg.HourlyPartitionsDefinition("2026-01-01-00:00", timezone="Europe/Berlin"))
ZONES = by(zone=dg.StaticPartitionsDefinition(["a", "b"]))


def slice_of(partitions: Any, key: str, make: Callable[[], Any], **options: Any) -> Any:
    """Build one slice of the table `s/t` in instance full; raise what is wrong with it."""

    @Stage("s").table(partitions_def=partitions, **options)
    def t() -> Any:
        return make()

    names = sorted(item.name for item in partitions.partitions_defs)
    parts = {"instance": "full"} | {name: key for name in names if name != "instance"}
    try:
        return dg.materialize(
            [t], partition_key=dg.MultiPartitionKey(parts), resources=instance_resources("full")
        )
    except dg.DagsterError as error:
        raise (error.__cause__ or error) from None


def days(*found: str, **columns: Any) -> Callable[[], pd.DataFrame]:
    values = {"day": [dt.date.fromisoformat(day) for day in found], "v": list(range(len(found)))}
    return lambda: pd.DataFrame({**values, **columns})


def test_rows_of_another_slice_are_refused(pipeline_database: sa.Engine) -> None:
    slice_of(DAYS, "2026-01-01", days("2026-01-01"))
    found = r"has 1 row\(s\) that belong to another one: `day` is 2026-01-03, but is to be from"
    with pytest.raises(Exception, match=found):
        slice_of(DAYS, "2026-01-02", days("2026-01-02", "2026-01-03"))
    with pytest.raises(Exception, match="`day` is NULL"):
        slice_of(DAYS, "2026-01-02", lambda: sa.text("SELECT NULL::date AS day, 1::bigint AS v"))
    assert rows(pipeline_database, "SELECT count(*) FROM full_s.t") == [(1,)]


def test_a_slice_without_its_column_is_refused(pipeline_database: sa.Engine) -> None:
    with pytest.raises(Exception, match=r"has no column `day`.*it has `v`.*partition_expr"):
        slice_of(DAYS, "2026-01-01", lambda: pd.DataFrame({"v": [1]}))


def test_the_column_may_have_another_name(pipeline_database: sa.Engine) -> None:
    made = days("2026-01-01")
    for said in ("at", {"day": "at"}):
        slice_of(
            DAYS,
            "2026-01-01",
            lambda made=made: made().rename(columns={"day": "at"}),
            metadata={"partition_expr": said},
        )
    cut = "SELECT pg_get_partkeydef('full_s.t'::regclass)"
    assert rows(pipeline_database, cut) == [("RANGE (at)",)]


def test_hours_are_cut_by_time_in_their_time_zone(pipeline_database: sa.Engine) -> None:
    def hour(at: str) -> Callable[[], Any]:
        return lambda: sa.text(f"SELECT TIMESTAMPTZ '{at}' AS hour")

    slice_of(HOURS, "2026-01-01-05:00", hour("2026-01-01 05:30+01"))
    slice_of(HOURS, "2026-01-01-06:00", hour("2026-01-01 05:00+00"))
    with pytest.raises(Exception, match="belong to another one"):
        slice_of(HOURS, "2026-01-01-07:00", hour("2026-01-01 07:00+00"))
    assert rows(pipeline_database, "SELECT count(*) FROM full_s.t") == [(2,)]
    execute(pipeline_database, "DROP TABLE full_s.t")
    with pytest.raises(Exception, match="is of type date, which does not tell slices of less"):
        slice_of(HOURS, "2026-01-01-05:00", lambda: sa.text("SELECT DATE '2026-01-01' AS hour"))


def test_keys_are_values_of_any_type(pipeline_database: sa.Engine) -> None:
    slice_of(ZONES, "a", lambda: pd.DataFrame({"zone": ["a"]}))
    slice_of(ZONES, "b", lambda: pd.DataFrame({"zone": ["b", "b"]}))
    assert rows(pipeline_database, "SELECT count(*) FROM full_s.t") == [(3,)]
    with pytest.raises(Exception, match=r"'b' is no value of column `zone` \(bigint\)"):
        slice_of(ZONES, "b", lambda: pd.DataFrame({"zone": [1]}))


def test_other_columns_than_the_other_slices_have_are_refused(
    pipeline_database: sa.Engine,
) -> None:
    slice_of(DAYS, "2026-01-01", days("2026-01-01"))
    with pytest.raises(
        Exception, match=r"(?s)has a column `w`, which they have not.*drop full --table s/t"
    ):
        slice_of(DAYS, "2026-01-02", days("2026-01-02", w=1))
    with pytest.raises(Exception, match="has no column `v`"):
        slice_of(DAYS, "2026-01-02", lambda: days("2026-01-02")()[["day"]])
    with pytest.raises(Exception, match=r"has the key \(day\), not \(\)"):
        slice_of(DAYS, "2026-01-02", days("2026-01-02"), primary_key="day")
    execute(pipeline_database, "DROP TABLE full_s.t")
    slice_of(DAYS, "2026-01-02", days("2026-01-02", w=1), primary_key="day")
    assert rows(pipeline_database, "SELECT w FROM full_s.t") == [(1,)]


@pytest.mark.parametrize(
    ("partitions", "column", "keys", "said"),
    [
        (DAYS, "day", ["2026-01-09", "2026-01-10", "2026-01-12"], "2026-01-09..2026-01-10,{}"),
        (ZONES, "zone", ["b", "a"], "a,b"),
    ],
)
def test_to_change_columns_all_slices_of_the_table_are_named(
    pipeline_database: sa.Engine, partitions: Any, column: str, keys: list[str], said: str
) -> None:
    kind = "date" if column == "day" else "text"
    for key in keys[:-1]:
        query = sa.text(f"SELECT {kind} '{key}' AS {column}")
        slice_of(partitions, key, lambda query=query: query)
    other = sa.text(f"SELECT {kind} '{keys[-1]}' AS {column}, 1 AS w")
    build = re.escape(f"full --slices {said.format(keys[-1])}")
    with pytest.raises(Exception, match=f"{build}\n.*drop full --table s/t\n.*{build}$"):
        slice_of(partitions, keys[-1], lambda: other)


def test_while_no_other_slice_has_rows_columns_may_change(pipeline_database: sa.Engine) -> None:
    slice_of(DAYS, "2026-01-01", lambda: days()())
    execute(pipeline_database, "GRANT SELECT ON full_s.t TO PUBLIC")
    slice_of(DAYS, "2026-01-02", days("2026-01-02"))
    slice_of(DAYS, "2026-01-02", days("2026-01-02", w="x"), primary_key="day")
    assert rows(pipeline_database, "SELECT * FROM full_s.t") == [(dt.date(2026, 1, 2), 0, "x")]
    key = "SELECT count(*) FROM pg_constraint WHERE conrelid = 'full_s.t'::regclass"
    assert rows(pipeline_database, f"{key} AND contype = 'p'") == [(1,)]


def test_objects_and_views_are_no_slices(pipeline_database: sa.Engine) -> None:
    with pytest.raises(Exception, match=r"has slices, and returned a builtins\.dict"):
        slice_of(DAYS, "2026-01-01", lambda: {"a": 1})
    with pytest.raises(Exception, match=r"has slices, and returned a .*View"):
        slice_of(DAYS, "2026-01-01", lambda: View(sa.text("SELECT DATE '2026-01-01' AS day")))
