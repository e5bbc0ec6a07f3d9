"""What can be said of assets when definitions load, before anything is run."""

import ast
import inspect
import textwrap
import typing
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher, get_close_matches
from typing import Any

import dagster as dg
import sqlalchemy as sa

from data_pipeline.code_version.live_code import asset_functions
from data_pipeline.database.identifiers import StageTable
from data_pipeline.errors import ConfigurationError
from data_pipeline.instances import Configuration
from data_pipeline.io_manager.annotations import is_of_tables, takes_table, without_none
from data_pipeline.store.reading import shown
from data_pipeline.store.several_tables import is_several
from data_pipeline.store.table_properties import Table, View

AnyAsset = dg.AssetsDefinition | dg.AssetSpec | dg.SourceAsset
"""What `instance_definitions` takes as an asset."""

_IO_MANAGER = "io_manager"
_NEAR = 0.75


@dataclass(frozen=True)
class SortedAssets:
    """Assets by what becomes of them.

    Attributes:
        of_instances: Those that each instance computes.
        alone: Those that are computed, but belong to no instance: they have no partitions, or
            others.
        external: Those that nothing here computes.
    """

    of_instances: Sequence[dg.AssetsDefinition]
    alone: Sequence[dg.AssetsDefinition]
    external: Sequence[AnyAsset]

    @property
    def computed(self) -> list[dg.AssetsDefinition]:
        """All that are computed here."""
        return [*self.of_instances, *self.alone]


def check_arguments(assets: Any, executor: Any) -> None:
    """Refuse arguments of `instance_definitions` of another form.

    Raises:
        ConfigurationError: There is one.
    """
    if not isinstance(assets, Iterable):
        raise ConfigurationError(
            f"instance_definitions: {assets!r} is no list of assets. Write [asset, ...]; all of a "
            "module gives dg.load_assets_from_modules([module])."
        )
    if not isinstance(executor, dg.ExecutorDefinition):
        raise ConfigurationError(
            f"instance_definitions(executor={executor!r}): that is no executor. Write "
            "dg.in_process_executor or dg.multiprocess_executor."
        )


def asset_keys(asset: AnyAsset) -> Iterable[dg.AssetKey]:
    """Return the keys of an asset of any kind.

    Raises:
        ConfigurationError: It is no asset.
    """
    if isinstance(asset, AnyAsset):
        return asset.keys if isinstance(asset, dg.AssetsDefinition) else [asset.key]
    raise ConfigurationError(
        f"instance_definitions: {asset!r} is no asset. Give assets in a list: functions with "
        "@dg.asset, dg.AssetSpec, observable source assets. Checks go to asset_checks=, jobs to "
        "jobs=, resources to resources=."
    )


def sorted_assets(assets: Iterable[AnyAsset], instances: Sequence[str]) -> SortedAssets:
    """Sort assets by what becomes of them."""
    of_instances: list[dg.AssetsDefinition] = []
    alone: list[dg.AssetsDefinition] = []
    external: list[AnyAsset] = []
    for asset in assets:
        if isinstance(asset, dg.AssetsDefinition) and asset.is_materializable:
            mine = _is_of_instances(asset.partitions_def, instances)
            (of_instances if mine else alone).append(asset)
        else:
            external.append(asset)
    return SortedAssets(of_instances, alone, external)


def _is_of_instances(
    partitions: dg.PartitionsDefinition[Any] | None, instances: Sequence[str]
) -> bool:
    if isinstance(partitions, dg.MultiPartitionsDefinition):
        return any(
            _is_of_instances(item.partitions_def, instances) for item in partitions.partitions_defs
        )
    if not isinstance(partitions, dg.StaticPartitionsDefinition):
        return False
    # They may have been made for another configuration, which knows more instances.
    return not set(instances).isdisjoint(partitions.get_partition_keys())


def stored_tables(assets: Iterable[dg.AssetsDefinition]) -> list[StageTable]:
    """Return what assets are called that instances compute, by stage and table.

    What stores nothing here may have a key of any length.

    Raises:
        ConfigurationError: The key of one that is stored is not `[stage, table]`.
    """
    return [
        StageTable.from_path(key.path) if _is_stored(asset, key) else StageTable.of_key(key.path)
        for asset in assets
        for key in asset.keys
    ]


def _is_stored(asset: dg.AssetsDefinition, key: dg.AssetKey) -> bool:
    output = asset.node_def.output_def_named(asset.get_output_name_for_asset_key(key))
    if output.dagster_type.is_nothing or output.io_manager_key != _IO_MANAGER:
        return False
    functions = asset_functions(asset).values()
    return len(functions) != 1 or not all(map(_returns_nothing, functions))


