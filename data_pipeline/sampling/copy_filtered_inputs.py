"""`copy_filtered_inputs`: the asset that turns raw tables into the input tables of an instance."""

from collections.abc import Sequence
from typing import Any

import dagster as dg

from data_pipeline.instances.partitions import RAW_TO_SAMPLED
from data_pipeline.sampling.input_step import InputStep, input_asset, input_outputs, raw_specs
from data_pipeline.store.lookup import SOURCE_METADATA_KEY

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

    In memory, of frames that raw assets give, the rows are the same (but for the rate that a `size`
    finds). Filters need no database; a sample is chosen by the embedded server, or by the one that
    DATA_PIPELINE_TEST_URL names.

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
    specs = raw_specs(f"copy_filtered_inputs(stage={stage!r})", raw)
    options = {"automation_condition": automation_condition, "freshness_policy": freshness_policy}
    outputs = input_outputs(stage, specs, owners, weights=weights, options=options)
    return input_asset(
        f"{stage}__copy_filtered_inputs",
        specs,
        outputs,
        partition_mapping or RAW_TO_SAMPLED,
        InputStep.of(stage, specs).results,
    )
