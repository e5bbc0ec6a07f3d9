"""What a step costs: a chain of small tables, against the same chain in memory."""

import dagster as dg
import pandas as pd

from benchmarks.measure import Comparison, compare
from data_pipeline import instance_resources
from data_pipeline.instances.partitions import INSTANCE_PARTITIONS

STEPS = 20


def chain() -> list[dg.AssetsDefinition]:
    """Return assets `chain/t0`, `chain/t1`, ... of which each reads the one before."""

    @dg.asset(key=["chain", "t0"], partitions_def=INSTANCE_PARTITIONS)
    def first() -> pd.DataFrame:
        return pd.DataFrame({"a": [1]})

    def link(number: int) -> dg.AssetsDefinition:
        @dg.asset(
            key=["chain", f"t{number}"],
            ins={"before": dg.AssetIn(key=["chain", f"t{number - 1}"])},
            partitions_def=INSTANCE_PARTITIONS,
        )
        def table(before: pd.DataFrame) -> pd.DataFrame:
            return before

        return table

    return [first, *(link(number) for number in range(1, STEPS))]


def per_step() -> Comparison:
    """Measures a run of the chain in the database against one in memory."""
    assets = chain()
    storage = dg.DagsterInstance.ephemeral()
    tables = instance_resources("full")
    memory = instance_resources("full", io_manager=False)

    def in_database() -> None:
        dg.materialize(assets, partition_key="full", resources=tables, instance=storage)

    def in_memory() -> None:
        dg.materialize_to_memory(assets, partition_key="full", resources=memory, instance=storage)

    return compare(
        f"{STEPS} steps with a table each, against memory",
        in_database,
        in_memory,
        goal="none; read the difference as the cost of tables",
        rounds=3,
    )
