"""Puts assets and instances together into Dagster definitions."""

import gc
import inspect
import sys
import warnings
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import dagster as dg

from data_pipeline.authoring.stage import resolved
from data_pipeline.code_version.code_version import CodeVersion, check_code_versions, code_versions
from data_pipeline.code_version.code_warnings import READS_KEY, takes_outside_input
from data_pipeline.code_version.live_code import asset_functions
from data_pipeline.copies_of_related_tables import (
    check_choices,
    check_references,
    warn_of_missing_keys,
)
from data_pipeline.database.identifiers import StageTable, few
from data_pipeline.definition_checks import (
    AnyAsset,
    asset_keys,
    check_alone,
    check_annotations,
    check_arguments,
    check_backfill_policies,
    check_inputs,
    sorted_assets,
    stored_tables,
)
from data_pipeline.definition_metadata import kept
from data_pipeline.errors import ConfigurationError
from data_pipeline.identity.computation import CODE_PARTS_KEY, RAW_TAG
from data_pipeline.identity.upstream import UNPARTITIONED_TAG
from data_pipeline.instances import Configuration, load_configuration, project
from data_pipeline.instances.dagster_resource import PARTITION_TAG
from data_pipeline.instances.merged_layers import problem, suggestion
from data_pipeline.instances.names_of_instances_and_users import PIPELINE_JOB
from data_pipeline.instances.settings.sample import SampleSettings
from data_pipeline.instances.slice_dimensions import is_sliced
from data_pipeline.instances.whole_copies import reason_and_remedy, thinned_by
from data_pipeline.io_manager.instance_resource import InstanceResource
from data_pipeline.io_manager.io_manager import InstanceIOManager
from data_pipeline.memo.executor import memoised
from data_pipeline.memo.terminal_progress import PROGRESS, progress_logger
from data_pipeline.sliced_assets import check_slices, jobs_of_slices, slice_jobs
from data_pipeline.store.lookup import SOURCE_METADATA_KEY
from data_pipeline.store.orphans import CodeLocation

_LINK = "dagster/code_references"
_FRAMES = 1000


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


