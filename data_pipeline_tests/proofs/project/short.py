"""A pipeline of five assets, `raw` -> `left` -> `right`, for many runs in a short time; and slices.

Its runs may be partial, so a table may rightly have parts of several generations: it says the
oldest and the newest.
"""

from typing import Any

import dagster as dg
import pandas as pd
import sqlalchemy as sa

from data_pipeline import sql_query
from data_pipeline.assembly import instance_definitions
from data_pipeline.instances.partitions import INSTANCE_PARTITIONS
from data_pipeline.sources.fingerprints import (
    outside_input,
)
from data_pipeline_tests.proofs.project import days
from data_pipeline_tests.proofs.project.generations import called, generation


@dg.asset(
    key=["raw", "source"],
    partitions_def=INSTANCE_PARTITIONS,
    metadata=outside_input(generation),
)
def source() -> pd.DataFrame:
    called("raw/source")
    return pd.DataFrame({"id": range(10), "oldest": generation(), "newest": generation()})


@dg.asset(
    key=["left", "frame"],
    partitions_def=INSTANCE_PARTITIONS,
    ins={"source": dg.AssetIn(key=["raw", "source"])},
)
def frame(source: pd.DataFrame) -> pd.DataFrame:
    called("left/frame")
    return source.assign(id=source["id"] * 2)


@dg.asset(
    key=["left", "query"],
    partitions_def=INSTANCE_PARTITIONS,
    ins={"source": dg.AssetIn(key=["raw", "source"])},
)
def query(source: sa.Table) -> Any:
    called("left/query")
    return sql_query("SELECT id * 2 AS id, oldest, newest FROM {source}", source=source)


@dg.asset(
    key=["right", "both"],
    partitions_def=INSTANCE_PARTITIONS,
    ins={name: dg.AssetIn(key=["left", name]) for name in ("frame", "query")},
)
def both(frame: sa.Table, query: sa.Table) -> Any:
    called("right/both")
    text = """
        SELECT id, least(f.oldest, q.oldest) AS oldest, greatest(f.newest, q.newest) AS newest
        FROM {frame} f JOIN {query} q USING (id)
    """
    return sql_query(text, frame=frame, query=query)


@dg.asset(
    key=["right", "model"],
    partitions_def=INSTANCE_PARTITIONS,
    ins={"frame": dg.AssetIn(key=["left", "frame"])},
)
def model(frame: pd.DataFrame) -> dict[str, int]:
    called("right/model")
    return {"oldest": int(frame["oldest"].min()), "newest": int(frame["newest"].max())}


assets = [source, frame, query, both, model, *days.assets]
defs = instance_definitions(assets, jobs=days.jobs)
