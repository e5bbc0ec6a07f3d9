"""The IO manager: where Dagster hands over what assets return and asks for what they read."""

import json
from typing import Any

import dagster as dg

from data_pipeline.errors import ConfigurationError, IsolationError
from data_pipeline.instances import Configuration, Instance, load_configuration
from data_pipeline.instances.cache_validation import validation
from data_pipeline.instances.resource import PARTITION_TAG
from data_pipeline.tables.fetch import fetch, known_version
from data_pipeline.tables.identity import SOURCES_TAG, Identity, identity_of
from data_pipeline.tables.inputs import InputVersions
from data_pipeline.tables.names import StageTable
from data_pipeline.tables.op_context import op_context
from data_pipeline.tables.store import Origin, Store
from data_pipeline.tables.table import declared_properties
from data_pipeline.tables.upstream import upstream


class TableIOManager(dg.IOManager):
    """Keeps assets as tables of their instance's stage schemas, or as blobs.

    Args:
        configuration: All instances.
        pinned: The one instance to use, or None to go by the partition.
    """

    def __init__(self, configuration: Configuration, pinned: str | None = None) -> None:
        self._configuration = configuration
        self._pinned = configuration.instance(pinned) if pinned is not None else None
        self._inputs = InputVersions()

    def handle_output(self, context: dg.OutputContext, obj: Any) -> None:
        """Stores what an asset returned; see `Store.put`."""
        table = StageTable.from_path(context.asset_key.path)
        instance = self._instance_of_output(context, table)
        self._configuration.check_stages(_stages(context))
        declared = declared_properties(context.definition_metadata)
        origin = self._origin(context, instance)
        stored = Store(instance, context.log).put(table, obj, declared, origin)
        context.add_output_metadata(dict(stored.metadata))
        context.step_context.set_data_version(
            context.asset_key, dg.DataVersion(stored.data_version)
        )

    def load_input(self, context: dg.InputContext) -> Any:
        """Gives what an asset reads, in the form that its annotation asks for; see `fetch`."""
        table = StageTable.from_path(context.asset_key.path)
        instance = self._instance_of_input(context)
        value, version = fetch(instance, table, context.dagster_type.typing_type, context.log)
        step = context.step_context
        self._inputs.add(step.run_id, step.step.key, instance.instance_id, table, version)
        return value

    def _instance_of_output(self, context: dg.OutputContext, table: StageTable) -> Instance:
        name = context.asset_partition_key if context.has_asset_partitions else None
        if self._pinned is not None and name not in (None, self._pinned.name):
            raise IsolationError(
                f"Asset `{table}` is computed for instance `{name}`, but the resources are those "
                f"of `{self._pinned.name}`. Use partition_key={self._pinned.name!r}, or "
                f"instance_resources({name!r})."
            )
        return self._instance(name, table)

    def _instance_of_input(self, context: dg.InputContext) -> Instance:
        table = StageTable.from_path(context.asset_key.path)
        name = context.asset_partition_key if context.has_asset_partitions else None
        reader = context.step_context.run_tags.get(PARTITION_TAG) or (
            self._pinned.name if self._pinned else None
        )
        if name is None or reader is None or name == reader:
            return self._instance(name, table)
        return self._configuration.read_by(self._configuration.instance(reader), name)

    def _instance(self, name: str | None, table: StageTable) -> Instance:
        if self._pinned is not None and name in (None, self._pinned.name):
            return self._pinned
        if name is None:
            known = ", ".join(self._configuration.instances)
            raise ConfigurationError(
                f"Asset `{table}` has no partition, so it is not clear for which instance it is. "
                "Give it the partitions definition of the instances, or pin one with "
                f"instance_resources(name); instances are {known}."
            )
        return self._configuration.instance(name)

    def _origin(self, context: dg.OutputContext, instance: Instance) -> Origin:
        step = context.step_context
        loaded = self._inputs.of(step.run_id, step.step.key)
        graph = step.job_def.asset_layer.asset_graph
        inputs: dict[str, str | None] = {}
        for _, source, table in upstream(graph, context.asset_key, self._configuration, instance):
            # What is named as a dependency only (`deps=`) was not loaded, but may have been read.
            name = f"{source.instance_id}/{table}"
            inputs |= loaded.get(table) or {name: known_version(source, table)}
        tags = step.dagster_run.tags
        forced = validation(instance, tags).mode == "force_cache_invalid"
        return Origin(context.run_id, self._identity(context, instance), inputs, forced)

    def _identity(self, context: dg.OutputContext, instance: Instance) -> Identity:
        step = context.step_context
        sees = op_context(step.job_def, step.node_handle, step.resolved_run_config)
        identity = identity_of(context.asset_spec, sees, instance)
        if not identity.takes_outside_input:
            return identity
        # Written by the memoised executor before the first step; without it, none is known.
        run = step.instance.get_run_by_id(context.run_id)
        sources = json.loads(run.tags.get(SOURCES_TAG, "{}")) if run else {}
        return identity.with_source(sources.get("/".join(context.asset_key.path)))


def _stages(context: dg.OutputContext) -> set[str]:
    """Names the stages of all assets that the run knows; their schemas must not meet."""
    keys = context.step_context.job_def.asset_layer.asset_graph.materializable_asset_keys
    return {key.path[0] for key in keys if len(key.path) == 2}


class InstanceIOManager(dg.ConfigurableIOManagerFactory[TableIOManager]):
    """The resource behind the key `io_manager`.

    Attributes:
        instance: The one instance to use; None: chosen by partition at run time.
        config: A configuration file; None: the default one.
        per_user: Whether instance ids carry the user's name; None: as configured.
    """

    instance: str | None = None
    config: str | None = None
    per_user: bool | None = None

    def create_io_manager(self, context: dg.InitResourceContext) -> TableIOManager:
        """Gives the IO manager of a run."""
        configuration = load_configuration(self.config, per_user=self.per_user)
        return TableIOManager(configuration, self.instance)
