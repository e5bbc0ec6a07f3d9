"""What choosing and copying a sample takes, against copies that anybody would write."""

import logging
import statistics
import time
from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa

from benchmarks.gates import Gate
from benchmarks.tpch import DECLARED, RAW, Tpch
from data_pipeline.database.connection import database, ensure_schema, run
from data_pipeline.database.identifiers import quoted
from data_pipeline.results.table_query import compiled
from data_pipeline.sampling.key_hash import sampled_sql
from data_pipeline.sampling.sampled_inputs import sampled_inputs

ROUNDS = 3
_SCHEMA = "bench_copies"
_LOG = logging.getLogger("benchmarks")

_REFERENCED = {
    "customer": "c_custkey IN (SELECT o_custkey FROM {schema}.orders)",
    "partsupp": "(ps_partkey, ps_suppkey) IN (SELECT l_partkey, l_suppkey FROM {schema}.lineitem)",
    "part": "p_partkey IN (SELECT ps_partkey FROM {schema}.partsupp)",
    "supplier": "s_suppkey IN (SELECT ps_suppkey FROM {schema}.partsupp)",
    "nation": "true",
    "region": "true",
}


def gates(tpch: Tpch) -> Iterator[Gate]:
    """Measures samples of 5 and 10 %, with and without coverage."""
    for name, rate in (("midi", 0.05), ("tenth", 0.1)):
        seconds: dict[str, list[float]] = {"auto": [], "off": [], "bare": [], "full": []}
        for _ in range(ROUNDS):
            seconds["auto"].append(_sample(tpch, name))
            seconds["off"].append(_sample(tpch, f"{name}_bare"))
            seconds["bare"].append(_bare(tpch, rate))
            seconds["full"].append(_full(tpch))
        median = {key: statistics.median(values) for key, values in seconds.items()}
        copies = ", ".join(f"{key} {value:.1f} s" for key, value in median.items())
        yield Gate(f"seconds at {rate:.0%}", "-", copies)
        for cover in ("off", "auto"):
            what = f"time at {rate:.0%}, cover {cover}, over"
            own = median[cover]
            yield Gate.within(f"{what} a bare copy of such rows", own / median["bare"], 0, 3, " x")
            yield Gate.within(f"{what} a copy of full", own / median["full"], 0, 0.5, " x")
        bare = median["bare"] / median["full"]
        yield Gate(f"time at {rate:.0%} of that bare copy, over a copy of full", "-", f"{bare:.2f}")


def _sample(tpch: Tpch, name: str) -> float:
    """Choose the rows of a sample, and copies them."""
    started = time.perf_counter()
    with sampled_inputs(tpch.request(name, forced=True), _LOG) as sample:
        if sample is None:
            raise AssertionError(f"{name} is no sample")
        return _copies(tpch, {n: compiled(sample.table(n).obj) for n in DECLARED}, started)


def _bare(tpch: Tpch, rate: float) -> float:
    """Copies sampled orders and line items, and what they refer to."""
    schema = tpch.instance("full").schema(RAW)
    queries = {}
    for table, key in (("orders", "o_orderkey"), ("lineitem", "l_orderkey")):
        source = sa.table(table, sa.column(key, sa.BigInteger), schema=schema)
        query: sa.Select[Any] = sa.select(sa.literal_column("*")).select_from(source)
        queries[table] = compiled(query.where(sampled_sql([source.c[key]], rate, 0)))
    for table, condition in _REFERENCED.items():
        where = condition.format(schema=_SCHEMA)
        queries[table] = f"SELECT * FROM {quoted(schema, table)} WHERE {where}"
    return _copies(tpch, queries, time.perf_counter())


def _full(tpch: Tpch) -> float:
    schema = tpch.instance("full").schema(RAW)
    queries = {table: f"SELECT * FROM {quoted(schema, table)}" for table in DECLARED}
    return _copies(tpch, queries, time.perf_counter())


def _copies(tpch: Tpch, queries: dict[str, str], started: float) -> float:
    """Make tables of queries, take the seconds since the start, and drop the tables again."""
    with database(tpch.instance("full")).begin() as connection:
        run(connection, f"DROP SCHEMA IF EXISTS {_SCHEMA} CASCADE")
        ensure_schema(connection, _SCHEMA)
        for table, query in queries.items():
            run(connection, f"CREATE TABLE {quoted(_SCHEMA, table)} AS {query}")
    seconds = time.perf_counter() - started
    with database(tpch.instance("full")).begin() as connection:
        run(connection, f"DROP SCHEMA {_SCHEMA} CASCADE")
    return seconds
