"""The IO manager: where Dagster hands over what assets return and asks for what they read."""

import json
import logging
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import dagster as dg
from pydantic import PrivateAttr

from data_pipeline.database import interrupts
from data_pipeline.database.connection import database
from data_pipeline.database.identifiers import StageTable
from data_pipeline.database.session_settings import reset_session_name, set_session_name
from data_pipeline.dataframely_and_pandera import schema_of
from data_pipeline.errors import UnsupportedDataError
from data_pipeline.identity.computation import (
    SOURCES_TAG,
    Identity,
    identity_of,
    op_context,
    resources_of_run,
)
from data_pipeline.identity.observed_versions import is_outside, observed_version
from data_pipeline.identity.run_resources import remember_objects
from data_pipeline.identity.upstream import (
    InputVersions,
    table_of,
    upstream,
)
from data_pipeline.instances import Configuration, Instance, load_configuration
from data_pipeline.instances.dagster_resource import PARTITION_TAG, InstanceOfRun
from data_pipeline.instances.instance import key_parts
from data_pipeline.instances.settings.caching_and_kept_versions import validation
from data_pipeline.instances.slice_dimensions import is_sliced
from data_pipeline.io_manager.annotations import Wanted, wanted, without_none
from data_pipeline.io_manager.docstring_columns import columns_of_text
from data_pipeline.io_manager.ibis_tables import as_query
from data_pipeline.io_manager.instance_choice import InstanceChoice, is_in_run
from data_pipeline.io_manager.op_values import OpValues, is_table_like
from data_pipeline.io_manager.previous import close_run, lineage_of_inputs, open_run, told
from data_pipeline.io_manager.step_guard import begin_steps
from data_pipeline.results.sizes_in_instances import side_by_side
from data_pipeline.runs.dagster_plan import (
    PlanAtHand,
    check_leads_alone,
    computes_asset,
    given_version,
    has_leading_executor,
    is_of_same_asset,
    plan_at_hand,
    planned_steps,
    step_sources,
)
from data_pipeline.runs.run_end import run_ended
from data_pipeline.runs.step_process import end_with_leader
from data_pipeline.runs.step_reads import (
    StepReads,
    close_reads,
    open_reads,
    reads_of,
    versions_read_by_code,
)
from data_pipeline.store import staging
from data_pipeline.store.active_runs import run_registry
from data_pipeline.store.lookup import SOURCE_METADATA_KEY
from data_pipeline.store.reading import fetch, is_in_memory, known_version, shown
from data_pipeline.store.several_tables import Tables, is_several
from data_pipeline.store.sliced_tables import SliceBounds
from data_pipeline.store.table_properties import (
    Properties,
    declared_properties,
)

if TYPE_CHECKING:
    from data_pipeline.commit.stage_commits import LedRun
    from data_pipeline.results.origin import Origin
    from data_pipeline.runs.lease import StepLease

_LOG = logging.getLogger(__name__)


