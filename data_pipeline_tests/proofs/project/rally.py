"""Stages `ping` and `pong`, which read from each other: ping, pong, ping, pong."""

from typing import Any

import dagster as dg
import pandas as pd
import sqlalchemy as sa

from data_pipeline import sql_query
from data_pipeline.instances.partitions import INSTANCE_PARTITIONS
from data_pipeline_tests.proofs.project.generations import (
    SQL_PACE,
    TORN,
    called,
    common_generation,
)


@dg.asset(
    key=["ping", "serve"],
    partitions_def=INSTANCE_PARTITIONS,
    ins={"totals": dg.AssetIn(key=["shop", "totals"])},
)
def serve(totals: sa.Table) -> Any:
    called("ping/serve")
    text = f"SELECT id, total % 7 AS speed, generation FROM {{totals}} CROSS JOIN {SQL_PACE}"
    return sql_query(text, totals=totals)


@dg.asset(
    key=["pong", "backhand"],
    partitions_def=INSTANCE_PARTITIONS,
    ins={
        "serve": dg.AssetIn(key=["ping", "serve"]),
        "summary": dg.AssetIn(key=["shop", "summary"]),
    },
)
def backhand(serve: pd.DataFrame, summary: pd.DataFrame) -> pd.DataFrame:
    called("pong/backhand")
    fast = serve[serve["speed"] >= serve["speed"].median()]
    return fast.assign(generation=common_generation(serve, summary))


@dg.asset(
    key=["ping", "forehand"],
    partitions_def=INSTANCE_PARTITIONS,
    ins={
        "backhand": dg.AssetIn(key=["pong", "backhand"]),
        "serve": dg.AssetIn(key=["ping", "serve"]),
    },
)
def forehand(backhand: sa.Table, serve: sa.Table) -> Any:
    called("ping/forehand")
    text = f"""
        SELECT b.id, b.speed + s.speed AS speed,
            CASE WHEN b.generation = s.generation THEN b.generation ELSE -1 END AS generation
        FROM {{backhand}} b JOIN {{serve}} s USING (id) CROSS JOIN {SQL_PACE}
    """
    return sql_query(text, backhand=backhand, serve=serve)


@dg.asset(
    key=["pong", "score"],
    partitions_def=INSTANCE_PARTITIONS,
    ins={
        "forehand": dg.AssetIn(key=["ping", "forehand"]),
        "model": dg.AssetIn(key=["shop", "model"]),
    },
)
def score(forehand: pd.DataFrame, model: Any) -> dict[str, int]:
    called("pong/score")
    common = common_generation(forehand)
    common = common if common == model["generation"] else TORN
    return {"points": len(forehand), "generation": common}
