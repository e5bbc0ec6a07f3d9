"""The IO manager: where Dagster hands over what assets return and asks for what they read."""

import json
import logging
from collections.abc import Mapping
from typing import Any, ClassVar

import dagster as dg
from pydantic import PrivateAttr

from data_pipeline.commit.stage_commits import LedRun
from data_pipeline.database import interrupts
from data_pipeline.database.connection import database
from data_pipeline.database.identifiers import StageTable
from data_pipeline.database.sessions import reset_session_name, set_session_name
from data_pipeline.errors import ConfigurationError, IsolationError
from data_pipeline.identity.computation import (
    SOURCES_TAG,
    Identity,
    identity_of,
    op_context,
    resources_of_run,
)
from data_pipeline.identity.run_resources import remember_objects
from data_pipeline.identity.upstream import InputVersions, upstream
from data_pipeline.instances import Configuration, Instance, load_configuration
from data_pipeline.instances.dagster_resource import PARTITION_TAG, InstanceResource
from data_pipeline.instances.settings.caching import validation
from data_pipeline.results.writing import Origin, Store
from data_pipeline.runs.dagster_plan import (
    check_leads_alone,
    given_version,
    has_leading_executor,
    only_checks,
    planned_steps,
    step_sources,
)
from data_pipeline.runs.step_reads import (
    Source,
    StepReads,
    close_reads,
    end_with_leader,
    open_reads,
    reads_of,
)
from data_pipeline.store import run_registry, staging
from data_pipeline.store.lookup import read_instead
from data_pipeline.store.reading import fetch, is_in_memory, known_version
from data_pipeline.store.table_properties import declared_properties


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
        self._runs: dict[str, LedRun | None] = {}

    def handle_output(self, context: dg.OutputContext, obj: Any) -> None:
        """Store what an asset returned; see `Store.put`."""
        table = StageTable.from_path(context.asset_key.path)
        instance = self._instance_of_output(context, table)
        self._configuration.check_stages(_stages(context))
        step = context.step_context
        run = self._enter(step, instance, context.log)
        declared = declared_properties(context.definition_metadata)
        origin = self._origin(context, instance)
        reads = reads_of(step.run_id, step.step.key)
        store = Store(instance, context.log, reads.check if reads else lambda: None)
        stored = store.put(table, obj, declared, origin)
        if run is not None:
            run.staged(step.step.key, table)
        context.add_output_metadata(dict(stored.metadata))
        step.set_data_version(context.asset_key, dg.DataVersion(stored.data_version))

    def load_input(self, context: dg.InputContext) -> Any:
        """Return what an asset reads, in the form that its annotation asks for; see `fetch`."""
        instance, table = self._read(context)
        step = context.step_context
        if (writer := self._writer(step.run_tags)) is not None:
            self._enter(step, writer, context.log)
        reads = self._reads(step, instance, table)
        found = reads[instance, table]
        if found.change is not None:
            context.log.warning(
                f"`{table}` of instance `{instance.name}` is not what was committed: "
                f"{found.change}. What is computed from it is computed again once it is rebuilt."
            )
        value, version = fetch(
            instance, table, context.dagster_type.typing_type, context.log, found
        )
        if is_in_memory(value):
            reads.loaded((instance, table))
        self._inputs.add(step.run_id, step.step.key, instance.instance_id, table, version)
        return value

    def close(self) -> None:
        """End what this IO manager has open: locks on inputs, and runs that it leads.

        Raises:
            DatabaseError: A stage could not be committed.
        """
        for run_id, run in self._runs.items():
            close_reads(run_id)
            if run is not None:
                try:
                    if not interrupts.is_asked():
                        run.finish()
                finally:
                    run.close()
        self._runs.clear()
        reset_session_name()

    def _enter(self, step: Any, instance: Instance, log: logging.Logger) -> LedRun | None:
        """Name the sessions of a step, and leads its run if nobody else does."""
        set_session_name(step.run_id, step.step.key)
        if step.run_id not in self._runs:
            is_led = has_leading_executor(step) or self._is_led_here(step.run_id, instance)
            self._runs[step.run_id] = None if is_led else self._lead(step, instance, log)
        return self._runs[step.run_id]

    def _is_led_here(self, run_id: str, instance: Instance) -> bool:
        """Whether another IO manager of this process leads a run."""
        with database(instance).begin() as connection:
            run = run_registry.row(connection, instance, run_id)
        return run is not None and run.is_alive and run.is_here

    def _lead(self, step: Any, instance: Instance, log: logging.Logger) -> LedRun:
        check_leads_alone(step)
        steps = planned_steps(step, self._configuration, instance)
        computed = {table for planned in steps for table in planned.tables}
        inputs = {
            f"{source.instance_id}/{table}": known_version(source, table)
            for planned in steps
            for source, table in planned.sources
            if (source.instance_id, table) not in {(instance.instance_id, t) for t in computed}
        }
        return LedRun(instance, step.run_id, steps, inputs, step.instance, log)

    def _reads(self, step: Any, instance: Instance, table: StageTable) -> StepReads:
        """Lock the inputs of a step with the first of them."""
        run_id, key = step.run_id, step.step.key
        reads = reads_of(run_id, key)
        if reads is None or reads.is_closed or (instance, table) not in reads:
            close_reads(run_id)  # of steps before it, in this process
            reader = self._writer(step.run_tags) or instance
            found = step_sources(step, self._configuration, reader)
            sources = {(source.instance_id, name): (source, name) for source, name in found}
            sources[instance.instance_id, table] = (instance, table)
            reads = open_reads(run_id, key, sources.values())
        return reads

    def _writer(self, tags: Mapping[str, str]) -> Instance | None:
        """Return the instance that a run writes, None where it does not say."""
        if self._pinned is not None:
            return self._pinned
        name = tags.get(PARTITION_TAG)
        return None if name is None else self._configuration.instance(name)

    def _instance_of_output(self, context: dg.OutputContext, table: StageTable) -> Instance:
        name = context.asset_partition_key if context.has_asset_partitions else None
        if self._pinned is not None and name not in (None, self._pinned.name):
            raise IsolationError(
                f"Asset `{table}` is computed for instance `{name}`, but the resources are those "
                f"of `{self._pinned.name}`. Use partition_key={self._pinned.name!r}, or "
                f"instance_resources({name!r})."
            )
        return self._instance(name, table)

    def _read(self, context: dg.InputContext) -> Source:
        """Return the table that an input is, as `upstream` does, with its instance."""
        instance = self._instance_of_input(context)
        table = StageTable.from_path(context.asset_key.path)
        step = context.step_context
        asset = step.job_def.asset_layer.get_assets_def_for_node(step.node_handle)
        writer = self._writer(step.run_tags)
        if asset is None or writer is None:
            return instance, table
        return read_instead(asset, writer, instance, table)

    def _instance_of_input(self, context: dg.InputContext) -> Instance:
        table = StageTable.from_path(context.asset_key.path)
        reader = context.step_context.run_tags.get(PARTITION_TAG) or (
            self._pinned.name if self._pinned else None
        )
        if only_checks(context.step_context.step):
            # A check has no partition of its own; Dagster takes it to read all of its inputs'.
            return self._instance(reader, table)
        name = context.asset_partition_key if context.has_asset_partitions else None
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
        reads = reads_of(step.run_id, step.step.key)
        inputs: dict[str, str | None] = {}
        for _, source, table in upstream(graph, context.asset_key, self._configuration, instance):
            # What is named as a dependency only (`deps=`) was not loaded, but may have been read.
            name = f"{source.instance_id}/{table}"
            inputs[name] = (
                loaded[name]
                if name in loaded
                else self._version_of(step.run_id, instance, reads, source, table)
            )
        tags = step.dagster_run.tags
        mode, identity = validation(instance, tags).mode, self._identity(context, instance)
        forced = mode == "force_cache_invalid" or (
            mode == "force_fresh_input" and identity.takes_outside_input
        )
        return Origin(context.run_id, identity, inputs, forced, given_version())

    def _version_of(
        self,
        run_id: str,
        writer: Instance,
        reads: StepReads | None,
        source: Instance,
        table: StageTable,
    ) -> str | None:
        """Return the data version of what a step may have read by itself: that of its beginning."""
        if reads is not None and (source, table) in reads:
            row = reads[source, table].row
            return row.data_version if row else None
        with database(source).begin() as connection:
            if staged := staging.row(connection, source, run_id, table):
                return staged.data_version
        run_here = self._runs.get(run_id)
        if source == writer and run_here and (version := run_here.version_of(table)):
            return version  # another run may have replaced it since
        with database(writer).begin() as connection:
            run = run_registry.row(connection, writer, run_id)
        name = f"{source.instance_id}/{table}"
        if run is not None and name in run.inputs:
            return run.inputs[name]
        return known_version(source, table)

    def _identity(self, context: dg.OutputContext, instance: Instance) -> Identity:
        step = context.step_context
        config = step.resolved_run_config
        resources = resources_of_run(step.job_def, config, step.run_id)
        sees = op_context(step.job_def, step.node_handle, config, resources)
        identity = identity_of(context.asset_spec, sees, instance)
        if not identity.takes_outside_input:
            return identity
        # Written by the memoised executor before the first step; without it, none is known.
        run = step.instance.get_run_by_id(context.run_id)
        sources = json.loads(run.tags.get(SOURCES_TAG, "{}")) if run else {}
        return identity.with_source(sources.get("/".join(context.asset_key.path)))


def _stages(context: dg.OutputContext) -> set[str]:
    """Name the stages of all assets that the run knows; their schemas must not meet."""
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

    chooses_instance_by: ClassVar[frozenset[str]] = InstanceResource.chooses_instance_by

    _managers: list[TableIOManager] = PrivateAttr(default_factory=list)

    def create_io_manager(self, context: dg.InitResourceContext) -> TableIOManager:
        """Return the IO manager of a run; a step in a process of its own ends with its run."""
        end_with_leader()
        remember_objects(context)
        configuration = load_configuration(self.config, per_user=self.per_user)
        manager = TableIOManager(configuration, self.instance)
        self._managers.append(manager)
        interrupts.watch()
        return manager

    def teardown_after_execution(self, context: dg.InitResourceContext) -> None:
        """End what the IO manager of a run has open.

        Raises:
            DatabaseError: A stage could not be committed.
        """
        while self._managers:
            try:
                self._managers.pop().close()
            finally:
                interrupts.unwatch()