def instance_definitions(
    assets: Sequence[AnyAsset],
    *,
    asset_checks: Sequence[dg.AssetChecksDefinition] = (),
    executor: dg.ExecutorDefinition = dg.in_process_executor,
    configuration: Configuration | None = None,
    code_location: str | None = None,
    **others: Any,
) -> dg.Definitions:
    """Return definitions in which the assets run on every instance.

    There is a job for each instance, tagged with its partition, and the job `pipeline` for any.
    Assets with slices (`MultiPartitionsDefinition`) have jobs of their own, such as `by_day`.

    Args:
        assets: Assets that are partitioned by instance. Others (`dg.AssetSpec`, observable source
            assets, assets without partitions) are in the jobs of no instance. Tables of assets
            without partitions are those of instance `full`, or of the only one that copies nothing.
        asset_checks: Checks on them.
        executor: The executor that runs the steps of all jobs.
        configuration: The instances; default: the configuration that is in force.
        code_location: The name of this code among others that write to the same instances; default:
            the module that calls this. What the last code location that had an asset of its name
            has no more can be dropped by `data-pipeline gc --orphans`.
        others: Passed to `dg.Definitions` (schedules, sensors, further jobs and resources).

    Raises:
        ConfigurationError: Stages and instances would reach the same schema or one with too long a
            name, an asset key is not `[stage, table]`, two differ only by case, an instance samples
            a stage of one that does not have all of its rows or filters one whose tables refer to
            each other without saying so of it, a relationship leads to no table, or a parameter of
            an asset of a `Stage` is none.
    """
    project.note_caller()
    check_arguments(assets, executor)
    configuration = configuration or project_configuration()
    assets = resolved(assets)
    found = sorted_assets(assets, list(configuration.instances))
    raw = _raw_tables(found.of_instances)
    check_alone(found.alone, found.of_instances, configuration)
    tables = stored_tables(found.of_instances)
    check_backfill_policies(found.of_instances)
    check_slices(found.of_instances, tables, list(configuration.instances))
    tables += [StageTable.of_key(key.path) for asset in found.alone for key in asset.keys]
    known = [key for asset in assets for key in asset_keys(asset)]
    specs = [spec for asset in found.computed for spec in asset.specs]
    check_inputs(found.computed, known)
    check_annotations(found.computed)
    check_references(specs, known)
    if configuration.file != project.SHIPPED:  # which several tests and trials may share
        check_choices(specs, configuration)
        warn_of_missing_keys(specs, configuration)
    configuration.check_stages({table.stage for table in tables if table.stage})
    _check_case(tables)
    _check_sample_sources(configuration, _input_tables(found.of_instances))
    location = code_location or str(sys._getframe(1).f_globals.get("__name__", ""))
    resources = {**instance_resources(), **others.pop("resources", {})}
    versions = code_versions(
        found.computed,
        tracked_packages=configuration.tracked_packages,
        resources=resources,
        raw=raw,
    )
    checked = check_code_versions(
        asset_checks, tracked_packages=configuration.tracked_packages, resources=resources
    )
    # Dagster walks from step to step by recursion, so a long chain needs as many frames.
    sys.setrecursionlimit(max(sys.getrecursionlimit(), _FRAMES + 2 * len(assets)))
    definitions = dg.Definitions(
        assets=[
            *found.external,
            *(_prepared(asset, raw, versions) for asset in found.computed),
        ],
        asset_checks=asset_checks,
        executor=memoised(
            executor,
            CodeLocation(location, frozenset(tables), jobs_of_slices(found.of_instances)),
            {str(key): version for key, version in checked.items()},
        ),
        loggers={PROGRESS: progress_logger, **others.pop("loggers", {})},
        jobs=[*_jobs(configuration, found.of_instances), *others.pop("jobs", ())],
        resources=resources,
        **others,
    )
    _keep_what_is_loaded()
    return definitions


@cache
def _keep_what_is_loaded() -> None:
    """Let collections not walk again through what the first definitions have loaded: it stays."""
    gc.freeze()


def project_configuration() -> Configuration:
    """Return the configuration that is in force; warn where it is that of the shipped pipelines.

    That one has instances full, midi and mini, and samples for tables that others do not have.
    """
    configuration = load_configuration()
    module = project.module_in_use()
    if configuration.file == project.SHIPPED and not project.is_own(module):
        places = "".join(f"\n  {file}" for file in project.places())
        warnings.warn(
            f"There is no configuration for `{module}`, so that of data_pipeline's own pipelines "
            f"({project.SHIPPED}) is taken. It was looked for here:{places}\nWrite "
            f"{project.CONFIGURATION} there (`data-pipeline init` makes a project with one), or "
            "name a file in DATA_PIPELINE_CONFIG. The least that it can say:\n"
            "  instances: {full: {}, mini: {attrs: {copy_filtered_input: true, copy_source: full, "
            "copy_filter_cnt: 10}}}",
            stacklevel=3,
        )
    return configuration


def check_samples(
    assets: Iterable[dg.AssetsDefinition], configuration: Configuration | None = None
) -> None:
    """Check that all tables that samples name are input tables; a slip would go unnoticed.

    And that filters are not taken for tables that refer to each other, unless it is said of them.

    Use it where the assets are all that there are: several pipelines may have one configuration.

    Args:
        assets: All assets.
        configuration: The instances; default: the configuration that is in force.

    Raises:
        ConfigurationError: A table is no input table, something is said of one whose stage has no
            root, so that filters would copy it, or a filter for other tables would copy those of a
            stage that refer to each other.
    """
    configuration = configuration or project_configuration()
    assets = list(assets)
    inputs = _input_tables(assets)
    check_choices([spec for asset in assets for spec in asset.specs], configuration)
    for name, instance in configuration.instances.items():
        if instance.sample:
            where = f"{configuration.file}: instances.{name}.attrs.sample"
            _check_sample(where, instance.sample, inputs)


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
        "whole": sample.whole,
        "follow": sample.follow,
        "where": sample.where,
        "mask": sample.mask,
        "cut": [reference.partition(".")[0] for reference in sample.cut],
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


