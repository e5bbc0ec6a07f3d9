"""Events of customers, BENCH_ROWS of them: by queries, and as a stream through Python."""

import os

import pyarrow as pa
import sqlalchemy as sa

from data_pipeline import ForeignKey, Stage, copy_filtered_inputs, instance_definitions, sql_query

ROWS = int(os.environ.get("BENCH_ROWS", "1000"))
CUSTOMERS = max(ROWS // 100, 1)

raw = Stage("raw")


@raw.table(primary_key="customer_id")
def customers() -> sa.TextClause:
    """A customer for each hundred events."""
    return sql_query(
        f"SELECT id AS customer_id, 'country ' || id % 50 AS country "
        f"FROM generate_series(0, {CUSTOMERS - 1}::bigint) id"
    )


@raw.table(
    primary_key="event_id",
    foreign_keys=[ForeignKey("customer_id", "customers")],
)
def events() -> sa.TextClause:
    """Six columns, about 60 bytes a row."""
    return sql_query(
        f"SELECT id AS event_id, id * 7919 % {CUSTOMERS} AS customer_id, "
        "timestamp '2020-01-01' + id % 40000000 * interval '3 seconds' AS at, "
        "id % 1000 * 0.25::float8 AS amount, 'kind ' || id % 20 AS kind, id % 2 = 0 AS is_paid "
        f"FROM generate_series(1, {ROWS}::bigint) id"
    )


inputs = copy_filtered_inputs(stage="inputs", raw=raw.assets)
clean = Stage("clean", reads="inputs")


@clean.table(primary_key="event_id")
def paid(events: sa.Table, customers: sa.Table) -> sa.TextClause:
    """A join that gives a row for each event."""
    return sql_query(
        "SELECT event_id, at, amount * 1.19 AS gross, kind, country "
        "FROM {events} JOIN {customers} USING (customer_id)",
        events=events,
        customers=customers,
    )


@clean.table
def streamed(events: pa.RecordBatchReader) -> pa.RecordBatchReader:
    """The same rows out of the database and into it, batch by batch."""
    return events


report = Stage("report", reads="clean")


@report.table(primary_key=["day", "country"])
def days(paid: sa.Table) -> sa.TextClause:
    """All rows read, few written."""
    return sql_query(
        "SELECT at::date AS day, country, count(*) AS events, sum(gross) AS gross "
        "FROM {paid} GROUP BY 1, 2",
        paid=paid,
    )


defs = instance_definitions([*raw.assets, inputs, *clean.assets, *report.assets])
