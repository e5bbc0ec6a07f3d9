"""`copy_filtered_inputs`: the asset that turns raw tables into the input tables of an instance."""

import ast
import hashlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import dagster as dg
import sqlalchemy as sa

from data_pipeline.errors import ConfigurationError
from data_pipeline.instances import Instance
from data_pipeline.instances.partitions import RAW_TO_SAMPLED
from data_pipeline.sampling.selection import selected_frame, selected_query
from data_pipeline.tables.fetch import fetch
from data_pipeline.tables.names import StageTable
from data_pipeline.tables.reference import properties_of
from data_pipeline.tables.results import unwrapped
from data_pipeline.tables.table import METADATA_KEY, Properties, Table, View, declared_properties

SOURCE_METADATA_KEY = "data_pipeline/raw_table"
"""Where a sampled table's metadata names the raw table behind it (`stage/table`)."""


def copy_filtered_inputs(
    *,
    stage: str,
    raw: Sequence[dg.AssetsDefinition],
    owners: Sequence[str] | None = None,
    partition_mapping: dg.PartitionMapping | None = None,
) -> dg.AssetsDefinition:
    """Gives the asset that makes the input tables of a stage from raw tables.

    For an instance that loads for itself, an input table is its raw table (a view, no copy). For
    one that copies, it is a filtered copy of the source instance's raw table, made inside the
    database; `copy_filter_cnt`, `copy_filter_rate` and `copy_filter_overrides` in the instance's
    attrs say which rows. It is copied again when the filter or the source's data changed.

    Args:
        stage: The stage of the input tables; each has the name of its raw table.
        raw: The assets of the raw tables, all of one partitions definition.
        owners: Owners of the input tables.
        partition_mapping: The edge from raw to input tables; default: that of the configuration.

    Raises:
        ConfigurationError: There is no raw table, two have the same name, or one is not partitioned
            by instance.
    """
    specs = {spec.key.path[-1]: spec for asset in raw for spec in asset.specs}
    _check(stage, raw, specs)
    mapping = partition_mapping or RAW_TO_SAMPLED
    declared = {name: declared_properties(spec.metadata) for name, spec in specs.items()}

    @dg.multi_asset(
        name=f"{stage}__copy_filtered_inputs",
        group_name=stage,
        ins={
            name: dg.AssetIn(key=spec.key, partition_mapping=mapping)
            for name, spec in specs.items()
        },
        outs={name: _out(stage, name, spec, owners) for name, spec in specs.items()},
        partitions_def=next(iter(specs.values())).partitions_def,
        internal_asset_deps={name: {spec.key} for name, spec in specs.items()},
        required_resource_keys={"instance"},
        can_subset=True,
    )
    def copy_filtered(
        context: dg.AssetExecutionContext, **sources: Any
    ) -> Iterator[dg.Output[Any]]:
        instance = context.resources.instance.current
        for name in sorted(context.op_execution_context.selected_output_names):
            table = StageTable(stage, name)
            value = input_table(instance, table, sources[name], declared[name], context.log)
            yield dg.Output(value, name)

    return copy_filtered


def input_table(
    instance: Instance,
    table: StageTable,
    source: Any,
    declared: Properties,
    log: logging.Logger,
) -> Any:
    """Gives the input table of an instance.

    Args:
        instance: The instance.
        table: Stage and name of the input table.
        source: The raw table: a `sa.Table` in the database, or a frame in memory.
        declared: The properties that the raw asset declares.
        log: The log of the run.

    Returns:
        A `View` or a `Table` with a query for a `sa.Table`, a frame for a frame.

    Raises:
        ConfigurationError: The filter cannot be applied, or the source is no table.
    """
    if isinstance(source, sa.Table):
        if not instance.copies:
            return View(source)
        keep = instance.copy_filter(table.stage, table.name)
        source, inputs = _chained(instance, table, source, log)
        return Table.of(selected_query(table, source, keep), properties_of(source), inputs)
    frame, properties = unwrapped(source, declared)
    _check_frame(table, frame)
    return _sampled(instance, table, frame, properties.primary_key)


def _check_frame(table: StageTable, frame: Any) -> None:
    from data_pipeline.tables.frames import is_frame

    if not is_frame(frame):
        raise ConfigurationError(
            f"Input table `{table}`: its raw asset gives a {type(frame).__module__}."
            f"{type(frame).__qualname__}, which is no table. Let it return a data frame or a query "
            "(in memory, a data frame), or leave it out of copy_filtered_inputs."
        )


def _sampled(instance: Instance, table: StageTable, frame: Any, key: Sequence[str]) -> Any:
    """Gives the rows of a raw frame that an instance and all that it copies from keep."""
    if instance.source is None:
        return frame
    copied = _sampled(instance.source, table, frame, key)
    return selected_frame(table, copied, key, instance.copy_filter(table.stage, table.name))


def _chained(
    instance: Instance, table: StageTable, raw: sa.Table, log: logging.Logger
) -> tuple[sa.Table, Mapping[str, str | None]]:
    """Gives what an instance copies from: the raw table, or the input table of another copy."""
    origin = instance.source
    if origin is None or not origin.copies:
        return raw, {}
    source, version = fetch(origin, table, sa.Table, log)
    return source, {f"{origin.instance_id}/{table}": version}


def _out(stage: str, name: str, spec: dg.AssetSpec, owners: Sequence[str] | None) -> dg.AssetOut:
    return dg.AssetOut(
        key=[stage, name],
        description=f"The rows of {spec.key.to_user_string()} that the instance works on.",
        is_required=False,
        owners=owners,
        kinds={"sql", "postgres"},
        code_version=CODE_VERSION,
        metadata={SOURCE_METADATA_KEY: spec.key.to_user_string(), **_declared(spec.metadata)},
    )


def _declared(metadata: Mapping[str, Any]) -> Mapping[str, Any]:
    return {METADATA_KEY: metadata[METADATA_KEY]} if METADATA_KEY in metadata else {}


def _check(
    stage: str, raw: Sequence[dg.AssetsDefinition], specs: Mapping[str, dg.AssetSpec]
) -> None:
    if not specs:
        raise ConfigurationError(
            f"copy_filtered_inputs(stage={stage!r}): no raw tables. Pass their assets as `raw`."
        )
    if len(specs) != sum(len(list(asset.specs)) for asset in raw):
        raise ConfigurationError(
            f"copy_filtered_inputs(stage={stage!r}): two raw tables have the same name, so their "
            "input tables would too. Rename one, or use another stage for it."
        )
    for spec in specs.values():
        if spec.partitions_def is None:
            raise ConfigurationError(
                f"copy_filtered_inputs(stage={stage!r}): raw table {spec.key.to_user_string()} is "
                "not partitioned by instance. Add partitions_def=INSTANCE_PARTITIONS."
            )


def _code_version() -> str:
    """Hashes the code of this room, without comments and formatting."""
    digest = hashlib.sha256()
    for module in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(ast.dump(ast.parse(module.read_text(encoding="utf-8"))).encode())
    return digest.hexdigest()[:16]


CODE_VERSION = _code_version()
"""Identity of the code that samples."""
