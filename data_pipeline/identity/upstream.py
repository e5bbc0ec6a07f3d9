"""What an asset reads: the tables upstream of it, each on the instance that it is read from."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from threading import Lock
from typing import Any

import dagster as dg

from data_pipeline.database.identifiers import StageTable
from data_pipeline.instances import Configuration, Instance
from data_pipeline.instances.slice_dimensions import is_sliced
from data_pipeline.store.lookup import input_table, read_instead


def upstream(
    graph: Any, key: dg.AssetKey, configuration: Configuration, instance: Instance
) -> Iterator[tuple[dg.AssetKey, Instance, StageTable]]:
    """Return the assets that an asset depends on, with their instances and tables.

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
        for source in _instances(graph, key, parent, configuration, instance):
            table = table_of(graph, parent, instance)
            yield parent, *read_instead(node.assets_def, instance, source, table)


def table_of(graph: Any, key: dg.AssetKey, instance: Instance) -> StageTable:
    """Return the table of an asset, or of a sliced one the slice that a run computes.

    Args:
        graph: The asset graph of the job.
        key: The asset.
        instance: The instance of the run.
    """
    table = StageTable.of_key(key.path)
    if instance.slice is None or not graph.has(key) or not is_sliced(graph.get(key).partitions_def):
        return table
    return table.of_slice(instance.slice)


UNPARTITIONED_TAG = "data_pipeline/unpartitioned"
"""The asset tag of assets without partitions that are computed here.

The jobs of instances do not compute them, so that these take them for external ones.
"""


def is_computed_alone(graph: Any, key: dg.AssetKey) -> bool:
    """Whether an asset has no partitions and is computed here, so that one instance has its table.

    Args:
        graph: The asset graph of a job.
        key: The asset.
    """
    node = graph.get(key)
    return node.partitions_def is None and (
        node.is_materializable or UNPARTITIONED_TAG in node.tags
    )


def _instances(
    graph: Any,
    key: dg.AssetKey,
    parent: dg.AssetKey,
    configuration: Configuration,
    instance: Instance,
) -> list[Instance]:
    node, source = graph.get(key), graph.get(parent)
    if source.partitions_def is None:
        home = configuration.of_unpartitioned
        is_own = home is None or not is_computed_alone(graph, parent)
        return [instance if home is None or is_own else configuration.read_by(instance, home.name)]
    if is_sliced(source.partitions_def) or is_sliced(node.partitions_def):
        # An instance reads its own slices; what copies raw tables, or compares, those of the root.
        is_copy = input_table(node.assets_def, StageTable.of_key(parent.path)) is not None
        return [instance.root_source if is_copy else instance]
    mapping = graph.get_partition_mapping(key, parent)
    if isinstance(mapping, dg.IdentityPartitionMapping):
        return [configuration.read_by(instance, instance.name)]
    own = node.partitions_def and node.partitions_def.subset_with_partition_keys([instance.name])
    mapped = mapping.get_upstream_mapped_partitions_result_for_partitions(
        own,
        node.partitions_def,
        source.partitions_def,
    )
    names = sorted(mapped.partitions_subset.get_partition_keys()) or [instance.name]
    return [configuration.read_by(instance, name) for name in names]


class InputVersions:
    """The data versions of the inputs that each running step has loaded."""

    def __init__(self) -> None:
        self._steps: defaultdict[tuple[str, str], dict[str, str | None]] = defaultdict(dict)
        self._lock = Lock()

    def add(
        self, run_id: str, step: str, instance_id: str, table: StageTable, version: str | None
    ) -> None:
        """Note that a step has loaded a table; a version of None says that it is not known."""
        with self._lock:
            self._steps[run_id, step][f"{instance_id}/{table}"] = version

    def of(self, run_id: str, step: str) -> Mapping[str, str | None]:
        """Return what a step has loaded so far: the versions, by `instance/stage/table`."""
        with self._lock:
            return dict(self._steps.get((run_id, step), {}))