def _returns_nothing(function: Callable[..., Any]) -> bool:
    """Whether a function says, or shows, that it returns facts at most (`MaterializeResult`)."""
    annotation = getattr(function, "__annotations__", {}).get("return", inspect.Signature.empty)
    if annotation is not inspect.Signature.empty:
        return "MaterializeResult" in str(annotation)
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, TypeError, SyntaxError):
        return False
    found = [node.value for node in ast.walk(tree) if isinstance(node, ast.Return | ast.Yield)]
    return all(value is None or "MaterializeResult(" in ast.unparse(value) for value in found)


def check_alone(
    alone: Iterable[dg.AssetsDefinition],
    of_instances: Iterable[dg.AssetsDefinition],
    configuration: Configuration,
) -> None:
    """Refuse assets without an instance whose tables would be nobody's, or lie among others.

    Args:
        alone: The assets.
        of_instances: Those that instances compute.
        configuration: The instances.

    Raises:
        ConfigurationError: There is one.
    """
    of_instances = list(of_instances)
    stages = {table.stage for table in stored_tables(of_instances)} - {""}
    partitioned = {key for asset in of_instances for key in asset.keys}
    for asset in alone:
        for key in asset.keys:
            if (reason := _unclear(asset, key, stages, configuration)) is not None:
                raise ConfigurationError(
                    f"Asset `{'/'.join(key.path)}` {reason}, but is not partitioned by instance. "
                    "Write @dg.asset(..., partitions_def=INSTANCE_PARTITIONS) (from data_pipeline "
                    "import INSTANCE_PARTITIONS). A table without partitions needs a stage of its "
                    'own, key=["<stage>", "<table>"]; for something else choose another '
                    "io_manager_key, or return a dg.MaterializeResult."
                )
        _check_reads_by_name(asset, partitioned)


def _unclear(
    asset: dg.AssetsDefinition,
    key: dg.AssetKey,
    stages: Collection[str],
    configuration: Configuration,
) -> str | None:
    """Say why it is not clear whose table an asset without an instance makes; None where it is."""
    output = asset.node_def.output_def_named(asset.get_output_name_for_asset_key(key))
    kind = output.dagster_type.typing_type
    if output.io_manager_key != _IO_MANAGER:
        return None
    if (
        len(key.path) == 2
        and key.path[0] in stages
        and (is_of_tables(kind) or _is_stored(asset, key))
    ):
        return "lies in a stage"
    if not (is_of_tables(kind) or is_several(kind)):
        return None
    if asset.partitions_def is not None or len(key.path) != 2:
        return f"returns {shown(kind)}"
    if configuration.of_unpartitioned is None:
        return f"returns {shown(kind)}, and there is no instance `full` that could have its table"
    return None


def _check_reads_by_name(asset: dg.AssetsDefinition, partitioned: Collection[dg.AssetKey]) -> None:
    """Refuse parameters for one table in assets without partitions, which read all instances'."""
    if asset.partitions_def is not None or isinstance(asset.node_def, dg.GraphDefinition):
        return
    for name, key in asset.keys_by_input_name.items():
        kind = asset.node_def.input_def_named(name).dagster_type.typing_type
        mapping = asset.get_partition_mapping(key)
        is_all = mapping is None or isinstance(mapping, dg.AllPartitionMapping)
        if key in partitioned and is_all and is_of_tables(kind):
            reader, read = (
                ", ".join("/".join(k.path) for k in keys) for keys in (asset.keys, [key])
            )
            raise ConfigurationError(
                f"Asset `{reader}` is not partitioned by instance, so its parameter `{name}` reads "
                f"`{read}` of all instances, but it is annotated with {shown(kind)}. Write "
                "@dg.asset(..., partitions_def=INSTANCE_PARTITIONS) (from data_pipeline import "
                f"INSTANCE_PARTITIONS), or annotate it with dict[str, {shown(kind)}], by name of "
                "the instance."
            )


def check_inputs(assets: Iterable[dg.AssetsDefinition], known: Iterable[dg.AssetKey]) -> None:
    """Refuse parameters that ask for no asset, where one of their name or a like one has a stage.

    Args:
        assets: The assets.
        known: The keys of all assets.

    Raises:
        ConfigurationError: There is one.
    """
    keys, assets = set(known), list(assets)
    groups = {key: group for asset in assets for key, group in asset.group_names_by_key.items()}
    for asset in assets:
        for name, key in asset.keys_by_input_name.items():
            named_so = [other for other in keys if other.path[-1] == key.path[-1]]
            near = [other for other in named_so if _is_near(key, other)] or _like(
                key, keys - asset.keys
            )
            same = ["/".join(other.path) for other in sorted(near)]
            if key in keys or not same or _is_found(asset, key, named_so, groups):
                continue
            if asset.node_def.input_def_named(name).dagster_type.is_nothing:
                continue  # `deps=` may name what nobody has declared
            reader = ", ".join(sorted("/".join(k.path) for k in asset.keys))
            asked = "/".join(key.path)
            parts = ", ".join(f'"{part}"' for part in same[0].split("/"))
            raise ConfigurationError(
                f"Asset `{reader}`: its parameter `{name}` asks for an asset `{asked}`, "
                f"which there is not. Is {' or '.join(f'`{item}`' for item in same)} meant? Write "
                f'@dg.asset(ins={{"{name}": dg.AssetIn(key=[{parts}])}}). Or declare what others '
                f"make: instance_definitions([..., dg.AssetSpec({list(key.path)})])."
            )


