"""Loading a large table of another database, over a plain COPY, and the memory that it takes.

`python -m benchmarks.sources 50000000` measures other numbers of rows than `make bench`.
"""

import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import sqlalchemy as sa

from benchmarks.gates import Gate
from benchmarks.measure import Comparison, compare, own_server
from benchmarks.memory import forget_peak, peak, resident
from data_pipeline import database_tables, instance_resources
from data_pipeline.embedded import EmbeddedServer
from data_pipeline.sources.declared_sources import refreshing

ROWS = (2_000_000, 8_000_000)
_SOURCE = "bench_source"


def measured(folder: Path, sizes: tuple[int, ...] = ROWS) -> Iterator[Comparison | Gate]:
    """Measure both for tables of several sizes, of three narrow columns."""
    url = EmbeddedServer(folder).start().set(drivername="postgresql+psycopg2")
    target = sa.create_engine(url, poolclass=sa.NullPool, isolation_level="AUTOCOMMIT")
    source = sa.create_engine(url.set(database=_SOURCE), poolclass=sa.NullPool)
    _run(target, f"CREATE DATABASE {_SOURCE}")
    for rows in sizes:
        _run(
            source,
            "DROP TABLE IF EXISTS events",
            "CREATE TABLE events (id bigint PRIMARY KEY, a int, b int)",
            f"INSERT INTO events SELECT i, i % 1000, i % 77 FROM generate_series(1, {rows}) i",
            "ANALYZE events",
        )
        text = source.url.set(drivername="postgresql").render_as_string(hide_password=False)
        with refreshing():
            raw = database_tables(text, stage="bench_raw", catalog=folder / f"{rows}.json")
        grown: list[int] = []
        yield compare(
            f"a table of {rows / 1e6:g} M x 3 from another database, over COPY",
            lambda raw=raw, grown=grown: _load(raw, grown),  # type: ignore[misc]
            lambda: _copy(source, target),
            goal="<= 1.3",
            rounds=3,
        )
        yield Gate.within(f"memory for it, of {rows / 1e6:g} M", min(grown) / 2**20, 0, 64, " MB")


def _load(raw: list[dg.AssetsDefinition], grown: list[int]) -> None:
    before = resident()
    forget_peak()
    dg.materialize(raw, partition_key="full", resources=instance_resources("full"))
    grown.append(peak() - before)


def _copy(source: sa.Engine, target: sa.Engine) -> None:
    _run(
        target, "DROP TABLE IF EXISTS bare", "CREATE TABLE bare (id bigint NOT NULL, a int, b int)"
    )
    read_end, write_end = os.pipe()
    with source.connect() as theirs, target.connect() as ours:

        def send() -> None:
            with os.fdopen(write_end, "wb") as pipe, theirs.connection.cursor() as cursor:
                cursor.copy_expert("COPY events TO STDOUT", pipe)

        sending = threading.Thread(target=send)
        sending.start()
        with os.fdopen(read_end, "rb") as pipe, ours.connection.cursor() as cursor:
            cursor.copy_expert("COPY bare FROM STDIN", pipe)
        sending.join()
    _run(target, "ALTER TABLE bare ADD PRIMARY KEY (id)", "ANALYZE bare")


def _run(engine: sa.Engine, *statements: str) -> None:
    with engine.begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement, execution_options={"no_parameters": True})


if __name__ == "__main__":
    with own_server() as home:
        for found in measured(home, tuple(map(int, sys.argv[1:])) or ROWS):
            print(found, flush=True)
