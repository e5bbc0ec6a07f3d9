"""Data versions that Dagster alone knows: those of external and of unpartitioned assets."""

from typing import Any

import dagster as dg

DATA_VERSION_TAG = "dagster/data_version"


def is_outside(graph: Any, key: dg.AssetKey) -> bool:
    """Whether an asset has no row in the catalog of an instance, since no run of one makes it."""
    node = graph.get(key)
    return not node.is_materializable or node.partitions_def is None


def observed_version(
    storage: dg.DagsterInstance, graph: Any, key: dg.AssetKey, instance: str
) -> str | None:
    """Return the data version that was observed last, or was recorded with a materialization.

    Args:
        storage: Where Dagster keeps events.
        graph: The asset graph of the job.
        key: The asset.
        instance: The name of the instance, for assets that are partitioned by it.
    """
    partitions = None if graph.get(key).partitions_def is None else [instance]
    records = dg.AssetRecordsFilter(asset_key=key, asset_partitions=partitions)
    found = [
        *storage.fetch_observations(records, limit=1).records,
        *storage.fetch_materializations(records, limit=1).records,
    ]
    versions = [
        (record.timestamp, version)
        for record in found
        if (event := record.asset_observation or record.asset_materialization) is not None
        and (version := (event.tags or {}).get(DATA_VERSION_TAG)) is not None
    ]
    return max(versions)[1] if versions else None
