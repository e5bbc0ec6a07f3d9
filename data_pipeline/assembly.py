"""Puts assets and instances together into Dagster definitions."""

import logging
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import dagster as dg

from data_pipeline.code_version.code_version import CodeVersion, code_versions
from data_pipeline.code_version.run_time_values import READS_KEY, takes_outside_input
from data_pipeline.database.identifiers import StageTable
from data_pipeline.errors import ConfigurationError
from data_pipeline.identity.computation import CODE_PARTS_KEY, RAW_TAG
from data_pipeline.instances import Configuration, load_configuration
from data_pipeline.instances.dagster_resource import PARTITION_TAG, InstanceResource
from data_pipeline.instances.located_values import problem, suggestion
from data_pipeline.instances.settings.sample import SampleSettings
from data_pipeline.instances.whole_copies import reason_and_remedy, thinned_by
from data_pipeline.io_manager.io_manager import InstanceIOManager
from data_pipeline.memo.executor import memoised
from data_pipeline.sampling.inputs import SOURCE_METADATA_KEY
from data_pipeline.store.orphans import CodeLocation

PROGRESS = "progress"
_MOST_LINES = 6


class _Lines(logging.Handler):
    """Prints what a run did, as it happens."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print the lines of one record, if it has any to show."""
        for line in _lines(record):
            click.echo(line)


def _lines(record: logging.LogRecord) -> Iterator[str]:
    meta: Mapping[str, Any] = getattr(record, "dagster_meta", {})
    event: dg.DagsterEvent | None = meta.get("dagster_event")
    instance = f"{meta.get('job_name')}"
    if event is None:
        if record.levelno >= logging.INFO:
            message = meta.get("orig_message", record.getMessage())
            yield click.style(f"  {instance}  {_shortened(message)}", dim=True)
    elif event.event_type is dg.DagsterEventType.ASSET_MATERIALIZATION:
        materialization = event.step_materialization_data.materialization
        key = materialization.asset_key.to_user_string()
        yield f"✓ {instance}  {key:<40} {_facts(materialization.metadata)}"
    elif event.event_type is dg.DagsterEventType.ASSET_CHECK_EVALUATION:
        evaluation = event.asset_check_evaluation_data
        if not evaluation.passed:
            key = evaluation.asset_key.to_user_string()
            text = f"! {instance}  {key}: check {evaluation.check_name}: {evaluation.description}"
            yield click.style(text, fg="yellow")
    elif event.event_type is dg.DagsterEventType.STEP_FAILURE:
        reason = _reason(event.step_failure_data.error)
        yield click.style(f"✗ {instance}  {event.step_key}: {reason}", fg="red")
    elif event.event_type is dg.DagsterEventType.RUN_FAILURE and event.job_failure_data.error:
        # It failed outside its steps: nothing may be run, or a stage could not be committed.
        yield click.style(f"✗ {instance}  {_reason(event.job_failure_data.error)}", fg="red")


def _reason(error: Any) -> str:
    cause = error.cause or error if error else None
    return cause.message.strip() if cause else ""


def _shortened(message: str) -> str:
    lines = message.splitlines()
    more = len(lines) - _MOST_LINES
    return "\n".join([*lines[:_MOST_LINES], f"  … and {more} more"] if more > 0 else lines)


def _facts(metadata: Mapping[str, dg.MetadataValue[Any]]) -> str:
    facts = []
    if "dagster/row_count" in metadata:
        facts.append(f"{metadata['dagster/row_count'].value:>9,} rows")
    if "type" in metadata:
        facts.append(str(metadata["type"].value).rsplit(".", 1)[-1])
    if "seconds" in metadata:
        facts.append(f"{metadata['seconds'].value:.2f} s")
    return "  ".join(facts)


def _logger(_context: dg.InitLoggerContext) -> logging.Logger:
    logger = logging.Logger(PROGRESS, level=logging.DEBUG)
    logger.addHandler(_Lines())
    return logger


progress_logger = dg.LoggerDefinition(
    _logger, description="A line for each table that a run makes."
)