def _is_near(key: dg.AssetKey, other: dg.AssetKey) -> bool:
    """Whether a key may be meant, by its stage: it was left out, or misspelt."""
    before, meant = "/".join(key.path[:-1]), "/".join(other.path[:-1])
    return not before or SequenceMatcher(None, before, meant).ratio() > _NEAR


def _like(key: dg.AssetKey, keys: Collection[dg.AssetKey]) -> list[dg.AssetKey]:
    """Return tables of the stage of a key whose names are like its own."""
    if len(key.path) != 2:
        return []
    stage = {other.path[1]: other for other in keys if [*other.path[:-1]] == [key.path[0]]}
    return [stage[name] for name in get_close_matches(key.path[1], stage, cutoff=_NEAR)]


def _is_found(
    asset: dg.AssetsDefinition,
    key: dg.AssetKey,
    named_so: Sequence[dg.AssetKey],
    groups: Mapping[dg.AssetKey, str],
) -> bool:
    """Whether Dagster finds an asset by its name alone: the only one of its name in the group."""
    own = set(asset.group_names_by_key.values())
    return len(key.path) == 1 and sum(groups.get(item) in own for item in named_so) == 1


def check_backfill_policies(assets: Iterable[dg.AssetsDefinition]) -> None:
    """Refuse policies by which Dagster gives a run a range of partitions, even one of a single one.

    Raises:
        ConfigurationError: An asset of instances has one.
    """
    for asset in assets:
        if asset.backfill_policy is not None:
            raise ConfigurationError(
                f"Asset `{', '.join(sorted('/'.join(key.path) for key in asset.keys))}` has a "
                "backfill policy, by which Dagster gives a run a range of partitions. Each run "
                "builds one instance, or one slice of it: leave out `backfill_policy`."
            )


def check_annotations(assets: Iterable[dg.AssetsDefinition]) -> None:
    """Refuse parameters whose annotation no table, or not the one behind them, can be given as.

    What an asset returns is known here where it says so; what another IO manager gives, is not.

    Raises:
        ConfigurationError: There is one.
    """
    assets = list(assets)
    made = {key: _output(asset, key) for asset in assets for key in asset.keys}
    for asset in assets:
        if isinstance(asset.node_def, dg.GraphDefinition):
            continue
        for name, key in asset.keys_by_input_name.items():
            parameter, output = asset.node_def.input_def_named(name), made.get(key)
            loaded_by = parameter.input_manager_key or (output and output.io_manager_key)
            if loaded_by not in (None, _IO_MANAGER):
                continue
            asked = parameter.dagster_type
            kind = Any if asked.is_nothing else asked.typing_type  # nothing arrives from `deps=`
            returned = output and output.dagster_type.typing_type
            if (reason := _misfit(kind, returned)) is not None:
                reader = ", ".join(sorted("/".join(k.path) for k in asset.keys))
                raise ConfigurationError(
                    f"Asset `{reader}`: its parameter `{name}` is annotated with {shown(kind)}, "
                    f"but {reason}. Annotate it with pd.DataFrame, pl.DataFrame, pl.LazyFrame, "
                    "pa.Table, pa.RecordBatchReader, sa.Table (no rows move), ibis.Table, a schema "
                    "of dataframely or pandera; or dict[str, ...] of these, by instance, or by the "
                    "names of an asset's several tables."
                )


def _output(asset: dg.AssetsDefinition, key: dg.AssetKey) -> Any:
    return asset.node_def.output_def_named(asset.get_output_name_for_asset_key(key))


def _misfit(kind: Any, returned: Any) -> str | None:
    """Say why no value fits an annotation; None where one may."""
    plain = without_none(kind)
    name = f"{getattr(plain, '__module__', '')}.{getattr(plain, '__qualname__', '')}"
    if name.split(".")[0] in ("pandas", "polars") and name.endswith(("Series", "Index")):
        return "a table has columns"
    if is_several(without_none(returned)):
        origin = typing.get_origin(plain) or plain
        takes_all = origin is Any or (isinstance(origin, type) and issubclass(dict, origin))
        return (
            None if takes_all or is_several(plain) else "what it reads are several tables, by name"
        )
    if not _becomes_table(returned) or takes_table(plain):
        return None
    return f"what it reads is a table, made of {shown(returned)}"


def _becomes_table(returned: Any) -> bool:
    kinds = (sa.SelectBase, sa.TextClause, Table, View)
    return is_of_tables(returned) or (isinstance(returned, type) and issubclass(returned, kinds))
