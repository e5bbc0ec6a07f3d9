"""Slices in a commit: swapped in as a whole, beside other runs, and under the eyes of readers."""

import datetime as dt
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread
from typing import Any

import dagster as dg
import pandas as pd
import pytest
import sqlalchemy as sa

from data_pipeline import INSTANCE_PARTITIONS, Stage, instance_resources
from data_pipeline_tests.beginnings import BeginWith
from data_pipeline_tests.io_manager.runs import execute, rows, wait_until

DAYS = dg.MultiPartitionsDefinition(
    {"instance": INSTANCE_PARTITIONS, "day": dg.DailyPartitionsDefinition("2026-01-01")}
)
OF_SLICE = """SELECT 'full_s."t@2026-01-01"'::regclass::oid"""


def build(day: int, *values: int, **options: Any) -> None:
    """Build a slice of `s/t` in instance full."""

    @Stage("s").table(partitions_def=DAYS, **options)
    def t() -> pd.DataFrame:
        return pd.DataFrame({"day": [dt.date(2026, 1, day)] * len(values), "v": list(values)})

    key = dg.MultiPartitionKey({"instance": "full", "day": f"2026-01-{day:02}"})
    dg.materialize([t], partition_key=key, resources=instance_resources("full"))


def values(engine: sa.Engine, relation: str = "full_s.t") -> list[int]:
    return [value for (value,) in rows(engine, f"SELECT v FROM {relation} ORDER BY 1")]


@pytest.fixture
def engine(pipeline_database: sa.Engine, begin_with: BeginWith) -> sa.Engine:
    begin_with(__name__, lambda: (build(1, 10), build(2, 20)))
    return pipeline_database


def test_a_slice_is_another_relation_and_the_others_stay(engine: sa.Engine) -> None:
    first, second = rows(engine, OF_SLICE), rows(engine, OF_SLICE.replace("01-01", "01-02"))
    build(1, 11, 12)
    assert values(engine) == [11, 12, 20]
    assert rows(engine, OF_SLICE) != first
    assert rows(engine, OF_SLICE.replace("01-01", "01-02")) == second
    left = "SELECT conname FROM pg_constraint WHERE contype = 'c' AND conname = 'rows_of_slice'"
    assert rows(engine, left) == []


def test_rows_can_be_replaced_in_place(engine: sa.Engine) -> None:
    before = rows(engine, OF_SLICE)
    build(1, 11, 12, replace="rows")
    assert values(engine) == [11, 12, 20]
    assert rows(engine, OF_SLICE) == before


def test_what_users_have_on_the_table_or_on_a_slice_stays(engine: sa.Engine) -> None:
    execute(
        engine,
        "CREATE INDEX of_table ON full_s.t (v);"
        'CREATE INDEX of_slice ON full_s."t@2026-01-01" (day, v);'
        "CREATE VIEW over_table AS SELECT v FROM full_s.t;"
        'CREATE VIEW over_slice AS SELECT v FROM full_s."t@2026-01-01";'
        "CREATE TABLE allowed (v bigint PRIMARY KEY);"
        "INSERT INTO allowed VALUES (10), (11), (20);"
        "ALTER TABLE full_s.t ADD FOREIGN KEY (v) REFERENCES allowed, ADD CHECK (v > 1);"
        "CREATE FUNCTION noted() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';"
        "CREATE TRIGGER noted AFTER INSERT ON full_s.t FOR EACH ROW EXECUTE FUNCTION noted();"
        'GRANT SELECT ON full_s."t@2026-01-01" TO PUBLIC',
    )
    build(1, 11)
    build(1, 10)
    build(3, 20)
    assert values(engine) == values(engine, "over_table") == [10, 20, 20]
    assert values(engine, "over_slice") == [10]
    indexes = "SELECT count(*) FROM pg_index WHERE indrelid = 'full_s.\"t@2026-01-01\"'::regclass"
    assert rows(engine, indexes) == [(2,)]
    keys = """SELECT count(*) FROM pg_constraint WHERE contype = 'f' AND conrelid =
        'full_s."t@2026-01-01"'::regclass"""
    assert rows(engine, keys) == [(1,)]
    grants = """SELECT has_table_privilege('pg_monitor', 'full_s."t@2026-01-01"', 'SELECT')"""
    assert rows(engine, grants) == [(True,)]


def test_a_referenced_slice_is_left_as_it_is(pipeline_database: sa.Engine) -> None:
    build(1, 10, primary_key=("day", "v"))
    execute(
        pipeline_database,
        "CREATE TABLE other (day date, v bigint, FOREIGN KEY (day, v) REFERENCES full_s.t);"
        "INSERT INTO other VALUES ('2026-01-01', 10)",
    )
    with pytest.raises(Exception, match="could not be committed"):
        build(1, 11, primary_key=("day", "v"))
    assert values(pipeline_database) == [10]


@contextmanager
def reading(engine: sa.Engine) -> Iterator[sa.Connection]:
    with engine.connect() as connection, connection.begin():
        connection.exec_driver_sql("SELECT * FROM full_s.t")
        yield connection


@pytest.mark.parametrize("day", [1, 3])
def test_who_reads_the_table_sees_it_before_or_after(engine: sa.Engine, day: int) -> None:
    commit = Thread(target=build, args=(day, 99))
    with reading(engine) as connection:
        commit.start()
        waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND mode = 'AccessExclusiveLock'"
        wait_until(lambda: rows(engine, waiting)[0][0] > 0)
        assert [v for (v,) in connection.exec_driver_sql("SELECT v FROM full_s.t")] == [10, 20]
    commit.join()
    assert 99 in values(engine)


def test_runs_build_slices_of_a_table_side_by_side(engine: sa.Engine) -> None:
    threads = [Thread(target=build, args=(day, day * 100)) for day in (1, 2, 3, 4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert values(engine) == [100, 200, 300, 400]
    query = "SELECT row_count FROM full_catalog.tables WHERE name = 't'"
    assert rows(engine, query) == [(4,)]


def test_a_table_that_gets_or_loses_slices_is_refused(engine: sa.Engine) -> None:
    @Stage("s").table
    def t() -> pd.DataFrame:
        return pd.DataFrame({"v": [1]})

    with pytest.raises(Exception, match="has no slices any more, and"):
        dg.materialize([t], partition_key="full", resources=instance_resources("full"))
    assert values(engine) == [10, 20]
    execute(engine, "DROP TABLE full_s.t")
    dg.materialize([t], partition_key="full", resources=instance_resources("full"))
    assert values(engine) == [1]
    with pytest.raises(Exception, match=r"has slices now, and full_s\.t is a relation without"):
        build(1, 10)
    assert values(engine) == [1]


def test_what_users_forbid_in_the_table_holds_for_new_slices(engine: sa.Engine) -> None:
    execute(engine, "ALTER TABLE full_s.t ALTER v SET NOT NULL")
    build(1, 11)
    build(3, 20)
    assert values(engine) == [11, 20, 20]
    required = "SELECT count(*) FROM pg_attribute WHERE attname = 'v' AND attnotnull"
    assert rows(engine, f"{required} AND attrelid = 'full_s.t'::regclass") == [(1,)]
