"""Partitions with a second dimension beside the instances: by it, tables are cut into slices."""

from typing import Any

import dagster as dg

INSTANCE_DIMENSION = "instance"
"""What the dimension of instances is called in `dg.MultiPartitionsDefinition`."""


def is_sliced(partitions: Any) -> bool:
    """Whether an asset has a second dimension beside the instances."""
    return isinstance(partitions, dg.MultiPartitionsDefinition)


def instances_of(partitions: Any) -> Any:
    """Return the partitions of whole tables: of sliced ones, the dimension of the instances."""
    if not is_sliced(partitions):
        return partitions
    named = {item.name: item.partitions_def for item in partitions.partitions_defs}
    return named.get(INSTANCE_DIMENSION)


def slice_dimension(
    partitions: dg.MultiPartitionsDefinition,
) -> tuple[str, dg.PartitionsDefinition[Any]]:
    """Return name and keys of the dimension by which a table is cut into slices."""
    named = {item.name: item.partitions_def for item in partitions.partitions_defs}
    [found] = [item for item in named.items() if item[0] != INSTANCE_DIMENSION]
    return found


def slice_key(partition_key: str, partitions: dg.MultiPartitionsDefinition) -> str:
    """Return the part of a partition key that names the slice."""
    keys = partitions.get_partition_key_from_str(partition_key).keys_by_dimension
    return str(keys[slice_dimension(partitions)[0]])


def partition_key_of(instance: str, key: str, partitions: dg.MultiPartitionsDefinition) -> str:
    """Return the partition key of a slice of an instance, as Dagster writes it."""
    name, _ = slice_dimension(partitions)
    return str(dg.MultiPartitionKey({INSTANCE_DIMENSION: instance, name: key}))


def copy_mapping(partitions: Any, mapping: dg.PartitionMapping) -> dg.PartitionMapping:
    """Return the edge from a raw table to its copy: a copy takes all slices.

    Args:
        partitions: The partitions of the raw table.
        mapping: The edge where these are the instances.
    """
    return dg.AllPartitionMapping() if is_sliced(partitions) else mapping
