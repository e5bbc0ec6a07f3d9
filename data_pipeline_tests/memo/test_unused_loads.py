"""A copying instance does not compute what only its source instance has a use for."""

from typing import Any

import dagster as dg
import pandas as pd
import sqlalchemy as sa

from data_pipeline import RAW_TO_SAMPLED
from data_pipeline.instances.partitions import INSTANCE_PARTITIONS
from data_pipeline.sources.fingerprints import (
    outside_input,
)
from data_pipeline_tests.io_manager.runs import rows
from data_pipeline_tests.memo.jobs import called
from data_pipeline_tests.memo.stages import asset
from data_pipeline_tests.memo.world import World


def files() -> pd.DataFrame:
    called("files")
    return pd.DataFrame({"n": [1, 2, 3]})


def table(files: pd.DataFrame) -> pd.DataFrame:
    called("table")
    return files


def lookup() -> pd.DataFrame:
    called("lookup")
    return pd.DataFrame({"n": [7]})


def behind(table: pd.DataFrame, lookup: pd.DataFrame) -> pd.DataFrame:
    called("behind")
    return pd.concat([table, lookup])


def test_what_own_copies_read_elsewhere_is_not_loaded(
    world: World, pipeline_database: sa.Engine
) -> None:
    @dg.asset(
        key=["s", "table"],
        ins={"table": dg.AssetIn(key=["raw", "table"], partition_mapping=RAW_TO_SAMPLED)},
        partitions_def=INSTANCE_PARTITIONS,
    )
    def copied(table: sa.Table) -> Any:
        called("copied")
        return sa.select(table).where(table.c.n < 3)

    def pipeline() -> list[Any]:
        return [
            asset("raw/files", files, metadata=outside_input(lambda: 1)),
            asset("raw/table", table, "raw/files"),
            asset("raw/lookup", lookup),
            copied,
            asset("s/behind", behind, "s/table", "raw/lookup"),
        ]

    for name, expected in {
        "full": {"files", "table", "lookup", "copied", "behind"},
        "midi": {"lookup", "copied", "behind"},
    }.items():
        world.made(pipeline, name)
        assert world.last.success, world.last.log
        assert set(world.calls) == expected
    assert rows(pipeline_database, "SELECT n FROM midi_s.behind ORDER BY n") == [(1,), (2,), (7,)]
    world.made(pipeline, "midi")
    assert not world.calls, world.last.log
