"""What a comparison costs, and how often it is right: `python -m benchmarks.difference`."""

import functools
import math
import random
import resource
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa

from benchmarks.measure import Comparison, compare, own_server
from data_pipeline.database.connection import database, run
from data_pipeline.database.identifiers import RelationName, StageTable
from data_pipeline.difference.compare import ComparisonOptions, compare_table
from data_pipeline.difference.effect_on_full.effect import (
    LEAST_UNITS,
    EffectStratum,
    Powers,
    estimated,
)
from data_pipeline.difference.result import TableDifference
from data_pipeline.difference.snapshot import BEGINNING
from data_pipeline.difference.versions import TableVersion
from data_pipeline.instances import Instance, load_configuration
from data_pipeline.store.catalog import CatalogRow

ROWS = 1_000_000
Floats = npt.NDArray[np.float64]
_DATA = """
CREATE TABLE {name} AS
SELECT i AS id, (i % 1000)::integer AS c1, (i * 7 % 100000)::integer AS c2,
       i * 0.5::float8 + CASE WHEN i % 3 = 0 AND i % 30 = 0 THEN {version} ELSE 0 END AS f1,
       (i % 977) * 0.25::float8 AS f2, 'name ' || i % 1000 AS t1,
       (ARRAY['JFK', 'LGA', 'EWR'])[1 + i % 3] AS origin,
       timestamptz '2026-01-01' + i * interval '1 second' AS moment, i % 2 = 0 AS flag,
       ((i % 5000) * 0.01)::numeric(12, 2) AS amount
FROM generate_series(1::bigint, {rows}) i
"""
_SLICED = """
CREATE TABLE base AS
SELECT g AS k, 'o' || abs(hashint8(g + 1)) % 3 AS o, 'c' || abs(hashint8(g + 2)) % 16 AS c,
       abs(hashint8(g + 3)) % 12 AS m, 'd' || abs(hashint8(g + 4)) % 100 AS d,
       abs(hashint8(g + 5)) % 5000 AS n, abs(hashint8(g + 6)) % 2 = 0 AS f, 0 AS v
FROM generate_series(1::bigint, 20000) g;
ALTER TABLE base ADD PRIMARY KEY (k);
ANALYZE base
"""


def _compared(
    engine: sa.Engine, before: str, after: str, rows: int, **options: Any
) -> TableDifference:
    instance = load_configuration().instance("full")

    def version(name: str) -> TableVersion:
        row = CatalogRow("s", "t", "table", name, row_count=rows)
        return TableVersion(instance, row, RelationName("public", name))

    with engine.begin() as connection:
        run(connection, BEGINNING)
        table = StageTable("s", "t")
        return compare_table(
            connection, table, version(before), version(after), ComparisonOptions(**options)
        )


def _made(engine: sa.Engine, name: str, version: int, rows: int) -> None:
    with engine.begin() as connection:
        run(connection, f"DROP TABLE IF EXISTS {name}")
        run(connection, _DATA.format(name=name, version=version, rows=rows))
        run(connection, f"ALTER TABLE {name} ADD PRIMARY KEY (id)")
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        # What the first reader of new pages has to write is not to be measured in either.
        run(connection, f"VACUUM (ANALYZE) {name}")


def comparisons(instance: Instance, rows: int = ROWS, rounds: int = 3) -> Iterator[Comparison]:
    """Measures keyed comparisons over the bare `CREATE TABLE AS` of one of the tables."""
    engine = database(instance).engine
    for name, version in (("a", 0), ("b", 1)):
        _made(engine, name, version, rows)

    def copy() -> None:
        with engine.begin() as connection:
            run(connection, "DROP TABLE IF EXISTS z; CREATE TABLE z AS SELECT * FROM b")

    size = f"{rows // 1_000_000} M x 10"
    for slices, goal in ((False, "2.5 x"), (True, "3.5 x")):
        what = f"{size} compared by key{', with slices' if slices else ''}, over CREATE TABLE AS"
        ours = functools.partial(_compared, engine, "a", "b", rows, slices=slices)
        yield compare(what, ours, copy, goal=goal, rounds=rounds)


