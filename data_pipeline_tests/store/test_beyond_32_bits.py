"""Counts, sizes, pages and keys that no integer of 32 bits holds."""

import sqlite3
from pathlib import Path

import pandas as pd
import sqlalchemy as sa

from data_pipeline.database.connection import database
from data_pipeline.database.identifiers import RelationName, StageTable
from data_pipeline.instances import load_configuration
from data_pipeline.results.ranges import loads
from data_pipeline.sources.ranges.postgres_page_ranges import Range, pages_of_a_range
from data_pipeline.sources.ranges.rowid_ranges import rowid_ranges
from data_pipeline.store import catalog
from data_pipeline.store.changed_by_hand import SMALL_PAGES, read_states
from data_pipeline_tests.io_manager.runs import STAGE, execute, rows, write

MANY = 5_000_000_000
TABLE = StageTable(STAGE, "t")


def test_a_table_of_over_16_terabytes_is_no_small_one(
    pipeline_database: sa.Engine, superuser_url: sa.URL
) -> None:
    write("t", pd.DataFrame({"k": [1]}))
    admin = sa.create_engine(superuser_url.set(database=pipeline_database.url.database))
    pages = "UPDATE pg_class SET relpages = -1294967296 WHERE oid = 'full_s.t'::regclass"
    execute(admin, pages)  # as PostgreSQL shows 3,000,000,000
    admin.dispose()
    name = RelationName("full_s", "t")
    with pipeline_database.connect() as connection:
        state = read_states(connection, [name])[name]
    assert state is not None
    assert state["pages"] == 3_000_000_000 > SMALL_PAGES


def test_the_catalog_counts_rows_and_bytes(pipeline_database: sa.Engine) -> None:
    write("t", pd.DataFrame({"k": [1]}))
    execute(pipeline_database, f"UPDATE full_catalog.tables SET row_count = {MANY}, bytes = {MANY}")
    with pipeline_database.connect() as connection:
        row = catalog.row(connection, "full_catalog", TABLE)
    assert row is not None
    assert (row.row_count, row.bytes) == (MANY, MANY)


def test_a_load_counts_the_rows_of_a_range(pipeline_database: sa.Engine) -> None:
    write("t", pd.DataFrame({"k": [1]}))
    instance = load_configuration().instance("full")
    execute(pipeline_database, "CREATE TABLE full_s__staging.t (k int)")
    with database(instance).begin() as connection:
        loads.begin(connection, instance, TABLE, "identity")
        for statement in (
            loads.claim(instance, TABLE, "a"),
            loads.end(instance, TABLE, "a", MANY, {"horizon": str(2**40)}),
        ):
            assert connection.exec_driver_sql(statement).all() == [("a",)]
        found = loads.found(connection, instance, TABLE)
    assert found is not None
    assert found.rows == MANY


def test_ranges_of_many_pages_can_be_read(pipeline_database: sa.Engine) -> None:
    execute(pipeline_database, "CREATE TABLE t AS SELECT 1 AS k")
    beyond = Range(RelationName("public", "t"), 3_000_000_000, 4_294_967_294)
    assert rows(pipeline_database, f"SELECT count(*) FROM {beyond.source}") == [(0,)]
    assert pages_of_a_range(4_000_000_000, 4_000_000_000 * 8192) == 2**22


def test_numbers_of_rows_reach_to_the_ends_of_64_bits(tmp_path: Path) -> None:
    ends = -(2**63), 2**63 - 1
    ranges = rowid_ranges("state", "rowid", MANY, *ends)
    assert ranges is not None
    with sqlite3.connect(tmp_path / "a.db") as connection:
        connection.execute("CREATE TABLE t (k INTEGER PRIMARY KEY)")
        connection.executemany("INSERT INTO t VALUES (?)", [*((end,) for end in ends), (MANY,)])
        each = (f"SELECT count(*) FROM t WHERE {condition}" for condition in ranges.values())
        assert sum(connection.execute(query).fetchone()[0] for query in each) == 3
    connection.close()
