"""Asset checks that compare: a staged table with what was there before, or with another instance.

A check runs when its table is staged and not yet committed. Where it is blocking and fails, the
stage is not committed.
"""

import warnings
from collections.abc import Iterable, Sequence
from typing import Any

import dagster as dg

from data_pipeline.database.connection import database
from data_pipeline.database.identifiers import StageTable
from data_pipeline.difference.compare import ComparisonOptions, compare_table
from data_pipeline.difference.effect_on_full.samples import relations_with_roles, sample_of
from data_pipeline.difference.rendering import terminal
from data_pipeline.difference.result import TableDifference
from data_pipeline.difference.snapshot import snapshot
from data_pipeline.difference.versions import (
    STAGED,
    TableVersion,
    Version,
    VersionName,
    find_version,
    version_name,
)
from data_pipeline.errors import ConfigurationError, TableNotFoundError
from data_pipeline.instances import Instance, load_configuration
from data_pipeline.instances.slice_dimensions import is_sliced
from data_pipeline.results.data_checks import Finding

PREVIOUS = "previous"


def compared_with(
    version: str,
    assets: dg.AssetsDefinition | Sequence[dg.AssetsDefinition],
    *,
    max_changed: float | None = None,
    max_added: float | None = None,
    ignore: Sequence[str] = (),
    tolerance: float = 0.0,
    blocking: bool = False,
    name: str | None = None,
) -> list[dg.AssetChecksDefinition]:
    """Return checks that compare tables with what was there before, or with another instance.

    Example: `instance_definitions(assets, asset_checks=[*table_checks(assets),
    *compared_with("previous", orders, max_changed=0.05, blocking=True)])`.

    The first time, when there is nothing to compare with, they pass.

    Args:
        version: `previous`, what is committed when the table is staged; or another instance, such
            as `full`. Of that, a sample is compared by figures with their sampling error, and
            passes where none is off by more than chance.
        assets: The assets whose tables are compared.
        max_changed: The largest share of rows that may have changed or gone; None: any.
        max_added: The largest share of rows that may be new; None: any.
        ignore: Columns that are left out.
        tolerance: How far floats may be apart and count as equal.
        blocking: Whether a stage is not committed where a check of it fails.
        name: The name of the checks; default: `compared_with_<version>`.

    Raises:
        ConfigurationError: A share is impossible.
    """
    for value, argument in ((max_changed, "max_changed"), (max_added, "max_added")):
        if value is not None and not value >= 0:
            raise ConfigurationError(
                f"compared_with({argument}={value}): a share of rows is 0 or more, such as 0.05."
            )
    options = ComparisonOptions(tuple(ignore), tolerance, slices=False)
    limits = {"changed": max_changed, "added": max_added}
    several = [assets] if isinstance(assets, dg.AssetsDefinition) else list(assets)
    for asset in several:
        if is_sliced(asset.partitions_def):
            raise ConfigurationError(
                f"compared_with: `{', '.join(sorted('/'.join(k.path) for k in asset.keys))}` has "
                "slices, of which no earlier ones are kept to be compared with. Compare a table "
                "without slices that is made of it."
            )
    check_name = name or f"compared_with_{version}"
    return [
        _check(spec, version, check_name, limits, options, blocking=blocking)
        for asset in several
        for spec in asset.specs
    ]


def _check(
    spec: dg.AssetSpec,
    version: str,
    name: str,
    limits: dict[str, float | None],
    options: ComparisonOptions,
    *,
    blocking: bool,
) -> dg.AssetChecksDefinition:
    table = StageTable.from_path(spec.key.path)
    with warnings.catch_warnings():
        # As in `sampling.checks.asset_checks`: each instance has results of its own.
        warnings.simplefilter("ignore", dg.PreviewWarning)
        check_spec = dg.AssetCheckSpec(
            name,
            asset=spec.key,
            description=f"Compares the table with `{version}`.",
            blocking=blocking,
            partitions_def=spec.partitions_def,
        )

    @dg.multi_asset_check(
        name=f"{table.stage}__{table.name}__{name}",
        specs=[check_spec],
        compute_kind="postgres",
        required_resource_keys={"instance"},
    )
    def check(context: dg.AssetCheckExecutionContext) -> Iterable[dg.AssetCheckResult]:
        instance: Instance = context.resources.instance.current
        finding = _find(instance, table, version, limits, options)
        yield finding.result(dg.AssetCheckKey(spec.key, name))

    return check