class TableIOManager(dg.IOManager):
    """Keeps assets as tables of their instance's stage schemas, or as blobs.

    Args:
        configuration: All instances.
        pinned: The one instance to use, or None to go by the partition.
    """

    def __init__(self, configuration: Configuration, pinned: str | None = None) -> None:
        self._configuration = configuration
        self._instances = InstanceChoice(configuration, pinned)
        self._inputs = InputVersions()
        self._op_values = OpValues()
        self._runs: dict[str, LedRun | None] = {}
        self._lease: StepLease | None = None

    def begin(self, run: dg.DagsterRun, planned: PlanAtHand | None) -> None:
        """Make sure that this process may execute its part of a run that another one leads.

        Raises:
            ConfigurationError: Its code or settings are not those that the run was started with.
            DatabaseError: The leader is gone.
        """
        writer = self._instances.writer(run.tags)
        if (place := writer or self._configuration.of_unpartitioned) is not None:
            open_run(run.run_id, lambda: (self._configuration, place))
        # Without a partition no executor leads, whichever instance the resources name.
        if PARTITION_TAG in run.tags and writer is not None and planned is not None:
            self._lease = begin_steps(writer, run.run_id, planned)

    def handle_output(self, context: dg.OutputContext, obj: Any) -> None:
        """Store what an asset returned, see `Store.put`; or hand on what an op returned."""
        from data_pipeline.results.writing import Store  # a run may store nothing

        if not context.has_asset_key:
            self._op_values.put(context, obj)
            return
        kind = context.dagster_type.typing_type
        if is_several(without_none(kind)) and isinstance(obj, Mapping):
            obj = Tables(obj)
        if self._instances.is_unknown(context) and not is_table_like(as_query(obj)):
            self._op_values.put_asset(context, obj)
            return
        self._op_values.put_beside(context, obj)
        if self._instances.is_unknown(context):
            self._op_values.forget_asset(context)  # an earlier run may have returned an object
        obj = as_query(obj)
        table = StageTable.from_path(context.asset_key.path)
        instance = self._instances.of_output(context, table)
        if is_sliced(context.asset_spec.partitions_def):
            table = table.of_slice(instance.slice)
        self._configuration.check_stages(_stages(context))
        step = context.step_context
        run = self._enter(step, instance, context.log)
        declared = _properties(context)
        origin = self._origin(context, instance)
        reads = reads_of(step.run_id, step.step.key)
        store = Store(instance, context.log, reads.check if reads else lambda: None)
        if isinstance(obj, Tables):
            stored = store.put_several(table, obj, declared, origin, _others(context, table))
        else:
            optional = without_none(kind) is not kind
            stored = store.put(table, obj, declared, origin, optional=optional)
        if run is not None:
            run.staged(step.step.key, table)
        beside = side_by_side(self._configuration, instance, step.run_id, table, stored.metadata)
        context.add_output_metadata({**stored.metadata, **beside})
        step.set_data_version(context.asset_key, dg.DataVersion(stored.data_version))

    def load_input(self, context: dg.InputContext) -> Any:
        """Return what an asset reads, in the form that its annotation asks for; see `fetch`.

        What another op of the same graph asset has returned arrives as it is. Outside of any run
        (`Definitions.load_asset_value`) it is what is committed now.
        """
        if self._instances.is_unknown(context) and self._op_values.has_asset(context):
            return self._op_values.get_asset(context)
        if not is_in_run(context):
            return self._loaded(context, self._instances.partitions(context), None)
        if self._is_op_value(context):
            return self._op_values.get(context)
        step = context.step_context
        if (writer := self._instances.writer(step.run_tags)) is not None:
            self._enter(step, writer, context.log)
        if computes_asset(step):
            return self._loaded(context, self._instances.partitions(context), writer)
        # A check, or an op of another job, has no partition of its own; Dagster takes it to read
        # all of its inputs'.
        names = [writer.name if writer else None]
        if not context.has_asset_partitions:
            names = list(self._instances.partitions(context))
        return self._loaded(context, names, writer)

    def _loaded(
        self, context: dg.InputContext, names: Sequence[str | None], writer: Instance | None
    ) -> Any:
        """Return a table, or those of several instances by name."""
        table = StageTable.from_path(context.asset_key.path)
        if is_in_run(context):
            graph = context.step_context.job_def.asset_layer.asset_graph
            reader = self._instances.writer(context.step_context.run_tags)
            table = table if reader is None else table_of(graph, context.asset_key, reader)
        elif len(names) == 1 and names[0] is not None and len(key_parts(names[0])) > 1:
            table = table.of_slice(self._configuration.instance(names[0]).slice)
        what = f"Input `{context.name}` (`{table}`)" if context.has_input_name else f"`{table}`"
        asked = wanted(context.dagster_type.typing_type, names, what)
        values = {}
        for name in names:
            instance = self._instances.of_input(name, table, writer)
            values[instance.name] = self._fetched(context, instance, table, asked)
        [one, *_] = [*values.values(), None]
        # A blob may be such a dictionary itself.
        is_one = not asked.by_instance or (len(names) == 1 and isinstance(one, dict))
        return one if is_one else values

    def _fetched(
        self, context: dg.InputContext, instance: Instance, table: StageTable, asked: Wanted
    ) -> Any:
        if not is_in_run(context):
            return asked.fitted(instance, fetch(instance, table, asked.fetched, _LOG)[0])
        step = context.step_context
        instance, table = self._instances.of_step(step, instance, table)
        reads = self._reads(step, instance, table)
        found = reads[instance, table]
        if found.is_several and asked.is_table and not asked.by_instance:
            raise UnsupportedDataError(
                f"Input `{context.name}`: asset `{table}` has several tables, but the parameter is "
                f"annotated with {shown(asked.form)}. Annotate it with dict[str, "
                f"{shown(asked.form)}], by their names."
            )
        if found.change is not None:
            context.log.warning(
                f"`{table}` of instance `{instance.name}` is not what was committed: "
                f"{found.change}. What is computed from it is computed again once it is rebuilt."
            )
        value, version = fetch(instance, table, asked.fetched, context.log, found)
        if is_in_memory(value):
            reads.loaded((instance, table))
        self._inputs.add(step.run_id, step.step.key, instance.instance_id, table, version)
        return asked.fitted(instance, value)

    def _is_op_value(self, context: dg.InputContext) -> bool:
        """Whether an input is to be what an op has returned, not the table made of it."""
        upstream, kind = context.upstream_output, context.dagster_type.typing_type
        if upstream is None or not upstream.has_asset_key:
            return not context.has_asset_key
        if not is_of_same_asset(context.step_context, upstream) or not self._op_values.has(context):
            return False
        return not Wanted(kind).is_table or isinstance(self._op_values.get(context), kind)

    def close(self) -> None:
        """End what this IO manager has open: locks on inputs, and runs that it leads.

        Raises:
            DatabaseError: A stage could not be committed.
        """
        if self._lease is not None:
            self._lease.close()
        for run_id, run in self._runs.items():
            close_reads(run_id)
            close_run(run_id)
            run_ended(run_id)
            if run is not None:
                try:
                    if not interrupts.is_asked():
                        run.finish()
                finally:
                    run.close()
        self._runs.clear()
        reset_session_name()

    def _enter(self, step: Any, instance: Instance, log: logging.Logger) -> "LedRun | None":
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

    def _lead(self, step: Any, instance: Instance, log: logging.Logger) -> "LedRun":
        from data_pipeline.commit.stage_commits import LedRun

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
            reader = self._instances.writer(step.run_tags) or instance
            found = step_sources(step, self._configuration, reader)
            sources = {(source.instance_id, name): (source, name) for source, name in found}
            sources[instance.instance_id, table] = (instance, table)
            reads = open_reads(run_id, key, sources.values())
        return reads

    def _origin(self, context: dg.OutputContext, instance: Instance) -> "Origin":
        from data_pipeline.results.origin import Origin

        step = context.step_context
        loaded = self._inputs.of(step.run_id, step.step.key)
        graph = step.job_def.asset_layer.asset_graph
        reads = reads_of(step.run_id, step.step.key)
        inputs: dict[str, str | None] = {}
        above = upstream(graph, context.asset_key, self._configuration, instance)
        for parent, source, table in above:
            # What is named as a dependency only (`deps=`) was not loaded, but may have been read.
            name = f"{source.instance_id}/{table}"
            inputs[name] = (
                loaded[name]
                if name in loaded
                else self._version_of(step.run_id, instance, reads, source, table)
            )
            if inputs[name] is None and is_outside(graph, parent):
                inputs[name] = self._observed(step, instance, name, parent, source)
        inputs |= versions_read_by_code(step.run_id, step.step.key)
        tags = step.dagster_run.tags
        mode, identity = validation(instance, tags).mode, self._identity(context, instance)
        forced = mode == "force_cache_invalid" or (
            mode == "force_fresh_input" and identity.takes_outside_input
        )
        table = StageTable.from_path(context.asset_key.path)
        return Origin(
            context.run_id,
            identity,
            inputs,
            forced,
            given_version(),
            bounds=SliceBounds.of(context.asset_spec, instance.slice) if instance.slice else None,
            previous=told(step, table),
            lineage=partial(lineage_of_inputs, step, self._configuration, instance, inputs),
        )

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

    def _observed(
        self, step: Any, writer: Instance, name: str, key: dg.AssetKey, source: Instance
    ) -> str | None:
        """Return the data version of what no run of an instance makes, as the run found it."""
        with database(writer).begin() as connection:
            run = run_registry.row(connection, writer, step.run_id)
        graph = step.job_def.asset_layer.asset_graph
        at_first = run.inputs.get(name) if run is not None else None
        return at_first or observed_version(step.instance, graph, key, source.name)

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


