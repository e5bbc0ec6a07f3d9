"""The slices of tables that a command is to work on: `--slices 2026-01-01..2026-01-30`."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from data_pipeline.cli import chosen_project
from data_pipeline.errors import ConfigurationError

if TYPE_CHECKING:
    import dagster as dg

    from data_pipeline.database.identifiers import StageTable

_TO = ".."

SLICES = click.option(
    "--slices",
    metavar="[DIMENSION=]KEY[..KEY][,...]",
    help="Slices of tables instead: 2026-01-01..2026-01-30, or zone=north,south.",
)


@dataclass(frozen=True)
class SliceRun:
    """One run of a slice.

    Attributes:
        job: The job that builds slices.
        key: The slice.
        partition_key: The partition of instance and slice.
        tags: The tags of the run that say it.
        rank: How often the job of the instance has to run before it.
        place: Where the key stands among those of its dimension.
    """

    job: str
    key: str
    partition_key: str
    tags: Mapping[str, str]
    rank: int
    place: int


def chosen_slices(
    said: str, instance: str, storage: "dg.DagsterInstance | None"
) -> Iterator[SliceRun]:
    """Return the runs that build slices of an instance, job by job, slice by slice.

    Jobs of raw tables alone are left out for instances that load none.

    Args:
        said: What the option says.
        instance: The instance.
        storage: Where Dagster keeps dynamic partitions; None: nowhere yet.

    Raises:
        ConfigurationError: There are no such slices.
    """
    import dagster as dg

    from data_pipeline.instances.dagster_resource import PARTITION_TAG
    from data_pipeline.instances.slice_dimensions import (
        INSTANCE_DIMENSION,
        partition_key_of,
        slice_dimension,
        slice_keys,
        unknown_slice,
    )
    from data_pipeline.sliced_assets import RANK_KEY

    loads = not chosen_project.configuration().instance(instance).copies
    names = dict.fromkeys(chosen_project.sliced_tables().values())
    jobs = {name: chosen_project.job(name) for name in names}
    by = {
        name: job.partitions_def
        for name, job in jobs.items()
        if isinstance(job.partitions_def, dg.MultiPartitionsDefinition)
    }
    dimensions = {name: slice_dimension(partitions) for name, partitions in by.items()}
    dimension, wanted = _dimension(said, sorted({item[0] for item in dimensions.values()}))
    keys = {
        name: slice_keys(found, storage)
        for name, (other, found) in dimensions.items()
        if other == dimension
    }
    every = list(dict.fromkeys(key for found in keys.values() for key in found))
    by_this = next(found for other, found in dimensions.values() if other == dimension)
    chosen = list(_chosen(wanted, every, lambda key: unknown_slice(key, dimension, by_this, every)))
    places = {key: place for place, key in enumerate(every)}
    made = [name for name in keys if loads or not _is_raw(jobs[name])]
    for name in made:
        rank: Any = jobs[name].metadata[RANK_KEY].value
        for key in (key for key in chosen if key in keys[name]):
            partition = partition_key_of(instance, key, by[name])
            tags = {
                PARTITION_TAG: partition,
                f"{PARTITION_TAG}/{dimension}": key,
                f"{PARTITION_TAG}/{INSTANCE_DIMENSION}": instance,
            }
            yield SliceRun(name, key, partition, tags, rank, places[key])


def said_of(runs: Sequence[SliceRun]) -> str:
    """Write slices as the option takes them."""
    from data_pipeline.instances.slice_dimensions import as_ranges

    places = {item.place: item.key for item in runs}
    return as_ranges((places[place], place - 1 in places) for place in sorted(places))


def _is_raw(job: "dg.JobDefinition") -> bool:
    """Whether a job makes nothing but raw tables."""
    from data_pipeline.identity.computation import RAW_TAG

    graph = job.asset_layer.asset_graph
    return all(RAW_TAG in graph.get(key).tags for key in job.asset_layer.selected_asset_keys)


def known_slices(storage: "dg.DagsterInstance | None") -> "dict[StageTable, list[str]]":
    """Return the keys that the slices of each table may have.

    Tables by dynamic partitions without any key are left out: most likely that is another storage
    than the one in which keys were added.

    Args:
        storage: Where Dagster keeps dynamic partitions; None: nowhere yet.
    """
    import dagster as dg

    from data_pipeline.instances.slice_dimensions import slice_dimension, slice_keys

    found = {}
    for table, name in chosen_project.sliced_tables().items():
        partitions = chosen_project.job(name).partitions_def
        if isinstance(partitions, dg.MultiPartitionsDefinition):
            _, by = slice_dimension(partitions)
            keys = slice_keys(by, storage)
            if keys or not isinstance(by, dg.DynamicPartitionsDefinition):
                found[table] = keys
    return found


def _dimension(said: str, known: Sequence[str]) -> tuple[str, str]:
    """Return the dimension, and what is said of its keys."""
    if not known:
        raise ConfigurationError(
            "--slices: no table of this project has slices. Give an asset "
            'partitions_def=dg.MultiPartitionsDefinition({"instance": INSTANCE_PARTITIONS, '
            '"day": dg.DailyPartitionsDefinition(...)}).'
        )
    name, mark, wanted = said.partition("=")
    if mark and name in known:
        return name, wanted
    if len(known) == 1:
        return known[0], said
    listed = " or ".join(f"--slices {name}=..." for name in known)
    raise ConfigurationError(f"--slices {said}: tables have slices by several things. Say {listed}")


def _chosen(wanted: str, known: Sequence[str], unknown: Callable[[str], str]) -> Iterator[str]:
    for part in wanted.split(","):
        first, mark, last = part.partition(_TO)
        for key in (first, last) if mark else (first,):
            if key not in known:
                raise ConfigurationError(f"--slices: {unknown(key)}")
        start = known.index(first)
        end = known.index(last) if mark else start
        if end < start:
            raise ConfigurationError(f"--slices {part}: `{first}` comes after `{last}`.")
        yield from known[start : end + 1]
