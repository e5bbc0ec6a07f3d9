"""Tables by queries or frames, in a chain or side by side; BENCH_CHANGE is code of the middle."""

import os

import dagster as dg
import sqlalchemy as sa

from data_pipeline import INSTANCE_PARTITIONS, instance_definitions

TABLES = int(os.environ.get("BENCH_TABLES", "100"))
STAGES = int(os.environ.get("BENCH_STAGES", "1"))
WIDE = os.environ.get("BENCH_WIDE") == "1"
FRAMES = os.environ.get("BENCH_FRAMES") == "1"
if FRAMES:  # queries start without it
    import pandas as pd


def _key(number: int) -> list[str]:
    return [f"queries{number * STAGES // TABLES}", f"t{number}"]


def link(number: int) -> dg.AssetsDefinition:
    """Return the asset of one table, which reads the one before, or the first."""
    before = 0 if WIDE else number - 1
    added = int(os.environ.get("BENCH_CHANGE", "1")) if number == TABLES // 2 else 1

    def frame(**before: "pd.DataFrame") -> "pd.DataFrame":
        return before["before"] + added if before else pd.DataFrame({"x": [1]})

    def table(**before: sa.Table) -> sa.Select[tuple[int]]:
        if not before:
            return sa.select(sa.literal(1).label("x"))
        return sa.select((before["before"].c.x + added).label("x"))

    return dg.asset(
        key=_key(number),
        ins={"before": dg.AssetIn(key=_key(before))} if number else {},
        partitions_def=INSTANCE_PARTITIONS,
    )(frame if FRAMES else table)


defs = instance_definitions([link(number) for number in range(TABLES)])
