"""Assets whose tables have slices: what they may be, and the jobs that build their slices.

Dagster has one partitions definition in a job, so these have jobs of their own.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

import dagster as dg

from data_pipeline.database.identifiers import MAX_IDENTIFIER_BYTES, SLICE_MARK, StageTable
from data_pipeline.errors import ConfigurationError
from data_pipeline.instances.slice_dimensions import (
    INSTANCE_DIMENSION,
    is_sliced,
    slice_dimension,
)
from data_pipeline.results.slice_rows import check_properties
from data_pipeline.store.lookup import input_table
from data_pipeline.store.several_tables import is_several
from data_pipeline.store.sliced_tables import SliceBounds, column_of
from data_pipeline.store.table_properties import declared_properties

RANK_KEY = "data_pipeline/rank"
"""The metadata of a job of slices: how often the job of the instance has to run before it."""

_WRITE = 'dg.MultiPartitionsDefinition({"instance": INSTANCE_PARTITIONS, "day": ...})'
_CUTTING = (
    dg.TimeWindowPartitionsDefinition,
    dg.StaticPartitionsDefinition,
    dg.DynamicPartitionsDefinition,
)


def check_slices(
    assets: Iterable[dg.AssetsDefinition], stored: Iterable[StageTable], instances: Sequence[str]
) -> None:
    """Refuse assets with slices that cannot be built slice by slice.

    Args:
        assets: All assets that instances compute.
        stored: Those of their tables that are kept in the database.
        instances: The names of the instances.

    Raises:
        ConfigurationError: There is one.
    """
    assets, kept = list(assets), set(stored)
    for table in kept:
        if SLICE_MARK in table.name:
            raise ConfigurationError(
                f"Asset `{table}`: what stands behind a `{SLICE_MARK}` in the name of a table is "
                "the key of a slice of it. Rename the asset."
            )
    partitions = {key: asset.partitions_def for asset in assets for key in asset.keys}
    for asset in assets:
        if is_sliced(asset.partitions_def):
            _check_dimensions(asset, instances)
            for key in asset.keys:
                _check_table(asset, key, is_stored=StageTable.of_key(key.path) in kept)
        _check_edges(asset, partitions)


def slice_jobs(assets: Iterable[dg.AssetsDefinition]) -> dict[str, Any]:
    """Return the jobs of assets with slices, by name: `by_day`, for one definition of slices each.

    What reads a table without slices that is made of slices, such as a copy, has a job of its own,
    `by_day_2`: it comes behind the job of the instance, and that behind the first one.

    Args:
        assets: All assets that instances compute.
    """
    assets = list(assets)
    ranks = _ranks(assets)
    grouped: list[tuple[Any, int, list[dg.AssetsDefinition]]] = []
    for asset in assets:
        if is_sliced(asset.partitions_def):
            own, rank = asset.partitions_def, max(ranks[key] for key in asset.keys)
            known = [group for by, at, group in grouped if (by, at) == (own, rank)]
            if known:
                known[0].append(asset)
            else:
                grouped.append((own, rank, [asset]))
    jobs: dict[str, Any] = {}
    for partitions, rank, group in sorted(grouped, key=lambda item: item[1]):
        dimension, _ = slice_dimension(partitions)
        names = (f"by_{dimension}{f'_{n}' if n > 1 else ''}" for n in range(1, len(grouped) + 1))
        name = next(name for name in names if name not in jobs)
        jobs[name] = dg.define_asset_job(
            name,
            selection=dg.AssetSelection.assets(*(key for asset in group for key in asset.keys)),
            description=f"Slices of tables by `{dimension}`: choose the instance and the slice.",
            metadata={RANK_KEY: rank},
        )
    return jobs


def _ranks(assets: Sequence[dg.AssetsDefinition]) -> Mapping[dg.AssetKey, int]:
    """Return how often slices were put together before an asset can be built, by asset."""
    by_key = {key: asset for asset in assets for key in asset.keys}
    ranks: dict[dg.AssetKey, int] = {}

    def rank(key: dg.AssetKey) -> int:
        if key not in ranks:
            own = by_key[key]
            ranks[key] = 0  # of assets that read each other, Dagster names the cycle later
            above = [item for item in own.asset_deps[key] if item in by_key and item != key]
            ranks[key] = max(
                (rank(item) + _puts_together(own, by_key[item]) for item in above), default=0
            )
        return ranks[key]

    for key in by_key:
        rank(key)
    return ranks


def _puts_together(asset: dg.AssetsDefinition, above: dg.AssetsDefinition) -> bool:
    """Whether an asset reads all slices of another one."""
    return is_sliced(above.partitions_def) and not is_sliced(asset.partitions_def)


def jobs_of_slices(assets: Iterable[dg.AssetsDefinition]) -> Mapping[StageTable, str]:
    """Return which job builds the slices of which table."""
    assets = list(assets)
    return {
        StageTable.of_key(key.path): name
        for name, job in slice_jobs(assets).items()
        for key in sorted(job.selection.resolve(assets))
    }


def _check_dimensions(asset: dg.AssetsDefinition, instances: Sequence[str]) -> None:
    partitions = cast("dg.MultiPartitionsDefinition", asset.partitions_def)
    named = {item.name: item.partitions_def for item in partitions.partitions_defs}
    where = _named(asset)
    own = named.get(INSTANCE_DIMENSION)
    if not isinstance(own, dg.StaticPartitionsDefinition) or {*own.get_partition_keys()} != {
        *instances
    }:
        raise ConfigurationError(
            f"{where} has the dimensions {', '.join(f'`{name}`' for name in named)}. One of them "
            f"is the instance, under this name: partitions_def={_WRITE}."
        )
    name, by = slice_dimension(partitions)
    if not isinstance(by, _CUTTING):
        raise ConfigurationError(
            f"{where} has slices by {type(by).__name__}. Write time windows (days, hours, ...), "
            "static or dynamic partitions."
        )
    keys = by.get_partition_keys() if isinstance(by, dg.StaticPartitionsDefinition) else []
    if isinstance(by, dg.TimeWindowPartitionsDefinition):
        keys = [by.get_first_partition_key() or ""]
    for key in keys:
        if key in instances:
            raise ConfigurationError(
                f"{where}: slice `{key}` of dimension `{name}` has the name of an instance. Rename "
                "one of them."
            )
        for table in (StageTable.of_key(each.path) for each in asset.keys):
            if len(f"{table.name}{SLICE_MARK}{key}".encode()) > MAX_IDENTIFIER_BYTES:
                raise ConfigurationError(
                    f"{where}: the slice `{key}` of `{table}` would be the relation "
                    f"`{table.name}{SLICE_MARK}{key}`, which is longer than PostgreSQL's "
                    f"{MAX_IDENTIFIER_BYTES} bytes. Shorten the name of the table, or the key."
                )


def _check_table(asset: dg.AssetsDefinition, key: dg.AssetKey, *, is_stored: bool) -> None:
    where, spec = _named(asset), asset.get_asset_spec(key)
    output = asset.node_def.output_def_named(asset.get_output_name_for_asset_key(key))
    if not is_stored or output.io_manager_key != "io_manager":
        raise ConfigurationError(
            f"{where} has slices, and keeps no table in the database. Return a frame or a query; "
            "or let it have the partitions of the instances alone (INSTANCE_PARTITIONS)."
        )
    if not output.is_required:
        raise ConfigurationError(
            f"{where} has slices, and its output `{output.name}` is optional. A slice without rows "
            "is a table without rows: return that."
        )
    properties = declared_properties(spec.metadata)
    if properties.view or is_several(output.dagster_type.typing_type):
        what = "is a view" if properties.view else "has several tables by names of their own"
        raise ConfigurationError(
            f"{where} has slices, and {what}. Slices are parts of one table: return a frame or a "
            "query."
        )
    check_properties(StageTable.of_key(key.path), properties, SliceBounds(column_of(spec), ""))


def _check_edges(
    asset: dg.AssetsDefinition,
    partitions: Mapping[dg.AssetKey, dg.PartitionsDefinition[Any] | None],
) -> None:
    """Refuse edges between slices other than from each to itself, and to parts of a table."""
    for key in {*asset.dependency_keys} & partitions.keys():
        above, mapping = partitions[key], asset.get_partition_mapping(key)
        if not (is_sliced(above) or is_sliced(asset.partitions_def)):
            continue
        _check_names(asset, key, is_other=is_sliced(above) != is_sliced(asset.partitions_def))
        what = f"{_named(asset)} reads `{'/'.join(key.path)}`"
        if is_sliced(above) and is_sliced(asset.partitions_def):
            if above != asset.partitions_def:
                raise ConfigurationError(
                    f"{what}, and both have slices, by different partitions. Give both the same "
                    "partitions_def; or put a table without slices between them, which reads all."
                )
            allowed: tuple[type, ...] = (dg.IdentityPartitionMapping,)
        elif input_table(asset, StageTable.of_key(key.path)) is not None:
            allowed = (dg.AllPartitionMapping,)
        else:
            allowed = (dg.MultiToSingleDimensionPartitionMapping,)
        if mapping is not None and not isinstance(mapping, allowed):
            raise ConfigurationError(
                f"{what} by {type(mapping).__name__}. A slice reads the same slice of a table with "
                "slices, and the whole of others; a table without slices reads all slices. Leave "
                "out `partition_mapping`."
            )


def _check_names(asset: dg.AssetsDefinition, key: dg.AssetKey, *, is_other: bool) -> None:
    """Refuse what Dagster mixes up: partitions of an input and an output of the same name."""
    if is_other and key.path[-1] in {output.name for output in asset.node_def.output_defs}:
        raise ConfigurationError(
            f"{_named(asset)} reads `{'/'.join(key.path)}`, only one of them has slices, and it "
            f"has an output `{key.path[-1]}`: Dagster takes the partition of one for the other's. "
            f'Give the output another name: outs={{"made": dg.AssetOut(key=[...])}}.'
        )


def _named(asset: dg.AssetsDefinition) -> str:
    return f"Asset `{', '.join(sorted('/'.join(key.path) for key in asset.keys))}`"
