"""`copy_filtered_inputs`: the asset that turns raw tables into the input tables of an instance."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import dagster as dg

from data_pipeline.database.identifiers import StageTable, op_names
from data_pipeline.errors import ConfigurationError
from data_pipeline.instances.partitions import RAW_TO_SAMPLED
from data_pipeline.instances.settings.caching import validation
from data_pipeline.instances.slice_dimensions import copy_mapping, instances_of
from data_pipeline.sampling.input_step import InputStep, input_outputs, output_names
from data_pipeline.store.lookup import SOURCE_METADATA_KEY
from data_pipeline.store.table_properties import declared_properties

__all__ = ["SOURCE_METADATA_KEY", "copy_filtered_inputs"]


def copy_filtered_inputs(
    *,
    stage: str,
    raw: Sequence[dg.AssetsDefinition],
    owners: Sequence[str] | None = None,
    partition_mapping: dg.PartitionMapping | None = None,
    weights: bool = False,
    automation_condition: dg.AutomationCondition[Any] | None = None,
    freshness_policy: dg.FreshnessPolicy | None = None,
) -> dg.AssetsDefinition:
    """Return the asset that makes the input tables of a stage from raw tables.

    For an instance that loads for itself, an input table is its raw table (a view, no copy). For
    one that copies, it is a part of the source instance's raw table, copied inside the database
    (or of its input table, if the source copies itself): a sample, if `sample` in the instance's
    attrs names a root among the tables; else as `copy_filter_cnt`, `copy_filter_rate` and
    `copy_filter_overrides` there say; else all of it. It is copied again when the specification or
    the source's data changed; in the modes `assert_no_fresh_input` and `ignore_fresh_input` not for
    new data.

    In memory, of frames that raw assets give, the rows are the same. Filters need no database; a
    sample is chosen by the embedded server, or by the one that DATA_PIPELINE_TEST_URL names.

    Args:
        stage: The stage of the input tables; each has the name of its raw table.
        raw: The assets of the raw tables, all of one partitions definition.
        owners: Owners of the input tables.
        partition_mapping: The edge from raw to input tables; default: that of the configuration.
        weights: Whether each input table `<table>` has two more beside it, on all instances:
            `sample/<stage>__<table>` with role and inclusion probability of its rows by key, and
            `sample/<stage>__<table>_weighted`, which joins them with the rows.
        automation_condition: When Dagster makes the tables by itself; `eager()` copies new data.
        freshness_policy: How old they may become.

    Raises:
        ConfigurationError: There is no raw table, two have the same name, or one is not partitioned
            by instance.
    """
    specs = {spec.key.path[-1]: spec for asset in raw for spec in asset.specs}
    _check(stage, raw, specs)
    mapping = partition_mapping or RAW_TO_SAMPLED
    options = {"automation_condition": automation_condition, "freshness_policy": freshness_policy}
    outputs = input_outputs(stage, specs, owners, weights=weights, options=options)
    ins, outs = op_names(specs), output_names(outputs, specs.values())
    step = InputStep(
        stage,
        {name: StageTable.from_path(spec.key.path) for name, spec in specs.items()},
        {name: declared_properties(spec.metadata) for name, spec in specs.items()},
    )

    @dg.multi_asset(
        name=f"{stage}__copy_filtered_inputs",
        ins={
            ins[name]: dg.AssetIn(
                key=spec.key, partition_mapping=copy_mapping(spec.partitions_def, mapping)
            )
            for name, spec in specs.items()
        },
        outs={outs[name]: output.out for name, output in outputs.items()},
        partitions_def=instances_of(next(iter(specs.values())).partitions_def),
        internal_asset_deps={outs[n]: set(output.depends_on) for n, output in outputs.items()},
        required_resource_keys={"instance"},
        can_subset=True,
    )
    def copy_filtered(
        context: dg.AssetExecutionContext, **sources: Any
    ) -> Iterator[dg.Output[Any]]:
        instance = context.resources.instance.current
        selected = context.op_execution_context.selected_output_names
        how = validation(instance, context.run.tags)
        found = step.results(
            instance,
            {name: output for name, output in outputs.items() if outs[name] in selected},
            {name: sources[ins[name]] for name in specs},
            context.log,
            forced=how.mode == "force_cache_invalid",
            stable=not how.asks_sources,
        )
        for name, value in found:
            yield dg.Output(value, outs[name])

    return copy_filtered


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