def instance_resources(
    name: str | None = None,
    *,
    config: str | Path | None = None,
    per_user: bool | None = None,
    io_manager: bool = True,
) -> dict[str, Any]:
    """Return the resources of one instance, or of all.

    Args:
        name: The instance; None: every instance, chosen by the partition at run time.
        config: A configuration file; None: the default one.
        per_user: Whether instance ids carry the user's name; None: as configured.
        io_manager: Whether tables go to the database. False for `materialize_to_memory`.

    Returns:
        `instance` (see `InstanceResource`) and, unless left out, `io_manager`.

    Raises:
        ConfigurationError: The configuration is not valid, or has no such instance.
    """
    configuration = load_configuration(config, per_user=per_user)
    if name is not None:
        configuration.instance(name)
    settings: dict[str, Any] = {
        "instance": name,
        "config": None if config is None else str(config),
        "per_user": per_user,
    }
    resources: dict[str, Any] = {"instance": InstanceResource(**settings)}
    if io_manager:
        resources["io_manager"] = InstanceIOManager(**settings)
    return resources


PIPELINE_JOB = "pipeline"


def instance_definitions(
    assets: Sequence[dg.AssetsDefinition],
    *,
    asset_checks: Sequence[dg.AssetChecksDefinition] = (),
    executor: dg.ExecutorDefinition = dg.in_process_executor,
    configuration: Configuration | None = None,
    code_location: str | None = None,
    **others: Any,
) -> dg.Definitions:
    """Return definitions in which the assets run on every instance.

    There is a job for each instance, tagged with its partition, and the job `pipeline` for any.

    Args:
        assets: Assets that are partitioned by instance.
        asset_checks: Checks on them.
        executor: The executor that runs the steps of all jobs.
        configuration: The instances; default: the configuration that is in force.
        code_location: The name of this code among others that write to the same instances; default:
            the module that calls this. What the last code location that had an asset of its name
            has no more can be dropped by `data-pipeline gc --orphans`.
        others: Passed to `dg.Definitions` (schedules, sensors, further jobs and resources).

    Raises:
        ConfigurationError: Stages and instances would reach the same schema or one with too long a
            name, an asset key is not `[stage, table]`, two differ only by case, or an instance
            samples a stage of one that does not have all of its rows.
    """
    configuration = configuration or load_configuration()
    tables = [StageTable.from_path(key.path) for asset in assets for key in asset.keys]
    configuration.check_stages({table.stage for table in tables})
    _check_case(tables)
    _check_sample_sources(configuration, _input_tables(assets))
    location = code_location or str(sys._getframe(1).f_globals.get("__name__", ""))
    raw = _raw_tables(assets)
    resources = {**instance_resources(), **others.pop("resources", {})}
    versions = code_versions(
        assets,
        tracked_packages=configuration.tracked_packages,
        resources=resources,
        raw=raw,
    )
    return dg.Definitions(
        assets=[_prepared(asset, raw, versions) for asset in assets],
        asset_checks=asset_checks,
        executor=memoised(executor, CodeLocation(location, frozenset(tables))),
        loggers={PROGRESS: progress_logger, **others.pop("loggers", {})},
        jobs=[*_jobs(configuration), *others.pop("jobs", ())],
        resources=resources,
        **others,
    )


def check_samples(
    assets: Iterable[dg.AssetsDefinition], configuration: Configuration | None = None
) -> None:
    """Check that all tables that samples name are input tables; a slip would go unnoticed.

    Use it where the assets are all that there are: several pipelines may have one configuration.

    Args:
        assets: All assets.
        configuration: The instances; default: the configuration that is in force.

    Raises:
        ConfigurationError: A table is no input table, or something is said of one whose stage has
            no root, so that filters would copy it.
    """
    configuration = configuration or load_configuration()
    inputs = _input_tables(assets)
    for name, instance in configuration.instances.items():
        if instance.sample:
            _check_sample(f"instances.{name}.attrs.sample", instance.sample, inputs)


def _input_tables(assets: Iterable[dg.AssetsDefinition]) -> list[StageTable]:
    specs = (spec for asset in assets for spec in asset.specs)
    return [
        StageTable.from_path(spec.key.path)
        for spec in specs
        if SOURCE_METADATA_KEY in spec.metadata
    ]


