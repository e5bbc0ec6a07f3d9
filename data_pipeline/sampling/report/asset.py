"""The report of a sampled stage as an asset: `sample/<stage>__report`, with asset checks."""

import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import dagster as dg
import sqlalchemy as sa

from data_pipeline.database.identifiers import StageTable
from data_pipeline.errors import ConfigurationError
from data_pipeline.instances import Instance
from data_pipeline.instances.instance import SAMPLE_STAGE
from data_pipeline.instances.partitions import RAW_TO_SAMPLED
from data_pipeline.instances.slice_dimensions import copy_mapping, instances_of
from data_pipeline.sampling.code_identity import code_version
from data_pipeline.sampling.copy_filtered_inputs import copy_filtered_inputs
from data_pipeline.sampling.report.figures.comparison import Report
from data_pipeline.sampling.report.figures.figure import frame_of
from data_pipeline.sampling.report.plots import (
    NO_PLOTS,
    can_plot,
    distributions_png,
    markdown_image,
)
from data_pipeline.sampling.report.report_text import CHECKS, Section, check_results, sections
from data_pipeline.sampling.report.stored_reports import Inputs, report_of_instance
from data_pipeline.sampling.weights import roles_table
from data_pipeline.store.lookup import COMPARED_KEY
from data_pipeline.store.table_properties import declared_properties, table_properties


def metadata_of(report: Report) -> dict[str, Any]:
    """Return the metadata of a report.

    The UI shows short Markdown where it stands, and long in a window of its own: there are the
    sizes by themselves, what is beyond thresholds if anything is, and everything with plots.
    """
    failed = [figure for figure in report.figures if figure.passed is False]
    found: dict[str, Any] = {"figures": len(report.figures), "beyond_thresholds": len(failed)}
    for section in sections(report.figures)[:1]:
        found["sizes"] = dg.MetadataValue.md(section.as_markdown())
    if failed:
        found["problems"] = dg.MetadataValue.md(_headed(sections(failed)[1:]))
    found["report"] = dg.MetadataValue.md("\n\n".join(_parts(report)))
    return found


def _parts(report: Report) -> Iterator[str]:
    if report.accuracies:
        yield from _plots(report)
    yield _headed(sections(report.figures))


def _plots(report: Report) -> Iterator[str]:
    if not can_plot():
        yield NO_PLOTS
        return
    distributions = distributions_png(report.accuracies)
    if distributions is not None:
        yield markdown_image(distributions, "Source and weighted sample")


def _headed(found: Sequence[Section]) -> str:
    return "\n\n".join(f"### {item.title}\n\n{item.as_markdown()}" for item in found if item.lines)


def report_table(stage: str) -> StageTable:
    """Name the table with the report of a stage."""
    return StageTable(SAMPLE_STAGE, f"{stage}__report")


def sampled_inputs_with_report(
    *,
    stage: str,
    raw: Sequence[dg.AssetsDefinition],
    owners: Sequence[str] | None = None,
    partition_mapping: dg.PartitionMapping | None = None,
) -> list[dg.AssetsDefinition]:
    """Return the input tables of a stage with roles and weights, and the report of each copy.

    Args and errors are those of `copy_filtered_inputs` and `sample_report`.
    """
    options: dict[str, Any] = {"owners": owners, "partition_mapping": partition_mapping}
    inputs = copy_filtered_inputs(stage=stage, raw=raw, weights=True, **options)
    return [inputs, sample_report(stage=stage, raw=raw, **options)]


