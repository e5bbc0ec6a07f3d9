"""Runs assets on scratch instances: copies of the configured ones in schemas of their own."""

import logging
import shutil
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from threading import RLock
from types import MappingProxyType
from typing import Any

import dagster as dg

from data_pipeline.assembly import instance_resources
from data_pipeline.authoring.stage import resolved
from data_pipeline.database.connection import database
from data_pipeline.database.identifiers import StageTable
from data_pipeline.definition_checks import asset_keys
from data_pipeline.errors import ConfigurationError
from data_pipeline.identity.upstream import upstream
from data_pipeline.instances import (
    BlobStore,
    CacheValidation,
    Configuration,
    DatabaseUrl,
    Instance,
    load_configuration,
)
from data_pipeline.instances.configuration import in_force
from data_pipeline.instances.merged_layers import suggestion
from data_pipeline.instances.partitions import INSTANCE_PARTITIONS
from data_pipeline.instances.slice_dimensions import is_sliced
from data_pipeline.sampling.scratch_schema import scratch_instance_id, scratch_schema
from data_pipeline.store import catalog
from data_pipeline.store.reading import fetch

_ONE_AT_A_TIME = RLock()
"""The configuration that is in force is that of the process."""

_LOG = logging.getLogger(__name__)
_PURPOSE = "data_pipeline.testing.materialize runs assets on"


def materialize(
    assets: Sequence[Any],
    instance: str = "mini",
    *,
    inputs: Mapping[str, Any] | None = None,
    form: Any = None,
    resources: Mapping[str, Any] | None = None,
    config: str | Path | None = None,
) -> dict[str, Any]:
    """Run assets in a scratch database and return what they made; SQL runs as it does in a run.

    Use it where `dg.materialize_to_memory` does not do, because an asset takes `sa.Table` or
    returns a query. All that is written lies in schemas that are gone afterwards, on the embedded
    server or on the one that the environment variable DATA_PIPELINE_TEST_URL names; the servers of
    `instances.yaml` are never asked.

    ```python
    orders = pd.DataFrame({"order_id": [1, 2], "customer_id": [7, 7], "total": [2.5, 4.0]})
    made = materialize([per_customer], inputs={"clean/orders": orders})
    assert made["report/per_customer"]["total"].tolist() == [6.5]
    ```

    Args:
        assets: The assets that run. Raw tables among them load their source, as the instance that
            `instance` copies; what it copies of them is chosen as its configuration says.
        instance: The instance that the assets run for, with its attrs.
        inputs: The tables that they read but do not make, by `stage/table`: frames, `Table(frame,
            primary_key=...)`, or any other object for a blob. One for a key of `assets` takes its
            place.
        form: In which form tables are returned; default: `pd.DataFrame`.
        resources: Further resources of the assets.
        config: A configuration file; None: the project's.

    Returns:
        Frames, and the objects of blobs, by `stage/table`.

    Raises:
        ConfigurationError: An asset reads what is neither among the assets nor the inputs.
        DatabaseError: There is no server, or it refused something.
    """
    given = {dg.AssetKey(_path(key)): value for key, value in (inputs or {}).items()}
    runnable = _with_inputs(assets, given)
    _check_whole(runnable)
    with _ONE_AT_A_TIME, _scratch_configuration(load_configuration(config)) as configuration:
        chosen = configuration.instance(instance)
        means = {**instance_resources(), **(resources or {})}
        graph = dg.Definitions(assets=runnable, resources=means).resolve_asset_graph()
        plan = _runs(runnable, graph, configuration, chosen)
        for each, keys in sorted(plan.items(), key=lambda item: item[0].copies_over):
            dg.materialize(
                runnable,
                partition_key=each.name,
                resources=means,
                selection=sorted(keys),
            )
        return _values(plan, form, set(given))


def _check_whole(assets: Sequence[Any]) -> None:
    """Refuse assets with slices: a run has one slice of them, or none."""
    for asset in assets:
        if isinstance(asset, dg.AssetsDefinition) and is_sliced(asset.partitions_def):
            keys = sorted("/".join(key.path) for key in asset.keys)
            raise ConfigurationError(
                f"materialize: asset `{', '.join(keys)}` has slices. Give its rows by `inputs`; or "
                "build one slice: dg.materialize([...], partition_key=dg.MultiPartitionKey({...}), "
                "resources=instance_resources(...))."
            )


def _path(key: str) -> list[str]:
    if len(path := key.split("/")) != 2 or not all(path):
        raise ConfigurationError(
            f"materialize(inputs=...): {key!r} is no table. Write 'stage/table', as the asset key."
        )
    return path


@contextmanager
def _scratch_configuration(configured: Configuration) -> Iterator[Configuration]:
    """Make a place for instances on a server for tests, and let them be what is configured."""
    with scratch_schema(configured.home, purpose=_PURPOSE, otherwise="") as (server, schema):
        files = configured.home.absolute() / "scratch" / schema
        made: dict[str, Instance] = {}

        def scratch(instance: Instance) -> Instance:
            if instance.instance_id not in made:
                made[instance.instance_id] = replace(
                    instance,
                    **_places(instance, server.url, scratch_instance_id(schema, len(made)), files),
                    source=scratch(instance.source) if instance.source else None,
                )
            return made[instance.instance_id]

        instances = {name: scratch(item) for name, item in configured.instances.items()}
        configuration = replace(configured, instances=MappingProxyType(instances), _neighbours=())
        try:
            with in_force(configuration):
                yield configuration
        finally:
            shutil.rmtree(files, ignore_errors=True)