def slices_found(instance: Instance, trials: int) -> str:
    """Plants slices of one and of two columns, and random changes."""
    engine = database(instance).engine
    with engine.begin() as connection:
        run(connection, _SLICED)
    dice = random.Random(5)
    values = {"o": 3, "c": 16, "m": 12, "d": 100}
    right = {1: 0, 2: 0}
    false = 0
    for number in range(2 * trials + trials // 2):
        many = 1 if number < trials else 2 if number < 2 * trials else 0
        chosen = dice.sample(("o", "c", "m") if many == 2 else tuple(values), many)
        planted = [
            f"{name} = {value}" if name == "m" else f"{name} = '{name}{value}'"
            for name in chosen
            for value in [dice.randrange(values[name])]
        ]
        share = dice.choice((0.3, 0.6, 1.0)) if many else 0.05
        salt = dice.randrange(10**9)
        chance = f"abs(hashint8(k + {salt})) % 1000 < {int(1000 * share)}"
        noise = f"abs(hashint8(k * 3 + {salt})) % 1000 < 1"
        condition = f"(({' AND '.join([*planted, chance])}) OR {noise})"
        with engine.begin() as connection:
            run(
                connection,
                "DROP TABLE IF EXISTS other; CREATE TABLE other AS SELECT k, o, c, m, d, n, f, "
                f"v + {condition}::int AS v FROM base; ALTER TABLE other ADD PRIMARY KEY (k)",
            )
        found = _compared(engine, "base", "other", 20_000).slices
        if not many:
            false += bool(found)
        elif found and {*found[0].condition.split(" AND ")} == {*planted}:
            right[many] += 1
    return (
        f"planted slices that come first: of one column {right[1]} of {trials} (goal 99 %), of two "
        f"{right[2]} of {trials} (95 %); random changes with a slice: {false} of {trials // 2} "
        "(at most 5 %)"
    )


def intervals_right(trials: int) -> str:
    """Draws samples of made-up changes, and counts the intervals that contain the truth."""
    chance = np.random.default_rng(7)
    kinds = ("rows changed", "sum of x", "mean of x", "bound")
    inside: dict[str, list[bool]] = {name: [] for name in kinds}
    for number in range(trials):
        units = 20_000
        rate = float(chance.choice([0.03, 0.05, 0.2]))
        share = float(chance.choice([0.001, 0.01, 0.05, 0.3, 1.0]))
        rows = chance.integers(1, 5, units)
        touched = chance.random(units) < share
        delta = chance.lognormal(0, 1.0, units) if number % 2 else chance.normal(1, 2, units)
        told = [np.ones(units), rows.astype(float), np.zeros(units), delta]
        drawn = chance.random(units) < rate
        of_sample = [np.where(touched, value, 0.0)[drawn] for value in told]
        names: list[tuple[str, float | None]] = [("rows changed", None), ("rows", None)]
        names.append(("sum of x", None))
        # A mean of another column, of which rows have gone.
        x, left = chance.lognormal(0, 1, units) * rows, np.where(touched, 0.0, rows)
        truth_of_mean = _mean(x * (left > 0), left) - _mean(x, rows)
        value, z = _of_mean(x[drawn], rows[drawn], left[drawn])
        if math.isfinite(value + truth_of_mean):
            names.append(("mean of x", value))
            of_sample.append(z * rate)
        found = estimated([_stratum(of_sample, touched[drawn], rate)], names, rate)
        truth = {
            "rows changed": float(rows[touched].sum()),
            "sum of x": float(delta[touched].sum()),
            "mean of x": truth_of_mean,
        }
        if found.units < LEAST_UNITS:
            inside["bound"].append(int(touched.sum()) <= found.most_units)
        for figure in found.figures:
            if figure.what in truth:
                inside[figure.what].append(figure.low <= truth[figure.what] <= figure.high)
    parts = [
        f"{name} {100 * sum(hits) / len(hits):.1f} % of {len(hits)}"
        for name, hits in inside.items()
        if hits
    ]
    return f"intervals that contain the truth: {', '.join(parts)} (goal 93 to 97 %, bound 95 %)"


def _mean(totals: Floats, rows: Floats) -> float:
    return float(totals.sum() / rows.sum()) if rows.sum() else math.nan


def _of_mean(x: Floats, before: Floats, after: Floats) -> tuple[float, Floats]:
    """Gives how a mean changes, and what each unit has to do with it."""
    kept = x * (after > 0)
    old, new = _mean(x, before), _mean(kept, after)
    z = (kept - new * after) / max(after.sum(), 1) - (x - old * before) / before.sum()
    return new - old, z


def _stratum(told: Sequence[Floats], touched: npt.NDArray[np.bool_], rate: float) -> EffectStratum:
    """Sums up what units tell, as the database does."""
    f, powers = 1 - rate, []
    for value in told:
        z = value / rate
        sums = (z.sum(), f * (z**2).sum(), f * (z**3).sum(), f**2 * (z**4).sum())
        powers.append(Powers(*map(float, sums)))
    changed = int(touched.sum())
    return EffectStratum(None, 0, len(touched), changed, changed, powers)


def oracle(pairs: int, engine: sa.Engine) -> str:
    """Compares random pairs of tables with nasty types with an oracle in Python."""
    from data_pipeline_tests.difference.test_oracle import wrong

    found = wrong(engine, range(1000, 1000 + pairs))
    return f"{pairs} random pairs of tables: {len(found)} wrong counts {found[:3]}"


def main() -> None:
    """Measures and prints."""
    with own_server():
        instance = load_configuration().instance("full")
        found = list(comparisons(instance))
        found += comparisons(instance, 10 * ROWS, rounds=1)
        for comparison in found:
            print(comparison, flush=True)
        times = found[3].ours / found[1].ours
        print(f"10 M rows with slices: {times:.1f} times 1 M (goal 12)", flush=True)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(f"most memory of the client: {peak:.0f} MB (goal 200 MB)", flush=True)
        print(intervals_right(2000), flush=True)
        print(oracle(500, database(instance).engine), flush=True)
        print(slices_found(instance, 100), flush=True)


if __name__ == "__main__":
    main()
