"""A frame of a million rows through the IO manager, against bare ADBC calls; a SQL asset."""

import logging
from collections.abc import Callable, Iterator
from dataclasses import replace

import adbc_driver_postgresql.dbapi
import numpy as np
import pandas as pd
import pyarrow as pa
import sqlalchemy as sa

from benchmarks.measure import Comparison, compare
from data_pipeline.commit.commit import commit_stages
from data_pipeline.database.connection import database, run
from data_pipeline.database.identifiers import StageTable
from data_pipeline.instances import Instance
from data_pipeline.results.origin import Origin
from data_pipeline.results.writing import Store
from data_pipeline.runs.run_session import RunSession
from data_pipeline.store.reading import fetch
from data_pipeline.store.table_properties import Properties

ROWS = 1_000_000
TABLE = StageTable("bench", "frame")
RUN = "bench"
BARE = "bench_bare"
COLUMNS = (
    "id bigint NOT NULL, amount double precision, day timestamp, flag boolean, name text, "
    "count integer"
)


def frame() -> pd.DataFrame:
    """Return a million rows of six common types."""
    random = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "id": pd.array(np.arange(ROWS), dtype="Int64"),
            "amount": pd.array(random.normal(size=ROWS), dtype="Float64"),
            "day": pd.Timestamp("2020-01-01")
            + pd.to_timedelta(random.integers(0, 10**9, ROWS), unit="s").astype("timedelta64[us]"),
            "flag": pd.array(random.random(ROWS) < 0.5, dtype="boolean"),
            "name": pd.array([f"name {n % 1000}" for n in range(ROWS)], dtype="string"),
            "count": pd.array(random.integers(0, 1000, ROWS), dtype="Int32"),
        }
    )


def comparisons(instance: Instance) -> Iterator[Comparison]:
    """Measures writing, reading and a SQL asset."""
    log = logging.getLogger("benchmarks")
    store = Store(instance, log)
    session = RunSession(database(instance), instance, RUN, log)
    session.take([TABLE])
    session.register({})
    data = frame()
    url = database(instance).url.set(drivername="postgresql").render_as_string(hide_password=False)
    bare = adbc_driver_postgresql.dbapi.connect(url)

    def write() -> None:
        store.put(TABLE, data, Properties(primary_key=("id",)), Origin(RUN))

    def write_bare() -> None:
        with bare.cursor() as cursor:
            cursor.execute(f"DROP TABLE IF EXISTS {BARE}")
            cursor.execute(f"CREATE TABLE {BARE} ({COLUMNS})")
            cursor.adbc_ingest(BARE, pa.Table.from_pandas(data), mode="append")
            cursor.execute(f"ALTER TABLE {BARE} ADD PRIMARY KEY (id)")
        bare.commit()

    def read() -> None:
        fetch(instance, TABLE, pd.DataFrame, log)

    def read_bare() -> None:
        with bare.cursor() as cursor:
            cursor.execute(f"SELECT * FROM {BARE}")
            cursor.fetch_arrow_table().to_pandas()

    yield compare("write 1 M rows x 6 columns with primary key", write, write_bare, goal="1.15 x")
    commit_stages(session, [TABLE.stage], log)
    yield compare("read them as a pandas frame", read, read_bare, goal="1.15 x")
    yield kept_frame(instance, read)
    yield sql_asset(instance, store, "1 M rows", ROWS)
    yield sql_asset(instance, store, "1 row", 1)
    session.close()
    bare.close()


def kept_frame(instance: Instance, read: Callable[[], None]) -> Comparison:
    """Measures reading the frame from a local cache against reading it from the database."""
    log = logging.getLogger("benchmarks")
    place = {"local_cache": instance.home / "frames"}
    keeping = replace(instance, table_store=instance.table_store.model_copy(update=place))

    def read_kept() -> None:
        fetch(keeping, TABLE, pd.DataFrame, log)

    return compare("read them from local_cache / from the database", read_kept, read, goal="0.10 x")


def sql_asset(instance: Instance, store: Store, name: str, rows: int) -> Comparison:
    """Measures a SQL asset against the bare CREATE TABLE AS of the same query."""
    engine = database(instance).engine
    source = sa.table("bench_bare", sa.column("id"), sa.column("amount"), sa.column("name"))
    number = iter(range(10**6))

    def query(salt: int) -> sa.Select[tuple[object, ...]]:
        # The salt makes each query new, so that it is never served from what exists.
        return sa.select(source, sa.literal(salt).label("salt")).where(source.c.id < rows)

    def ours() -> None:
        store.put(StageTable("bench", "query"), query(next(number)), Properties(), Origin(RUN))

    def bare() -> None:
        with engine.begin() as connection:
            run(connection, "DROP TABLE IF EXISTS bench_query")
            text = query(next(number)).compile(engine, compile_kwargs={"literal_binds": True})
            run(connection, f"CREATE TABLE bench_query AS {text}")

    return compare(f"SQL asset of {name}", ours, bare, goal="1.10 x + 50 ms")
