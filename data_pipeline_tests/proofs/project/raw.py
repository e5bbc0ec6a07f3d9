"""Stage `raw`, loaded from a source that has one generation of data, and stage `inputs`."""

import dagster as dg
import numpy as np
import pandas as pd

from data_pipeline import table_properties
from data_pipeline.instances.partitions import INSTANCE_PARTITIONS
from data_pipeline.sampling import copy_filtered_inputs
from data_pipeline.sources.fingerprints import (
    outside_input,
)
from data_pipeline_tests.proofs.project.generations import called, generation

CUSTOMERS, ORDERS = 200, 2000


@dg.asset(
    key=["raw", "customers"],
    partitions_def=INSTANCE_PARTITIONS,
    metadata={**outside_input(generation), **table_properties(primary_key="id")},
)
def customers() -> pd.DataFrame:
    called("raw/customers")
    ids = np.arange(CUSTOMERS)
    names = [f"customer {number}" for number in ids]
    return pd.DataFrame({"id": ids, "name": names, "generation": generation()})


@dg.asset(
    key=["raw", "orders"],
    partitions_def=INSTANCE_PARTITIONS,
    metadata={
        **outside_input(generation),
        **table_properties(primary_key="id", indexes=["customer"]),
    },
)
def orders() -> pd.DataFrame:
    called("raw/orders")
    ids = np.arange(ORDERS)
    amounts = (ids * 37 + generation() * 101) % 1000
    return pd.DataFrame(
        {"id": ids, "customer": ids % CUSTOMERS, "amount": amounts, "generation": generation()}
    )


inputs = copy_filtered_inputs(stage="inputs", raw=[customers, orders])
