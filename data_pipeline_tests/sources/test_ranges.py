"""Large tables of PostgreSQL are loaded by ranges; what was loaded before a failure is kept."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from data_pipeline.errors import DatabaseError
from data_pipeline.sources.ranges import postgres_page_ranges
from data_pipeline.sources.ranges.postgres_page_ranges import ranges_of
from data_pipeline.sources.ranges.postgres_range_reads import PostgresRanges
from data_pipeline_tests.io_manager.runs import execute, rows
from data_pipeline_tests.sources.shops import read, run, text
from data_pipeline_tests.sources.test_postgres_tables import (
    EVERYTHING,
    TYPES,
    assert_all_arrived,
    load,
)

ORDERS = (
    "CREATE TABLE orders (code text, line int, at timestamptz, PRIMARY KEY (code, line))",
    "INSERT INTO orders SELECT 'c' || i, i % 3, 'epoch' FROM generate_series(1, 5000) i",
)


RANGE_BYTES = 4 * 8192


@pytest.fixture(autouse=True)
def _small_ranges(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres_page_ranges, "_RANGE_BYTES", RANGE_BYTES)


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the ranges that are read, as they are."""
    names: list[str] = []
    read_range = PostgresRanges.load

    def noted(self: PostgresRanges, name: str, *arguments: Any) -> Any:
        names.append(name)
        return read_range(self, name, *arguments)

    monkeypatch.setattr(PostgresRanges, "load", noted)
    return names


@pytest.fixture
def failing_after(monkeypatch: pytest.MonkeyPatch) -> Callable[[int | None], None]:
    """Lets the source fail after so many ranges; None: never."""
    left: list[int | None] = [None]
    read_range = PostgresRanges.load

    def load(self: PostgresRanges, *arguments: Any) -> Any:
        if left[0] == 0:
            raise DatabaseError("the source is gone")
        if left[0] is not None:
            left[0] -= 1
        return read_range(self, *arguments)

    monkeypatch.setattr(PostgresRanges, "load", load)
    return lambda count: left.__setitem__(0, count)


def same(configured: sa.Engine, source: sa.Engine, name: str = "orders") -> bool:
    found = f"SELECT count(*), sum(hashtextextended({name}::text, 0)) FROM "
    return rows(configured, f"{found} full_raw.{name}") == rows(source, found + name)


def all_ranges(source: sa.Engine) -> Mapping[str, Any]:
    with source.connect() as connection:
        return ranges_of(connection, "public", "orders") or {}


def test_every_type_arrives_in_ranges_as_it_does_in_a_stream(
    configured: sa.Engine, source: sa.Engine, tmp_path: Path, loaded: list[str]
) -> None:
    execute(source, *EVERYTHING)
    columns = ", ".join(f'"{name}"' for name in TYPES if name not in ("id", "upper"))
    many = f'INSERT INTO "Every Type" ({columns}) SELECT {columns} FROM "Every Type"'
    execute(source, *[many] * 7)
    load(read(text(source), tmp_path))
    assert len(loaded) > 1
    assert_all_arrived(configured, source)


def test_a_load_goes_on_where_it_failed(
    configured: sa.Engine,
    source: sa.Engine,
    tmp_path: Path,
    loaded: list[str],
    failing_after: Callable[[int | None], None],
) -> None:
    execute(source, *ORDERS)
    assets = read(text(source), tmp_path, at_once=1)
    failing_after(3)
    with pytest.raises(DatabaseError, match="the next run loads the rest"):
        load(assets)
    assert len(loaded) == 3
    execute(source, "ANALYZE orders", "CREATE TABLE other (id int)")
    failing_after(None)
    load(assets)
    assert same(configured, source)
    assert len(loaded) == len({*loaded}) > 6


