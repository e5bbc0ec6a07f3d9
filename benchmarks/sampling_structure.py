"""What a sample contains: references, coverage, nesting, sizes, joins, and what stays the same."""

import logging
import time
from collections.abc import Iterator

import sqlalchemy as sa

from benchmarks.gates import Gate
from benchmarks.tpch import DECLARED, INPUTS, MIDI_GROWN, RATE, ROOT, Tpch
from data_pipeline.database.connection import database
from data_pipeline.sampling.sampled_inputs import sampled_inputs
from data_pipeline.store.table_properties import ForeignKey

_LOG = logging.getLogger("benchmarks")

_JOINS = {
    "orders, lineitem": "orders JOIN lineitem ON l_orderkey = o_orderkey",
    "orders, customer, nation": "orders JOIN customer ON o_custkey = c_custkey "
    "JOIN nation ON c_nationkey = n_nationkey",
    "lineitem, partsupp, part, supplier": "lineitem JOIN partsupp ON l_partkey = ps_partkey "
    "AND l_suppkey = ps_suppkey JOIN part ON ps_partkey = p_partkey "
    "JOIN supplier ON ps_suppkey = s_suppkey",
}


def gates(connection: sa.Connection, tpch: Tpch) -> Iterator[Gate]:
    """Measures the samples `midi` and `mini`."""
    full, midi, mini = (tpch.instance(name).schema(INPUTS) for name in ("full", "midi", "mini"))
    for name, schema in (("midi", midi), ("mini", mini)):
        broken = sum(
            _violations(connection, schema, full, table, key)
            for table, item in DECLARED.items()
            for key in item.foreign_keys
        )
        yield Gate.within(f"reference violations in {name}", broken, 0, 0)
    for inner, outer in ((mini, midi), (midi, full)):
        total = lost = 0
        for table, item in DECLARED.items():
            rows = _count(connection, f"{inner}.{table}")
            kept = _common(connection, inner, outer, table, item.primary_key)
            total, lost = total + rows, lost + rows - kept
        yield Gate.within(f"rows of {inner} in {outer}", 100 * (1 - lost / total), 100, 100, " %")
    yield from _sizes(connection, tpch, full)
    for name, join in _JOINS.items():
        expected = RATE * _in_schema(connection, full, f"SELECT count(*) FROM {join}")
        kept = _in_schema(connection, midi, f"SELECT count(*) FROM {join}")
        yield Gate.within(f"join {name}: rows over expectation", kept / expected, 0.95, 1.05)


def unchanged_refresh(tpch: Tpch) -> Iterator[Gate]:
    """Refreshes midi, unchanged: the sampling alone, then the whole run of its step."""
    query = sa.text("SELECT oid, relname FROM pg_class WHERE relnamespace = to_regnamespace(:name)")
    schema = {"name": tpch.instance("midi").schema(INPUTS)}
    with database(tpch.instance("midi")).begin() as connection:
        before = connection.execute(query, schema).all()
    started = time.perf_counter()
    with sampled_inputs(tpch.request("midi"), _LOG):
        seconds = time.perf_counter() - started
    started = time.perf_counter()
    tpch.run("midi")
    run = time.perf_counter() - started
    with database(tpch.instance("midi")).begin() as connection:
        moved = before != connection.execute(query, schema).all()
    rows = "tables were written" if moved else "no rows"
    measured = f"{rows}, {seconds:.2f} s"
    passed = not moved and seconds <= 0.3
    yield Gate("unchanged refresh of midi", "no rows, 0.3 s", measured, passed)
    yield Gate("the same as a run of its 24 assets", "-", f"{run:.2f} s, with Dagster's")


def overlap(connection: sa.Connection, tpch: Tpch) -> Iterator[Gate]:
    """Measures how many sampled rows stay after 1 % more rows and a rewrite of the source."""
    old, new = (tpch.instance(name).schema(INPUTS) for name in ("midi", MIDI_GROWN))
    for table in (ROOT, "lineitem"):
        key = DECLARED[table].primary_key
        share = _common(connection, old, new, table, key) / _count(connection, f"{old}.{table}")
        name = f"keys of {table} kept after 1 % more rows and a rewrite"
        yield Gate.within(name, 100 * share, 98.5, 100, " %")


def _sizes(connection: sa.Connection, tpch: Tpch, full: str) -> Iterator[Gate]:
    roles = f"{tpch.instance('midi').sample_schema}.{INPUTS}__{{}}"
    target = RATE * _count(connection, f"{full}.{ROOT}")
    sampled = connection.scalar(
        sa.text(f"SELECT count(*) FROM {roles.format(ROOT)} WHERE role = 'sampled'")
    )
    yield Gate.within("sampled rows of orders over target", sampled / target, 0.99, 1.01)
    for table in DECLARED:
        counted = connection.execute(
            sa.text(f"SELECT role, count(*) FROM {roles.format(table)} GROUP BY role ORDER BY 2")
        )
        found = ", ".join(f"{count:,} {role}" for role, count in reversed(counted.all()))
        rows = _count(connection, f"{full}.{table}")
        yield Gate(f"rows of {table}, of {rows:,}", "-", found)


def _violations(
    connection: sa.Connection, schema: str, full: str, table: str, key: ForeignKey
) -> int:
    pairs = list(zip(key.columns, key.referenced_columns, strict=True))
    same = " AND ".join(f"{own} = {other}" for own, other in pairs)
    parent = key.references
    holds = f"EXISTS (SELECT FROM {full}.{parent} WHERE {same})"
    there = f"EXISTS (SELECT FROM {schema}.{parent} WHERE {same})"
    query = f"SELECT count(*) FROM {schema}.{table} WHERE NOT {there} AND {holds}"
    return int(connection.scalar(sa.text(query)) or 0)


def _common(
    connection: sa.Connection, first: str, second: str, table: str, key: tuple[str, ...]
) -> int:
    query = (
        f"SELECT count(*) FROM {first}.{table} JOIN {second}.{table} other USING ({', '.join(key)})"
    )
    return int(connection.scalar(sa.text(query)) or 0)


def _count(connection: sa.Connection, relation: str) -> int:
    return int(connection.scalar(sa.text(f"SELECT count(*) FROM {relation}")) or 0)


def _in_schema(connection: sa.Connection, schema: str, query: str) -> int:
    connection.execute(sa.text(f"SET LOCAL search_path = {schema}"))
    count = int(connection.scalar(sa.text(query)) or 0)
    connection.execute(sa.text("SET LOCAL search_path TO DEFAULT"))
    return count
