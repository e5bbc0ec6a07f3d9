"""What an asset reads: the tables upstream of it, each on the instance that it is read from."""

from collections.abc import Iterator
from typing import Any

import dagster as dg

from data_pipeline.instances import Configuration, Instance
from data_pipeline.tables.copies import read_instead
from data_pipeline.tables.names import StageTable


def upstream(
    graph: Any, key: dg.AssetKey, configuration: Configuration, instance: Instance
) -> Iterator[tuple[dg.AssetKey, Instance, StageTable]]:
    """Gives the assets that an asset depends on, with their instances and tables.

    What is no table of a pipeline (an external asset) gets a name that no catalog knows. Dagster's
    edges end at the raw tables of the root; what copies a copy reads that one, see `read_instead`.

    Args:
        graph: The asset graph of the job.
        key: The asset.
        configuration: All instances.
        instance: The instance for which the asset is computed.
    """
    node = graph.get(key)
    for parent in sorted(node.parent_keys):
        stage, name = parent.path if len(parent.path) == 2 else ("", "/".join(parent.path))
        for source in _instances(graph, key, parent, configuration, instance):
            table = StageTable(stage, name)
            yield parent, *read_instead(node.assets_def, instance, source, table)


def _instances(
    graph: Any,
    key: dg.AssetKey,
    parent: dg.AssetKey,
    configuration: Configuration,
    instance: Instance,
) -> list[Instance]:
    node, source = graph.get(key), graph.get(parent)
    if node.partitions_def is None or source.partitions_def is None:
        return [instance]
    mapped = graph.get_partition_mapping(
        key, parent
    ).get_upstream_mapped_partitions_result_for_partitions(
        node.partitions_def.subset_with_partition_keys([instance.name]),
        node.partitions_def,
        source.partitions_def,
    )
    names = sorted(mapped.partitions_subset.get_partition_keys()) or [instance.name]
    return [configuration.read_by(instance, name) for name in names]
