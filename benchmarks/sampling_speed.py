"""What choosing and copying a sample takes, over a copy of full that anybody would write.

All with primary keys; samples with roles, too. (Weights are views.)
"""

import json
import logging
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import sqlalchemy as sa

from benchmarks.gates import Gate
from benchmarks.tpch import DECLARED, INPUTS, RAW, Tpch
from data_pipeline.database.connection import database, ensure_schema, run
from data_pipeline.database.identifiers import RelationName, quoted
from data_pipeline.database.sql_text import renamed
from data_pipeline.results.sql_query import compiled
from data_pipeline.sampling.sampled_inputs import sampled_inputs
from data_pipeline.store import catalog
from data_pipeline.store.table_properties import Table, key_name, key_statement

ROUNDS = 5
_SCHEMA = "bench_copies"
_LOG = logging.getLogger("benchmarks")

_SAMPLES = {
    "midi_bare": ("5 %, cover off", 0.9),
    "midi": ("5 %, cover auto, known source", 1.0),
    "hundredth_bare": ("1 %, cover off", 0.4),
    "hundredth": ("1 %, cover auto, known source", 0.4),
}


def gates(tpch: Tpch) -> Iterator[Gate]:
    """Measures samples of 5 and 1 %, with and without coverage, and what is known of a source."""
    for name in _SAMPLES:
        _sample(tpch, name)
    what: dict[str, Callable[[], float]] = {
        "full": lambda: _full(tpch),
        **{name: lambda name=name: _sample(tpch, name) for name in _SAMPLES},  # type: ignore[misc]
        "unknown": lambda: _sample(tpch, "midi", forgetting=True),
    }
    seconds: dict[str, list[float]] = {name: [] for name in what}
    for number in range(ROUNDS):
        names = list(what)
        for name in names if number % 2 else reversed(names):
            seconds[name].append(what[name]())
    median = {name: statistics.median(values) for name, values in seconds.items()}
    yield Gate("seconds of a copy of full with keys", "-", f"{median['full']:.2f} s")
    for name, (words, goal) in _SAMPLES.items():
        ratio = median[name] / median["full"]
        yield Gate.within(f"time of {words}, over that copy", ratio, 0, goal, " x")
    profile = (median["unknown"] - median["midi"]) / median["full"]
    yield Gate.within("time to know a source, once, over that copy", profile, 0, 5, " x")


def refreshes(tpch: Tpch) -> Iterator[Gate]:
    """Measure midi when a hundredth of a table's rows has changed, over drawing all of it again.

    Once with what is known of the other tables, once without: as a source that nobody has sampled.
    """
    for name in ("orders", "lineitem"):
        tpch.run("midi")
        tpch.change(name)
        facts = quoted(tpch.instance("midi").catalog_schema, "source_facts")
        with database(tpch.instance("midi")).begin() as connection:
            saved = [tuple(row) for row in run(connection, f"TABLE {facts}")]
        seconds: dict[str, list[float]] = {"refresh": [], "draw": [], "unknown": []}
        for _ in range(ROUNDS):
            seconds["refresh"].append(_sample(tpch, "midi", forced=False))
            _restore(tpch, facts, saved)
            seconds["draw"].append(_sample(tpch, "midi"))
            seconds["unknown"].append(_sample(tpch, "midi", forgetting=True))
            _restore(tpch, facts, saved)
        median = {key: statistics.median(values) for key, values in seconds.items()}
        criterion = f"refresh, 1 % of {name} changed, over a draw"
        for key, words in (("draw", ""), ("unknown", " of an unknown source")):
            yield Gate.within(criterion + words, median["refresh"] / median[key], 0, 1, " x")


def _restore(tpch: Tpch, facts: str, saved: list[tuple[Any, ...]]) -> None:
    with database(tpch.instance("midi")).begin() as connection:
        run(connection, f"TRUNCATE {facts}")
        rows = [(*row[:4], json.dumps(row[4]), row[5]) for row in saved]
        cursor = connection.connection.cursor()
        cursor.executemany(f"INSERT INTO {facts} VALUES (%s, %s, %s, %s, %s, %s)", rows)


def _sample(tpch: Tpch, name: str, *, forced: bool = True, forgetting: bool = False) -> float:
    """Choose the rows of a sample, and make its tables and those with roles."""
    instance = tpch.instance(name)
    if forgetting:
        _forget(tpch)
    started = time.perf_counter()
    with sampled_inputs(tpch.request(name, forced=forced), _LOG) as sample:
        if sample is None:
            raise AssertionError(f"{name} is no sample")
        made = {RelationName(_SCHEMA, table): sample.table(table) for table in DECLARED}
        # Roles of a copy are read from where its instance has it.
        names = {
            RelationName(instance.schema(INPUTS), table): RelationName(_SCHEMA, table)
            for table in DECLARED
        }
        for table in DECLARED:
            made[RelationName(_SCHEMA, f"{table}_roles")] = sample.roles(table)
        return _made(tpch, made, names, started)


def _forget(tpch: Tpch) -> None:
    """Let no instance know anything of the source: they share what they know."""
    with database(tpch.instance("full")).begin() as connection:
        for name in ("full", *_SAMPLES):
            schema = tpch.instance(name).catalog_schema
            if catalog.exists(connection, schema, "source_facts"):
                run(connection, f"TRUNCATE {quoted(schema, 'source_facts')}")


def _full(tpch: Tpch) -> float:
    schema = tpch.instance("full").schema(RAW)
    started = time.perf_counter()
    with database(tpch.instance("full")).begin() as connection:
        _empty(connection)
        for table, declared in DECLARED.items():
            target = RelationName(_SCHEMA, table)
            source = quoted(schema, table)
            run(connection, f"CREATE TABLE {target.quoted} AS SELECT * FROM {source}")
            key = tuple(declared.primary_key)
            run(connection, key_statement(target, key_name(table), key))
    return _dropped(tpch, started)


def _made(
    tpch: Tpch,
    tables: dict[RelationName, Table],
    names: dict[RelationName, RelationName],
    started: float,
) -> float:
    with database(tpch.instance("full")).begin() as connection:
        _empty(connection)
        for target, table in tables.items():
            if table.unchanged is not None:
                continue
            if table.written is not None:
                relation = table.written.relation
                moved = quoted(target.schema, relation.name)
                run(connection, f"ALTER TABLE {relation.quoted} SET SCHEMA {quoted(_SCHEMA)}")
                run(connection, f"ALTER TABLE {moved} RENAME TO {quoted(target.name)}")
            else:
                query = renamed(compiled(table.obj), names)
                run(connection, f"CREATE TABLE {target.quoted} AS {query}")
            key = tuple(table.properties.primary_key)
            run(connection, key_statement(target, key_name(target.name), key))
    return _dropped(tpch, started)


def _empty(connection: sa.Connection) -> None:
    run(connection, f"DROP SCHEMA IF EXISTS {_SCHEMA} CASCADE")
    ensure_schema(connection, _SCHEMA)


def _dropped(tpch: Tpch, started: float) -> float:
    seconds = time.perf_counter() - started
    with database(tpch.instance("full")).begin() as connection:
        run(connection, f"DROP SCHEMA {_SCHEMA} CASCADE")
    return seconds
