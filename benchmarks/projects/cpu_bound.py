"""Twenty steps of a second each, which need nothing but a processor; BENCH_PROCESSES runs two."""

import os
import time

import dagster as dg
import pandas as pd

from data_pipeline import INSTANCE_PARTITIONS, instance_definitions

STEPS, SECONDS = 20, 1.0


def step(number: int) -> dg.AssetsDefinition:
    """Return an asset that computes for a second."""

    @dg.asset(key=["cpu", f"t{number}"], partitions_def=INSTANCE_PARTITIONS, code_version="1")
    def table() -> pd.DataFrame:
        end, turns = time.process_time() + SECONDS, 0
        while time.process_time() < end:
            turns += 1
        return pd.DataFrame({"turns": [turns]})

    return table


two = dg.multiprocess_executor.configured({"max_concurrent": 2})
executor = two if os.environ.get("BENCH_PROCESSES") else dg.in_process_executor
defs = instance_definitions([step(number) for number in range(STEPS)], executor=executor)
