"""The instances as Dagster partitions, and the edge from raw tables to sampled ones."""

import dagster as dg

from data_pipeline import dataframely_and_pandera
from data_pipeline.instances.configuration import Configuration, load_configuration


def instance_partitions(configuration: Configuration) -> dg.StaticPartitionsDefinition:
    """Return the one partitions definition that all assets use: a key for each instance."""
    return dg.StaticPartitionsDefinition(list(configuration.instances))


def raw_partition_mapping(configuration: Configuration) -> dg.StaticPartitionMapping:
    """Return the edge from a raw table to its sampled table.

    An instance that loads for itself feeds its own sampled table, and those of all instances that
    copy from it, directly or by way of others. (If `mini` copies from `midi` and `midi` from
    `full`, then `raw[full]` feeds all three: only raw tables are upstream of sampled ones, since an
    asset cannot depend on itself across static partitions.)

    So Dagster's lineage says less than what is done. What a run of `mini` reads, and whether it has
    something to do, goes by the catalog: there its sampled tables depend on those of `midi`, and
    on no raw table (see `identity/upstream.py`). New raw data makes all of them stale in the UI,
    but `mini` runs nothing before `midi` has taken them. The order in which they run is up
    to the user, as it is for `full` and `midi`.

    The raw partitions of instances that copy feed nothing, and are never materialized.
    """
    fed: dict[str, list[str]] = {}
    for name, instance in configuration.instances.items():
        fed.setdefault(instance.root_source.name, []).append(name)
    return dg.StaticPartitionMapping(fed)


dataframely_and_pandera.install()

_CONFIGURATION = load_configuration()

INSTANCE_PARTITIONS = instance_partitions(_CONFIGURATION)
"""The instances of the default configuration, read when this module is imported."""

RAW_TO_SAMPLED = raw_partition_mapping(_CONFIGURATION)
"""The edge from raw tables to sampled ones in the default configuration."""