def _check_sample_sources(configuration: Configuration, inputs: Sequence[StageTable]) -> None:
    """Refuse samples of what is filtered or sampled itself, now that all tables are known."""
    for name, instance in configuration.instances.items():
        if instance.sample is None or instance.source is None:
            continue
        roots = instance.sample.roots
        for stage in sorted({i.stage for i in inputs if i.name in roots or str(i) in roots}):
            tables = [item.name for item in inputs if item.stage == stage]
            if (thin := thinned_by(instance.source, stage, tables)) is not None:
                what, remedy = reason_and_remedy(instance, thin)
                where = f"instances.{name}.attrs.copy_source"
                raise problem(configuration.file, where, f"stage '{stage}': {what}", remedy)


def _check_sample(where: str, sample: SampleSettings, inputs: Sequence[StageTable]) -> None:
    stages: dict[str, set[str]] = {}
    for item in inputs:
        for name in (item.name, str(item)):
            stages.setdefault(name, set()).add(item.stage)
    named: dict[str, Iterable[str]] = {
        "roots": sample.roots,
        "cover.columns": sample.cover.columns or {},
        "cover.predicates": sample.cover.predicates,
        "pins": sample.pins,
    }
    for key, tables in named.items():
        for table in tables:
            if table not in stages:
                raise ConfigurationError(
                    f"{where}.{key}: there is no input table `{table}`. "
                    f"{suggestion(table, sorted(stages))}"
                )
    sampled = {stage for root in sample.roots for stage in stages[root]}
    for key, tables in named.items():
        for table in tables:
            if not stages[table] & sampled:
                stage = min(stages[table])
                raise ConfigurationError(
                    f"{where}.{key}: nothing of stage `{stage}` is sampled, so `{table}` has no "
                    "effect here. Name a root of that stage, or leave it out."
                )


def _jobs(configuration: Configuration) -> list[Any]:
    jobs = [
        dg.define_asset_job(
            name,
            selection=dg.AssetSelection.all(),
            tags={PARTITION_TAG: name},
            description=f"The whole pipeline on instance `{name}`.",
        )
        for name in configuration.instances
    ]
    return [
        *jobs,
        dg.define_asset_job(
            PIPELINE_JOB,
            selection=dg.AssetSelection.all(),
            description="The whole pipeline on any instance: choose its partition.",
        ),
    ]


def _raw_tables(assets: Iterable[dg.AssetsDefinition]) -> set[str]:
    """Return the keys of the assets that a sampling asset copies."""
    metadata = [spec.metadata for asset in assets for spec in asset.specs]
    return {item[SOURCE_METADATA_KEY] for item in metadata if SOURCE_METADATA_KEY in item}


def _prepared(
    asset: dg.AssetsDefinition, raw: set[str], versions: Mapping[dg.AssetKey, CodeVersion]
) -> dg.AssetsDefinition:
    """Return an asset with its code version, and with a tag if it is a raw table."""

    def prepared(spec: dg.AssetSpec) -> dg.AssetSpec:
        tags, metadata = dict(spec.tags), dict(spec.metadata)
        if spec.key.to_user_string() in raw:
            tags[RAW_TAG] = ""
        version = versions.get(spec.key)
        if version is None:
            return spec.replace_attributes(tags=tags)
        if version.parts:
            metadata[CODE_PARTS_KEY] = dict(version.parts)
        if version.reads and not takes_outside_input(asset, raw):
            metadata[READS_KEY] = [list(item) for item in version.reads]
        return spec.replace_attributes(tags=tags, metadata=metadata, code_version=version.version)

    return asset.map_asset_specs(prepared)


def _check_case(tables: Iterable[StageTable]) -> None:
    seen: dict[str, StageTable] = {}
    for table in tables:
        other = seen.setdefault(str(table).lower(), table)
        if other != table:
            raise ConfigurationError(
                f"Assets `{other}` and `{table}` differ only by upper and lower case; unquoted SQL "
                "would mix their tables up. Rename one of them."
            )