def sample_report(
    *,
    stage: str,
    raw: Sequence[dg.AssetsDefinition],
    owners: Sequence[str] | None = None,
    partition_mapping: dg.PartitionMapping | None = None,
) -> dg.AssetsDefinition:
    """Return the asset that compares the sample of a stage with its source.

    It is the table `sample/<stage>__report`, one row for each figure, with plots and tables for the
    UI, and asset checks by the thresholds `sample: {checks: ...}` of the instance. It is made again
    when the sample has changed. `data-pipeline report` prints it.

    Args:
        stage: The stage of the input tables, which `copy_filtered_inputs(..., weights=True)` makes.
        raw: The raw assets that were given to it.
        owners: Owners of the report.
        partition_mapping: The edge from raw to input tables, as given to it.

    Raises:
        ConfigurationError: A raw table is called `report`, whose roles would have the same name.
    """
    specs = {spec.key.path[-1]: spec for asset in raw for spec in asset.specs}
    if "report" in specs:
        raise ConfigurationError(
            f"sample_report(stage={stage!r}): the roles of the raw table `report` have the name "
            "that the report needs. Rename the raw table."
        )
    inputs = Inputs(
        stage,
        {name: StageTable.from_path(spec.key.path) for name, spec in specs.items()},
        {name: declared_properties(spec.metadata) for name, spec in specs.items()},
    )
    key = _key(report_table(stage))
    partitions = instances_of(next(iter(specs.values())).partitions_def)

    @dg.asset(
        key=key,
        ins=_ins(stage, specs, partition_mapping or RAW_TO_SAMPLED),
        partitions_def=partitions,
        group_name=SAMPLE_STAGE,
        owners=list(owners or ()) or None,
        kinds={"postgres", "sql"},
        description=f"How the sample of stage `{stage}` compares with its source.",
        code_version=code_version(".", "plan", "engine", "report", "report/figures"),
        metadata=table_properties(primary_key="number") | {COMPARED_KEY: _compared(inputs)},
        check_specs=_check_specs(key, partitions),
        required_resource_keys={"instance"},
    )
    def report(context: dg.AssetExecutionContext, **found: Any) -> Iterator[Any]:
        instance: Instance = context.resources.instance.current
        made = _made(instance, inputs, found, context.log)
        yield dg.Output(frame_of(made.figures), metadata=metadata_of(made))
        yield from check_results(key, made.figures)

    return report


def _made(
    instance: Instance, inputs: Inputs, found: Mapping[str, Any], log: logging.Logger
) -> Report:
    if not all(isinstance(table, sa.Table) for table in found.values()):
        log.info("In memory, the sample is not compared with its source")
        return Report(())
    by_name = {
        name: (found[f"source_{i}"], found[f"rows_{i}"], found[f"roles_{i}"])
        for i, name in enumerate(inputs.raw)
    }
    return report_of_instance(instance, inputs, by_name, log)


def _compared(inputs: Inputs) -> dict[str, str]:
    return {str(raw): str(StageTable(inputs.stage, name)) for name, raw in inputs.raw.items()}


def _ins(
    stage: str, specs: Mapping[str, dg.AssetSpec], mapping: dg.PartitionMapping
) -> dict[str, dg.AssetIn]:
    found: dict[str, dg.AssetIn] = {}
    for i, (name, spec) in enumerate(specs.items()):
        table = StageTable(stage, name)
        found[f"source_{i}"] = dg.AssetIn(
            key=spec.key, partition_mapping=copy_mapping(spec.partitions_def, mapping)
        )
        found[f"rows_{i}"] = dg.AssetIn(key=_key(table))
        found[f"roles_{i}"] = dg.AssetIn(key=_key(roles_table(table)))
    return found


def _check_specs(
    key: dg.AssetKey, partitions: dg.PartitionsDefinition | None
) -> list[dg.AssetCheckSpec]:
    with warnings.catch_warnings():
        # Without partitions, the result of one instance would take the place of another's in the
        # UI. `data_pipeline_tests/results` has a test that fails when this preview changes.
        warnings.simplefilter("ignore", dg.PreviewWarning)
        return [
            dg.AssetCheckSpec(
                check.name, asset=key, description=check.description, partitions_def=partitions
            )
            for check in CHECKS
        ]


def _key(table: StageTable) -> dg.AssetKey:
    return dg.AssetKey([table.stage, table.name])
