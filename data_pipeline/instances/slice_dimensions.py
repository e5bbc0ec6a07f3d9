"""Partitions with a second dimension beside the instances: by it, tables are cut into slices."""

import difflib
from collections.abc import Iterable, Sequence
from typing import Any

import dagster as dg

from data_pipeline.errors import ConfigurationError
from data_pipeline.instances import project
from data_pipeline.instances.instance import key_parts
from data_pipeline.instances.merged_layers import suggestion

INSTANCE_DIMENSION = "instance"
"""What the dimension of instances is called in `dg.MultiPartitionsDefinition`."""

_MOST_SHOWN = 20


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


def partition_key_of(instance: str, key: str, partitions: dg.MultiPartitionsDefinition) -> str:
    """Return the partition key of a slice of an instance, as Dagster writes it."""
    name, _ = slice_dimension(partitions)
    return str(dg.MultiPartitionKey({INSTANCE_DIMENSION: instance, name: key}))


def slice_keys(
    partitions: dg.PartitionsDefinition[Any], storage: dg.DagsterInstance | None
) -> list[str]:
    """Return the keys of all slices.

    Args:
        partitions: The dimension by which tables are cut.
        storage: Where Dagster keeps dynamic partitions; None: nowhere yet.
    """
    if storage is None and isinstance(partitions, dg.DynamicPartitionsDefinition):
        return []
    return [str(key) for key in partitions.get_partition_keys(dynamic_partitions_store=storage)]


def as_ranges(keys: Iterable[tuple[str, bool]]) -> str:
    """Write keys as `--slices` takes them: those that follow each other as `first..last`.

    Args:
        keys: The keys, each with whether it comes right behind the one before.
    """
    ranges: list[tuple[str, ...]] = []
    for key, follows in keys:
        if follows and ranges:
            ranges[-1] = (ranges[-1][0], key)
        else:
            ranges.append((key,))
    return ",".join("..".join(item) for item in ranges)


def unknown_slice(
    key: str, dimension: str, partitions: dg.PartitionsDefinition[Any], known: Sequence[str]
) -> str:
    """Say that there is no slice of a key, and which ones there are.

    Args:
        key: The key.
        dimension: What tables are cut by.
        partitions: The partitions of that dimension.
        known: The keys that there are.
    """
    said = f"`{dimension}` has no slice `{key}`. "
    if isinstance(partitions, dg.DynamicPartitionsDefinition):
        there = _close(key, known) if known else "There are none yet."
        return (
            f"{said}{there} Dynamic partitions are added in the web UI, or by DagsterInstance.get()"
            f'.add_dynamic_partitions({partitions.name or "name"!r}, ["key"]).'
        )
    if not isinstance(partitions, dg.TimeWindowPartitionsDefinition):
        return said + _close(key, known)
    there = f"They go from `{known[0]}` to `{known[-1]}`" if known else "There are none yet"
    return (
        f"{said}{there}; one is there when its time is over, unless the partitions definition has "
        "an `end_offset`."
    )


def check_partition_key(
    job: str,
    partition_key: str,
    instance: str,
    partitions: Any,
    storage: dg.DagsterInstance | None,
) -> None:
    """Refuse a run whose partition key is none of what it computes.

    Dagster itself looks only at the keys that are chosen in the web UI, not at tags.

    Args:
        job: The job.
        partition_key: The key that the run says.
        instance: The instance that it names.
        partitions: The partitions of what it computes.
        storage: Where Dagster keeps dynamic partitions.

    Raises:
        ConfigurationError: It has no slice although tables have some, or the other way round; or
            there is no such slice.
    """
    where = f"The run of job `{job}` has the partition key `{partition_key}`"
    own = [part for part in key_parts(partition_key) if part != instance]
    if not is_sliced(partitions):
        if own:
            raise ConfigurationError(
                f"{where}, and builds whole tables: its key is `{instance}`. Slices of tables are "
                f"built by {project.command('run', instance, '--slices', own[0])}."
            )
        return
    dimension, by = slice_dimension(partitions)
    if len(own) == 1 and partition_key == partition_key_of(instance, own[0], partitions):
        if not _has(by, own[0], storage):
            said = unknown_slice(own[0], dimension, by, slice_keys(by, storage))
            raise ConfigurationError(f"{where}: {said}")
        return
    form = partition_key_of(INSTANCE_DIMENSION, dimension, partitions)
    raise ConfigurationError(
        f"{where}, and builds slices by `{dimension}`: write `{form}`, or "
        f"{project.command('run', instance, '--slices', 'KEY')}."
    )


def _has(by: dg.PartitionsDefinition[Any], key: str, storage: dg.DagsterInstance | None) -> bool:
    if isinstance(by, dg.DynamicPartitionsDefinition):
        return key in slice_keys(by, storage)
    return by.has_partition_key(key)  # without all the hours of ten years


def _close(key: str, known: Sequence[str]) -> str:
    """Return the remedy for an unknown key: those that there are, of many some that are alike."""
    if len(known) <= _MOST_SHOWN:
        return suggestion(key, known)
    alike = difflib.get_close_matches(key, known) or known[:3]
    return f"{suggestion(key, alike)} There are {len(known):,}."


def copy_mapping(partitions: Any, mapping: dg.PartitionMapping) -> dg.PartitionMapping:
    """Return the edge from a raw table to its copy: a copy takes all slices.

    Args:
        partitions: The partitions of the raw table.
        mapping: The edge where these are the instances.
    """
    return dg.AllPartitionMapping() if is_sliced(partitions) else mapping
