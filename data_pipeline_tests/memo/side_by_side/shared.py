"""What both pipelines have, and assets that a test can hold up."""

import os
from contextlib import closing

import dagster as dg
import pandas as pd
import psycopg2

from data_pipeline.instances.partitions import INSTANCE_PARTITIONS
from data_pipeline.sampling import copy_filtered_inputs
from data_pipeline.sources.fingerprints import (
    outside_input,
)


def gate(key):
    # Waits as long as the test has closed the gate of this name.
    with closing(psycopg2.connect(os.environ["DATA_PIPELINE_DATABASE_URL"])) as connection:
        connection.cursor().execute("SELECT pg_advisory_lock_shared(7, hashtext(%s))", [key])


def asset(key, *deps, blob=False, metadata=None):
    name = key.replace("/", "_")
    version = os.environ.get("VERSION_" + name, "1")
    options = {"deps": [dg.AssetKey(dep.split("/")) for dep in deps], "code_version": version}
    options["metadata"] = metadata

    @dg.asset(key=key.split("/"), partitions_def=INSTANCE_PARTITIONS, **options)
    def made():
        gate(key)
        return {"weight": int(version)} if blob else pd.DataFrame({"v": [int(version)]})

    return made


raw = asset("raw/t", metadata=outside_input(lambda: "unchanged"))
shared = [raw, copy_filtered_inputs(stage="sample", raw=[raw])]