CHANGES = {
    "a row is new": "INSERT INTO orders VALUES ('new', 1)",
    "a row has another value": "UPDATE orders SET at = 'now' WHERE code = 'c1'",
    "a row is gone": "DELETE FROM orders WHERE code = 'c1'",
    "rows lie elsewhere": "VACUUM FULL orders",
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_load_begins_anew_where_rows_have_changed_that_were_loaded(
    configured: sa.Engine,
    source: sa.Engine,
    tmp_path: Path,
    loaded: list[str],
    failing_after: Callable[[int | None], None],
    change: str,
) -> None:
    execute(source, *ORDERS, "DELETE FROM orders WHERE code LIKE 'c10%'")
    with source.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("VACUUM orders")  # there is room for a row in the first pages
        assets = read(text(source), tmp_path, at_once=1)
        failing_after(3)
        with pytest.raises(DatabaseError):
            load(assets)
        connection.exec_driver_sql(CHANGES[change])
    failing_after(None)
    load(assets)
    assert same(configured, source)
    assert len({*loaded[:3]} & {*loaded[3:]}) == (0 if change == "rows lie elsewhere" else 3)


def test_the_error_of_a_source_that_goes_away_names_the_source(
    configured: sa.Engine,
    source: sa.Engine,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    execute(source, *ORDERS)
    assets = read(text(source), tmp_path, at_once=1)
    read_range, begun = PostgresRanges.load, list[str]()

    def load_range(self: PostgresRanges, name: str, *arguments: Any) -> Any:
        begun.append(name)
        if len(begun) == 3:
            ends = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = "
            rows(configured, f"{ends} '{source.url.database}'")
        return read_range(self, name, *arguments)

    monkeypatch.setattr(PostgresRanges, "load", load_range)
    with pytest.raises(DatabaseError, match="Reading `orders` of schema `public`") as caught:
        load(assets)
    assert "stays in staging: the next run loads the rest" in str(caught.value)
    load(assets)
    assert same(configured, source)
    assert len(begun) == len({*begun}) + 1  # the third one had not been loaded


def test_rows_of_partitions_and_heirs_without_keys_are_loaded_by_ranges(
    configured: sa.Engine, source: sa.Engine, tmp_path: Path, loaded: list[str]
) -> None:
    execute(
        source,
        "CREATE TABLE orders (id int, name text) PARTITION BY RANGE (id)",
        "CREATE TABLE part (name text, id int)",
        "ALTER TABLE orders ATTACH PARTITION part FOR VALUES FROM (0) TO (2000)",
        "CREATE TABLE empty PARTITION OF orders FOR VALUES FROM (-9) TO (0)",
        "CREATE TABLE others PARTITION OF orders DEFAULT PARTITION BY LIST (id)",
        "CREATE TABLE rest PARTITION OF others DEFAULT",
        "INSERT INTO orders SELECT i, 'n' FROM generate_series(1, 4000) i",
        "CREATE TABLE parents (id int)",
        "CREATE TABLE heirs (more text) INHERITS (parents)",
        "INSERT INTO heirs SELECT i FROM generate_series(1, 4000) i",
    )
    tables = ["orders", "parents"]
    load(read(text(source), tmp_path, tables=tables, every_run=tables))
    assert all(same(configured, source, name) for name in tables)
    assert {name.split()[0] for name in loaded} == {"public.part", "public.rest", "public.heirs"}


def test_what_is_said_of_types_and_keys_is_done_when_all_ranges_are_there(
    configured: sa.Engine, source: sa.Engine, tmp_path: Path, loaded: list[str]
) -> None:
    execute(source, *ORDERS, "UPDATE orders SET at = 'infinity' WHERE line = 0")
    said = {"orders": {"types": {"line": "numeric(5,1)"}, "indexes": ["line"]}}
    load(read(text(source), tmp_path, properties=said))
    assert len(loaded) > 1
    assert rows(
        configured, "SELECT min(line)::text, max(at)::text, count(*) FROM full_raw.orders"
    ) == [("0.0", "infinity", 5000)]
    found = "SELECT count(*) FROM pg_index WHERE indrelid = 'full_raw.orders'::regclass"
    assert rows(configured, found) == [(2,)]


def test_a_run_goes_on_after_one_that_was_killed(
    configured: sa.Engine, source: sa.Engine, tmp_path: Path, loaded: list[str]
) -> None:
    execute(source, *ORDERS, "CREATE TABLE small AS SELECT 1 AS id")
    read(text(source), tmp_path)
    killed = [
        sys.executable,
        "-m",
        "data_pipeline_tests.sources.killed",
        text(source),
        str(tmp_path),
    ]
    home = {**os.environ, "DAGSTER_HOME": str(tmp_path)}  # what is killed does not clean up
    assert subprocess.run(killed, env=home).returncode == -signal.SIGKILL
    [(before,)] = rows(configured, "SELECT count(rows) FROM full_catalog.loads")
    assert before >= 1
    assert run("full", text(source), tmp_path) >= {"raw/orders", "raw/small"}
    assert same(configured, source)
    assert before + len(loaded) == len(all_ranges(source))
    assert rows(configured, "SELECT count(*) FROM full_catalog.loads") == [(0,)]
    assert not run("full", text(source), tmp_path)
