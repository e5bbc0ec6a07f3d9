"""A pipeline that the database holds up: each of its statements calls `public.hold` with a name.

All tables have the generation of the source, which the environment names: GENERATION. With EARLY,
the process is asked to end while it loads this code.
"""

import os
import signal
from typing import Any

import dagster as dg
import pandas as pd
import sqlalchemy as sa

from data_pipeline import Table, View
from data_pipeline.assembly import instance_definitions
from data_pipeline.instances.partitions import INSTANCE_PARTITIONS
from data_pipeline.sampling.copy_filtered_inputs import copy_filtered_inputs
from data_pipeline.sources.fingerprints import (
    outside_input,
)

if os.environ.get("EARLY"):
    os.kill(os.getpid(), signal.SIGTERM)


def _generation() -> int:
    return int(os.environ["GENERATION"])


@dg.asset(key=["raw", "t"], partitions_def=INSTANCE_PARTITIONS, metadata=outside_input(_generation))
def raw_t() -> pd.DataFrame:
    return pd.DataFrame({"id": range(20), "generation": _generation()})


inputs = copy_filtered_inputs(stage="inputs", raw=[raw_t])


def _asset(stage: str, name: str, source: str, **options: Any) -> Any:
    """Makes a function with one parameter, of the name of its source, the asset of a stage."""
    key = source.split("/")
    ins = {key[1]: dg.AssetIn(key=key)}
    return dg.asset(key=[stage, name], ins=ins, partitions_def=INSTANCE_PARTITIONS, **options)


# Dagster would try an interrupted step again.
@_asset("queries", "queried", "inputs/t", retry_policy=dg.RetryPolicy(max_retries=5))
def queried(t: sa.Table) -> Any:
    return sa.select(t.c.id, t.c.generation, sa.func.public.hold("query").label("held"))


@_asset("loads", "loaded", "inputs/t")
def loaded(t: pd.DataFrame) -> Any:
    # The domain, which the database checks for each row, holds up the COPY.
    return Table(t.assign(held=1), types={"held": "public.held_up"})


@_asset("reads", "shown", "inputs/t")
def shown(t: sa.Table) -> Any:
    return View(sa.select(t.c.id, t.c.generation, sa.func.public.hold("read").label("held")))


@_asset("reads", "read", "reads/shown")
def read(shown: pd.DataFrame) -> pd.DataFrame:
    return shown


assets = [raw_t, inputs, queried, loaded, shown, read]
defs = instance_definitions(assets)