def _places(instance: Instance, url: Any, instance_id: str, files: Path) -> dict[str, Any]:
    text = url.set(drivername="postgresql").render_as_string(hide_password=False)
    table_store = instance.table_store.model_copy(
        update={
            "url": DatabaseUrl(text),
            "schema_prefix": f"{instance_id}_",
            "create_database_if_not_exists": False,
            "reader_role": None,  # the server may have no such role
            "snapshot_wait_seconds": 0.0,  # nobody else reads these tables
        }
    )
    blob_store: BlobStore = instance.blob_store.model_copy(update={"base_path": files})
    return {
        "instance_id": instance_id,
        "table_store": table_store,
        "blob_store": blob_store,
        "cache_validation": CacheValidation(),
    }


def _with_inputs(assets: Sequence[Any], given: Mapping[dg.AssetKey, Any]) -> list[Any]:
    """Return the assets with such that give the inputs, all with their edges."""
    kept = [asset for asset in assets if not _is_given(asset, given)]
    computed = [asset for asset in kept if isinstance(asset, dg.AssetsDefinition)]
    read = {key for asset in computed for key in _read(asset)}
    # What a parameter stands for is looked up among what there is; the rest is found out below.
    others = [dg.AssetSpec(key) for key in sorted(read - {k for a in kept for k in asset_keys(a)})]
    known = resolved([*kept, *(dg.AssetSpec(key) for key in given), *others])
    found = known[: len(kept)]
    _check_are_there(found, given)
    return [*found, *(_giving(number, *item) for number, item in enumerate(given.items()))]


def _is_given(asset: Any, given: Mapping[dg.AssetKey, Any]) -> bool:
    keys = set(asset_keys(asset))
    if (some := keys & given.keys()) and (missing := keys - given.keys()):
        raise ConfigurationError(
            f"materialize(inputs=...): {_listed(some)} is made by a step that makes "
            f"{_listed(missing)} too. Give all of them, or none."
        )
    return bool(some)


def _read(asset: dg.AssetsDefinition) -> Iterator[dg.AssetKey]:
    """Name the assets whose values an asset takes; those that it only follows may be missing."""
    if not asset.is_executable:
        return
    for name, key in asset.node_keys_by_input_name.items():
        if not asset.node_def.input_dict[name].dagster_type.is_nothing and key not in asset.keys:
            yield key


def _check_are_there(assets: Sequence[Any], given: Mapping[dg.AssetKey, Any]) -> None:
    there = {key for asset in assets for key in asset_keys(asset)} | given.keys()
    for asset in assets:
        for key in _read(asset) if isinstance(asset, dg.AssetsDefinition) else ():
            if key not in there:
                near = suggestion(_name(key), sorted(map(_name, given))) if given else ""
                raise ConfigurationError(
                    f"Asset {_listed(asset.keys)} reads `{_name(key)}`, which is neither among the "
                    f"assets nor the inputs. Give it: materialize([...], inputs={{"
                    f'"{_name(key)}": frame}}), or add the asset that makes it. {near}'.rstrip()
                )


def _giving(number: int, key: dg.AssetKey, value: Any) -> dg.AssetsDefinition:
    # A name that is no name of Python, of a table of a source, may be a key but of no op.
    @dg.multi_asset(
        name=f"given_{number}",
        outs={"given": dg.AssetOut(key=key)},
        partitions_def=INSTANCE_PARTITIONS,
    )
    def given():  # type: ignore[no-untyped-def] # an annotation would be checked
        return value

    return given


def _runs(
    assets: Sequence[Any],
    graph: Any,
    configuration: Configuration,
    instance: Instance,
) -> dict[Instance, set[dg.AssetKey]]:
    """Return what is to run for the instance, and for those that it copies."""
    computed = [asset for asset in assets if isinstance(asset, dg.AssetsDefinition)]
    keys = {key for asset in computed if asset.is_executable for key in asset.keys}

    def sources(each: Instance, key: dg.AssetKey) -> Iterator[tuple[Instance, dg.AssetKey]]:
        for _, source, table in upstream(graph, key, configuration, each):
            if (found := dg.AssetKey([table.stage, table.name])) in keys:
                yield source, found

    elsewhere = {
        found for key in keys for source, found in sources(instance, key) if source != instance
    }
    todo = [(instance, key) for key in keys - elsewhere]
    plan: dict[Instance, set[dg.AssetKey]] = {}
    while todo:
        each, key = todo.pop()
        if key not in plan.setdefault(each, set()):
            plan[each].add(key)
            todo += sources(each, key)
    return plan


def _values(
    plan: Mapping[Instance, Collection[dg.AssetKey]], form: Any, given: Collection[dg.AssetKey]
) -> dict[str, Any]:
    """Read what was made, of the instance itself where several have a table."""
    if form is None:
        import pandas as pd

        form = pd.DataFrame
    values: dict[str, Any] = {}
    for instance, keys in sorted(plan.items(), key=lambda item: item[0].copies_over):
        with database(instance).begin() as connection:
            rows = catalog.rows(connection, instance.catalog_schema)
        for key in sorted(set(keys) - set(given)):
            row = rows.get(StageTable.from_path(key.path))
            if row is not None and row.kind not in catalog.WITHOUT_VALUE:
                values[_name(key)] = fetch(instance, row.table, form, _LOG)[0]
    return values


def _name(key: dg.AssetKey) -> str:
    return key.to_user_string()


def _listed(keys: Collection[dg.AssetKey]) -> str:
    return ", ".join(f"`{_name(key)}`" for key in sorted(keys))