def _find(
    instance: Instance,
    table: StageTable,
    version: str,
    limits: dict[str, float | None],
    options: ComparisonOptions,
) -> Finding:
    before = VersionName(instance)
    if version != PREVIOUS:
        before = version_name(version, load_configuration())
        if before.instance.name == instance.name and before.which is None:
            return Finding(metadata={"compared": f"`{version}` is this instance"})
    try:
        after = _staged_or_committed(instance, table)
        if after.which is None and version == PREVIOUS:
            before = VersionName(instance, PREVIOUS)
        found = _compared(before, after, table, options)
    except TableNotFoundError as error:
        return Finding(metadata={"compared": f"nothing to compare with: {error}"})
    return _judged(found, limits, f"{before}")


def _staged_or_committed(instance: Instance, table: StageTable) -> VersionName:
    """Return the version with the new table: a step that changed nothing has staged nothing."""
    with database(instance).begin() as connection:
        staged = VersionName(instance, STAGED)
        try:
            item = find_version(connection, staged).tables.get(table)
            current = find_version(connection, VersionName(instance)).tables.get(table)
        except TableNotFoundError:
            return VersionName(instance)
    return staged if item is not None and item != current else VersionName(instance)


def _compared(
    before: VersionName, after: VersionName, table: StageTable, options: ComparisonOptions
) -> TableDifference:
    def both(one: Version, other: Version) -> list[TableVersion | None]:
        return [one.tables.get(table), other.tables.get(table)]

    def to_read(one: Version, other: Version) -> list[Any]:
        read = [item.relation for item in both(one, other) if item and item.relation]
        return read + relations_with_roles(one, other)

    with snapshot(before, after, to_read) as (connection, one, other):
        a, b = both(one, other)
        sample = sample_of(connection, one, other)
        if sample is not None and sample.kind == "paired":
            sample = None
        return compare_table(connection, table, a, b, options, sample)


def _judged(found: TableDifference, limits: dict[str, float | None], version: str) -> Finding:
    metadata: dict[str, Any] = {"compared with": version, "result": terminal.summary(found)}
    if found.status == "added":
        return Finding(metadata=metadata)
    if found.sample is not None:
        off = [figure.what for figure in found.sample.figures if figure.is_off]
        metadata["figures"] = len(found.sample.figures)
        if not off:
            return Finding(metadata=metadata)
        return Finding(
            f"`{found.table}` differs from `{version}` by more than chance: {', '.join(off[:5])}.",
            metadata=metadata,
        )
    if found.rows is None:
        if found.status in ("not compared", "not kept"):
            reason = "; ".join(found.notes)
            return Finding(f"`{found.table}` cannot be compared: {reason}.", metadata=metadata)
        return Finding(metadata=metadata)
    rows = found.rows
    shares = {"changed": rows.share_changed, "added": rows.added / max(rows.before, 1)}
    metadata |= {f"share {what}": share for what, share in shares.items()}
    for what, limit in limits.items():
        if limit is not None and shares[what] > limit:
            return Finding(
                f"{100 * shares[what]:.2f} % of the rows of `{found.table}` are {what} against "
                f"`{version}`, more than {100 * limit:g} %: {terminal.summary(found)}. If that is "
                "meant, raise the limit or leave out the columns by `ignore`.",
                metadata=metadata,
            )
    return Finding(metadata=metadata)
