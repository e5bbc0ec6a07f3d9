"""The tables of `queries` in plain Dagster: the same SQL, or frames, by hand."""

import os
from io import StringIO

import dagster as dg
import psycopg2

TABLES = int(os.environ.get("BENCH_TABLES", "100"))
FRAMES = os.environ.get("BENCH_FRAMES") == "1"
if FRAMES:  # queries start without it
    import pandas as pd


def link(number: int) -> dg.AssetsDefinition:
    """Return the asset of one table."""
    before = [dg.AssetKey(["plain", f"t{number - 1}"])] if number else []

    @dg.asset(key=["plain", f"t{number}"], deps=before)
    def table() -> None:
        query = f'SELECT x + 1 AS x FROM plain."t{number - 1}"' if number else "SELECT 1 AS x"
        with psycopg2.connect(os.environ["BENCH_URL"]) as connection, connection.cursor() as cursor:
            cursor.execute("CREATE SCHEMA IF NOT EXISTS plain")
            cursor.execute(f'DROP TABLE IF EXISTS plain."t{number}"')
            if not FRAMES:
                cursor.execute(f'CREATE TABLE plain."t{number}" AS {query}')
                return
            cursor.execute(query)
            frame = pd.DataFrame(cursor.fetchall(), columns=["x"])
            cursor.execute(f'CREATE TABLE plain."t{number}" (x bigint)')
            text = StringIO(frame.to_csv(index=False, header=False))
            cursor.copy_expert(f'COPY plain."t{number}" FROM STDIN (FORMAT csv)', text)

    return table


@dg.op
def nothing() -> None:
    """Do nothing."""


@dg.job(executor_def=dg.in_process_executor)
def trivial() -> None:
    """Execute one op, with all assets loaded."""
    nothing()


defs = dg.Definitions(
    assets=[link(number) for number in range(TABLES)],
    jobs=[
        trivial,
        dg.define_asset_job("plain", selection="*", executor_def=dg.in_process_executor),
    ],
)
