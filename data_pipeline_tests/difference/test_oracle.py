"""Counts of rows that differ, against an oracle in Python, over random tables of nasty values."""

import sqlalchemy as sa

from data_pipeline.database.connection import database, run
from data_pipeline.difference.snapshot import BEGINNING
from data_pipeline.instances import load_configuration
from data_pipeline_tests.difference.oracle import SETUP, MadePair, expected, made_pair
from data_pipeline_tests.difference.relations import compared
from data_pipeline_tests.io_manager.runs import execute

PAIRS = 80


def test_no_count_is_wrong(pipeline_database: sa.Engine) -> None:
    assert wrong(pipeline_database, range(PAIRS)) == []


def wrong(engine: sa.Engine, seeds: range) -> list[str]:
    """Gives the pairs of tables of which something is counted wrongly."""
    pairs = {seed: made_pair(seed, f"p{seed}") for seed in seeds}
    execute(engine, SETUP + "".join(pair.sql for pair in pairs.values()))
    found = []
    with database(load_configuration().instance("full")).begin() as connection:
        run(connection, BEGINNING)
        for seed, pair in pairs.items():
            found += [f"{seed}: {line}" for line in _faults(connection, seed, pair)]
    return found


def _faults(connection: sa.Connection, seed: int, pair: MadePair) -> list[str]:
    ignored = [list(pair.before.columns)[-1]] if seed % 3 == 0 else []
    tolerance = 0.001 if seed % 2 else 0.0
    if not pair.key:
        tolerance = 0.0
    names = pair.before.name, pair.after.name
    options = {"ignore": (*ignored,), "tolerance": tolerance, "rows": seed % 2}
    result = compared(connection, *names, pair.key, **options)
    right = expected(pair, ignored, tolerance)
    rows = result.rows
    if rows is None:
        return [f"not compared: {result}"]
    seen = (rows.before, rows.after, rows.added, rows.removed, rows.changed)
    columns = {item.name: item.changed for item in result.columns if item.changed}
    wanted = (right.before, right.after, right.added, right.removed, right.changed)
    lines = [] if seen == wanted else [f"{seen}, not {wanted}"]
    if columns != right.columns:
        lines.append(f"{columns}, not {right.columns}")
    is_equal = not (right.added or right.removed or right.changed)
    if is_equal != (result.status in ("equal", "schema")):
        lines.append(f"status {result.status}")
    return lines