def _jobs(configuration: Configuration, assets: Sequence[dg.AssetsDefinition]) -> list[Any]:
    # Not all: other definitions that are merged with these have assets of their own.
    keys = [key for asset in assets if not is_sliced(asset.partitions_def) for key in asset.keys]
    if not keys:
        return [*slice_jobs(assets).values()]
    selection = dg.AssetSelection.assets(*keys)
    jobs = [
        dg.define_asset_job(
            name,
            selection=selection,
            tags={PARTITION_TAG: name},
            description=f"The whole pipeline on instance `{name}`.",
        )
        for name in configuration.instances
    ]
    return [
        *jobs,
        dg.define_asset_job(
            PIPELINE_JOB,
            selection=selection,
            description="The whole pipeline on any instance: choose its partition.",
        ),
        *slice_jobs(assets).values(),
    ]


def _raw_tables(assets: Iterable[dg.AssetsDefinition]) -> set[str]:
    """Return the keys of the assets that a sampling asset copies."""
    metadata = [spec.metadata for asset in assets for spec in asset.specs]
    return {item[SOURCE_METADATA_KEY] for item in metadata if SOURCE_METADATA_KEY in item}


def _prepared(
    asset: dg.AssetsDefinition, raw: set[str], versions: Mapping[dg.AssetKey, CodeVersion]
) -> dg.AssetsDefinition:
    """Return an asset with its code version, a link to its code, and a tag if it is raw."""
    link = _link(asset)

    def prepared(spec: dg.AssetSpec) -> dg.AssetSpec:
        tags, metadata = dict(spec.tags), {**link, **spec.metadata}
        if spec.key.to_user_string() in raw:
            tags[RAW_TAG] = ""
        if asset.partitions_def is None:
            tags[UNPARTITIONED_TAG] = ""
        version = versions.get(spec.key)
        if version is None:
            return spec.replace_attributes(tags=tags, metadata=metadata)
        if version.parts:
            words = f"{len(version.parts)} functions, constants and files"
            metadata[CODE_PARTS_KEY] = kept(dict(version.parts), words)
        if version.reads and not takes_outside_input(asset, raw):
            reads = [list(item) for item in version.reads]
            metadata[READS_KEY] = kept(reads, few([f"{what} ({at})" for at, what in reads]))
        return spec.replace_attributes(tags=tags, metadata=metadata, code_version=version.version)

    return asset.map_asset_specs(prepared)


def _link(asset: dg.AssetsDefinition) -> dict[str, Any]:
    """Return a link to the source code of an asset, unless its author has given it one.

    `dg.with_source_code_references` reads and splits the file again for each asset.
    """
    if any(_LINK in spec.metadata for spec in asset.specs):
        return {}
    node = asset.node_def
    function = getattr(node, "composition_fn", None) or next(iter(asset_functions(asset).values()))
    code = getattr(inspect.unwrap(function), "__code__", None)
    if code is None or not Path(code.co_filename).is_file():
        return {}
    with warnings.catch_warnings():
        # `test_asset_pages.py` fails when this beta changes.
        warnings.simplefilter("ignore", dg.BetaWarning)
        place = dg.LocalFileCodeReference(
            file_path=str(Path(code.co_filename).absolute()), line_number=code.co_firstlineno
        )
        return {_LINK: dg.CodeReferencesMetadataValue(code_references=[place])}


def _check_case(tables: Iterable[StageTable]) -> None:
    seen: dict[str, StageTable] = {}
    for table in tables:
        other = seen.setdefault(str(table).lower(), table)
        if other != table:
            raise ConfigurationError(
                f"Assets `{other}` and `{table}` differ only by upper and lower case; unquoted SQL "
                "would mix their tables up. Rename one of them."
            )
