"""A small pipeline to check: raw tables, their samples, a query, a blob."""

import functools
from collections.abc import Sequence

import dagster as dg
import pandas as pd

from data_pipeline import ForeignKey, instance_resources, table_properties
from data_pipeline.instances.partitions import INSTANCE_PARTITIONS
from data_pipeline.sampling import copy_filtered_inputs
from data_pipeline.sampling.checks import table_checks

CUSTOMERS = pd.DataFrame({"id": [1, 2, 3, 4], "name": ["Ann", "Bob", "Cid", "Dee"]})
ORDERS = pd.DataFrame({"id": [1, 2, 3, 4], "customer": pd.array([1, 2, 9, None], dtype="Int64")})

FOREIGN_KEY = ForeignKey(["customer"], references="customers", referenced_columns=["id"])


def raw_tables(
    customers: pd.DataFrame = CUSTOMERS,
    orders: pd.DataFrame = ORDERS,
    foreign_key: ForeignKey = FOREIGN_KEY,
    *others: ForeignKey,
) -> list[dg.AssetsDefinition]:
    """Stage shop_raw: customers, and orders that refer to them."""

    @dg.asset(
        key=["shop_raw", "customers"],
        partitions_def=INSTANCE_PARTITIONS,
        metadata=table_properties(primary_key="id"),
    )
    def customers_() -> pd.DataFrame:
        return customers

    @dg.asset(
        key=["shop_raw", "orders"],
        partitions_def=INSTANCE_PARTITIONS,
        metadata=table_properties(primary_key="id", foreign_keys=[foreign_key, *others]),
    )
    def orders_() -> pd.DataFrame:
        return orders

    return [customers_, orders_]


def sampled(raw: Sequence[dg.AssetsDefinition]) -> dg.AssetsDefinition:
    """Stage shop: the sample of the raw tables."""
    return copy_filtered_inputs(stage="shop", raw=raw)


def run(
    instance: str, assets: Sequence[dg.AssetsDefinition], built: Sequence[dg.AssetsDefinition] = ()
) -> dict[str, dg.AssetCheckEvaluation]:
    """Computes assets on an instance and then checks them.

    Args:
        instance: Its name.
        assets: What to compute and check.
        built: What they read and a run before has built.

    Returns:
        The results by `stage/table.check`.
    """
    result = dg.materialize(
        [*assets, *(spec for asset in built for spec in asset.specs), *table_checks(assets)],
        partition_key=instance,
        resources=instance_resources(instance),
        instance=_storage(),
    )
    assert result.success
    return _by_name(result)


def check(
    instance: str, assets: Sequence[dg.AssetsDefinition]
) -> dict[str, dg.AssetCheckEvaluation]:
    """Checks assets on an instance as they are, without computing them; results as in `run`."""
    definitions = dg.Definitions(
        [spec for asset in assets for spec in asset.specs],
        asset_checks=table_checks(assets),
        resources=instance_resources(instance),
        jobs=[dg.define_asset_job("checks", dg.AssetSelection.all_asset_checks())],
    )
    job = definitions.resolve_job_def("checks")
    result = job.execute_in_process(instance=_storage(), tags={"dagster/partition": instance})
    assert result.success
    return _by_name(result)


@functools.cache
def _storage() -> dg.DagsterInstance:
    """Dagster's own storage, in memory: made once, since that takes as long as a run."""
    return dg.DagsterInstance.ephemeral()


def _by_name(result: dg.ExecuteInProcessResult) -> dict[str, dg.AssetCheckEvaluation]:
    return {
        f"{found.asset_key.to_user_string()}.{found.check_name}": found
        for found in result.get_asset_check_evaluations()
    }
