"""How many 95 % intervals contain the truth, for samples by a thousand salts.

What a salt draws is found in frames by the hash that PostgreSQL takes, too (`sampled_mask`), and
estimated by the functions for frames: a choice in the database takes a second, most of it for what
is no part of the random sample. For a few salts both are compared, row by row.
`python -m benchmarks.sampling_intervals` measures this alone, in minutes.
"""

import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import sqlalchemy as sa

from benchmarks.gates import Gate
from benchmarks.measure import own_server
from benchmarks.sampling_populations import Population, populations
from data_pipeline.database.connection import database, run
from data_pipeline.estimates import mean, total
from data_pipeline.instances import Instance
from data_pipeline.sampling.engine.source_tables import TID
from data_pipeline.sampling.engine.workspace import Workspace
from data_pipeline.sampling.plan.hubs_and_thresholds import design_effect, hub_limit
from data_pipeline.sampling.prediction.budget import sized_selection

SALTS = 1000
_AT_ONCE = 100
_COMPARED = 4
_SCHEMA, _WORK = "bench_population", "bench_population_work"


def gates(full: Instance) -> Iterator[Gate]:
    """Measures the share of intervals, and the design effect that is left with hubs."""
    for population in populations():
        yield _compared(full, population)
        parts = [
            _estimated(population, range(first, first + _AT_ONCE))
            for first in range(0, SALTS, _AT_ONCE)
        ]
        rows = population.rows
        truth = {
            "total": rows["amount"].sum(),
            "mean": rows["amount"].mean(),
            "mean of a group": rows.loc[rows["kind"] == "rare", "amount"].mean(),
        }
        for name, value in truth.items():
            found = pd.concat(part[name] for part in parts)
            yield _covered(f"{name}, {population.name}", found, value)
        if population.name == "hubs":
            parents = dict(Counter(Counter(rows["root"]).values()))
            left, before = design_effect(parents, hub_limit(parents)), design_effect(parents)
            note = f", {before:.0f} without hubs"
            yield Gate.within("design effect with a heavy-tailed fan-out", left, 0, 25, "", note)


def _covered(name: str, found: pd.DataFrame, truth: float) -> Gate:
    share = found["low"].le(truth) & found["high"].ge(truth)
    real = np.sqrt(((found["value"] - truth) ** 2).mean())
    said = np.sqrt((found["standard_error"] ** 2).mean())
    note = f", {found['units'].mean():.0f} units, error said {said / real:.2f} of the real one"
    criterion = f"95 % intervals, {len(found)} salts: {name}"
    return Gate.within(criterion, 100 * share.mean(), 93, 97, " %", note)


def _estimated(population: Population, salts: range) -> dict[str, pd.DataFrame]:
    drawn = pd.concat([population.drawn(salt).assign(salt=salt) for salt in salts])
    drawn["unit"] += drawn["salt"] * 10_000_000
    drawn = drawn.reset_index(drop=True)
    rare = drawn[drawn["kind"] == "rare"]
    return {
        "total": total(drawn, "amount", by=["salt"]),
        "mean": mean(drawn, "amount", by=["salt"]),
        "mean of a group": mean(rare, "amount", by=["salt"]),
    }


def _compared(full: Instance, population: Population) -> Gate:
    """Measures how many salts draw other rows in the database."""
    with database(full).engine.connect() as connection:
        run(connection, f"CREATE SCHEMA {_SCHEMA}")
        tables = {
            name: _loaded(connection, name, frame) for name, frame in population.tables.items()
        }
        others = 0
        for salt in range(_COMPARED):
            rate, rows = _chosen(connection, population, tables, salt)
            expected = population.drawn(salt, rate)
            same = set(rows["key"]) == set(expected["key"])
            same &= np.allclose(rows["probability"], rate)
            others += not (same and rows["unit"].nunique() == expected["unit"].nunique())
        connection.rollback()
    name = f"salts of {_COMPARED} that draw other rows in PostgreSQL, {population.name}"
    return Gate.within(name, others, 0, 0)


def _loaded(connection: sa.Connection, name: str, frame: pd.DataFrame) -> sa.Table:
    frame.to_sql(name, connection, schema=_SCHEMA, index=False, method="multi", chunksize=500)
    run(connection, f"ANALYZE {_SCHEMA}.{name}")
    return sa.Table(name, sa.MetaData(), schema=_SCHEMA, autoload_with=connection)


def _chosen(
    connection: sa.Connection, population: Population, tables: dict[str, sa.Table], salt: int
) -> tuple[float, pd.DataFrame]:
    """Return the rate and the random sample that the database chooses."""
    with connection.begin_nested() as nested:
        space = Workspace.open(connection, _WORK, "bench")
        chosen = sized_selection(space, population.plan(salt), tables).selection
        places = chosen.rows[population.measured]
        if places is None:
            raise AssertionError(f"{population.measured} is sampled")
        rows = chosen.sources[population.measured].all_rows("data")
        query: sa.Select[Any] = sa.select(
            rows.c[population.key].label("key"), places.c.probability, places.c.unit
        ).join(places, places.c[TID] == rows.c[TID])
        found = pd.read_sql(query.where(places.c.probability.is_not(None)), connection)
        nested.rollback()
    [root] = chosen.plan.roots.values()
    return float(root.rate or 0), found


def main() -> None:
    """Measures and prints, on an embedded PostgreSQL of its own."""
    from data_pipeline.instances import load_configuration

    started = time.monotonic()
    with own_server():
        for gate in gates(load_configuration().instance("full")):
            print(gate, flush=True)
    print(f"{time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    main()