def _properties(context: dg.OutputContext) -> Properties:
    """Return what an asset's definition declares of its table, and the schema that it names."""
    declared = declared_properties(context.definition_metadata)
    if SOURCE_METADATA_KEY in context.definition_metadata:
        declared = declared.as_a_whole()  # a copy of a raw table
    described = Properties(columns=columns_of_text(context.asset_spec.description or ""))
    schema = schema_of(without_none(context.dagster_type.typing_type))
    if schema is None:
        return described.merged(declared)
    own = Properties(
        primary_key=schema.primary_key, nullable=schema.nullable, columns=schema.descriptions
    )
    return own.merged(described).merged(declared)


def _others(context: dg.OutputContext, table: StageTable) -> set[str]:
    """Name the other assets of a stage that the run knows."""
    keys = context.step_context.job_def.asset_layer.asset_graph.get_all_asset_keys()
    found = {key.path[1] for key in keys if len(key.path) == 2 and key.path[0] == table.stage}
    return found - {table.name}


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

    chooses_instance_by: ClassVar[frozenset[str]] = InstanceOfRun.chooses_instance_by

    _managers: list[TableIOManager] = PrivateAttr(default_factory=list)

    def create_io_manager(self, context: dg.InitResourceContext) -> TableIOManager:
        """Return the IO manager of a run; a step in a process of its own ends with its run."""
        configuration = load_configuration(self.config, per_user=self.per_user)
        manager = TableIOManager(configuration, self.instance)
        if context.run is not None:  # none in `Definitions.load_asset_value`
            end_with_leader()
            remember_objects(context)
            manager.begin(context.run, plan_at_hand())
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
