"""What the steps of a run write and read, as the plan of the run says."""

import sys
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import dagster as dg

from data_pipeline.dagster_internals import (
    ExecutionPlan,
    ExecutionStep,
    ResolvedRunConfig,
    _store_output,
    current_execution_context,
    execution_context_event_generator,
)
from data_pipeline.database.identifiers import StageTable
from data_pipeline.errors import ConfigurationError
from data_pipeline.identity.computation import wiring
from data_pipeline.identity.upstream import table_of, upstream
from data_pipeline.instances import Configuration, Instance
from data_pipeline.instances.dagster_resource import PARTITION_TAG
from data_pipeline.runs.commit_order import StepStages
from data_pipeline.runs.step_reads import Source
from data_pipeline.store.orphans import CodeLocation

if TYPE_CHECKING:
    from types import FrameType

STEP_ENDS = frozenset(
    {
        dg.DagsterEventType.STEP_SUCCESS,
        dg.DagsterEventType.STEP_FAILURE,
        dg.DagsterEventType.STEP_UP_FOR_RETRY,
    }
)
"""The events with which an attempt of a step ends."""

CODE_VERSION_TAG = "dagster/code_version"
"""The tag of a materialization with the code version that its process has loaded."""


# Dagster has no public form of a run's plan: `plan_data` and what hangs on it come from there.
# `data_pipeline_tests/commit/test_stage_commit.py` fails when they change.


@dataclass(frozen=True)
class PlannedStep:
    """A step of a run.

    Attributes:
        key: The step.
        tables: What it writes, with the output that gives each.
        sources: What those tables are made from, each with its instance.
        instance: The instance that it writes.
    """

    key: str
    tables: Mapping[StageTable, str]
    sources: Sequence[Source]
    instance: Instance

    @property
    def stages(self) -> StepStages:
        """The stages of its instance that it writes and reads."""
        own = self.instance.instance_id
        read = frozenset(table.stage for item, table in self.sources if item.instance_id == own)
        return StepStages(frozenset(table.stage for table in self.tables), read)


def planned_steps(step: Any, configuration: Configuration, instance: Instance) -> list[PlannedStep]:
    """Return the steps of a run that write tables, as far as this process executes them.

    Args:
        step: The context of one of its steps.
        configuration: All instances.
        instance: The instance of the run.
    """
    plan = step.plan_data.execution_plan
    graph = step.job_def.asset_layer.asset_graph
    found = []
    for key in plan.step_keys_to_execute:
        outputs = plan.get_step_by_key(key).step_outputs
        found_here = {o.properties.asset_key: o.name for o in outputs if o.properties.asset_key}
        assets = {asset: name for asset, name in found_here.items() if len(asset.path) == 2}
        if assets:
            tables = {table_of(graph, asset, instance): name for asset, name in assets.items()}
            sources = _upstream(graph, list(assets), configuration, instance)
            found.append(PlannedStep(key, tables, sources, instance))
    return found


def planned_assets(step: Any) -> list[dg.AssetKey]:
    """Return the assets that this process computes in the part of a run that a step belongs to."""
    plan = step.plan_data.execution_plan
    steps = [plan.get_step_by_key(key) for key in plan.step_keys_to_execute]
    return [key for planned in steps for key in _assets(planned)]


def assets_of(plan: ExecutionPlan) -> set[dg.AssetKey]:
    """Return the assets that a plan computes."""
    steps = [plan.get_step_by_key(key) for key in plan.step_keys_to_execute]
    return {key for step in steps for key in _assets(step)}


def has_assets(plan: ExecutionPlan) -> bool:
    """Whether a plan computes assets or evaluates checks; other jobs of ops have no use for us."""
    outputs = [o.properties for step in plan.steps for o in step.step_outputs]
    return any(o.asset_key is not None or o.asset_check_key is not None for o in outputs)


def current_step() -> Any:
    """Return the context of the step whose code is running; None outside of any."""
    context = current_execution_context.get()
    return None if context is None else context.get_step_execution_context()


def computes_asset(step: Any) -> bool:
    """Whether a step computes an asset, or a part of one."""
    definition = step.job_def.asset_layer.get_assets_def_for_node(step.node_handle)
    return definition is not None and not only_checks(step.step)


def only_checks(step: Any) -> bool:
    """Whether a step of a plan evaluates asset checks and computes no asset."""
    return not _assets(step) and any(
        output.properties.asset_check_key is not None for output in step.step_outputs
    )


def step_sources(step: Any, configuration: Configuration, instance: Instance) -> list[Source]:
    """Return all tables that a step may read: what its assets are made from, and what it checks.

    What it makes itself is not among them: that is not there yet when the step begins.

    Args:
        step: The context of the step.
        configuration: All instances.
        instance: The instance of the run.
    """
    layer = step.job_def.asset_layer
    if only_checks(step.step):
        loaded = wiring(step.job_def, step.node_handle).values()
        graph = layer.asset_graph
        return [(instance, table_of(graph, key, instance)) for key in loaded if len(key.path) == 2]
    assets = _assets(step.step)
    if not assets and (definition := layer.get_assets_def_for_node(step.node_handle)):
        assets = sorted(definition.keys)  # one of the ops of a graph asset
    own = {(instance.instance_id, table_of(layer.asset_graph, key, instance)) for key in assets}
    found = _upstream(layer.asset_graph, assets, configuration, instance)
    return [(source, table) for source, table in found if (source.instance_id, table) not in own]


def later_steps(step: Any, *, same_asset: bool = False) -> list[str]:
    """Name the steps of a run, in whatever process, that take outputs of a step.

    Args:
        step: The context of the step.
        same_asset: Only those that are ops of the same graph asset.
    """
    own, root = {step.step.key, _unresolved(step.step.key)}, step.node_handle.root
    if same_asset and not step.node_handle.parent:  # an op of no graph
        return []
    return [
        other.key
        for other in step.plan_data.execution_plan.step_dict.values()
        if not (same_asset and (other.node_handle.root != root or not other.node_handle.parent))
        and own & _dependencies(other)
    ]


def is_of_same_asset(step: Any, output: dg.OutputContext) -> bool:
    """Whether an op before the step, in the same graph asset, has given an output."""
    root = str(step.node_handle.root)
    return bool(step.node_handle.parent) and output.step_key.partition(".")[0] == root


def _dependencies(step: Any) -> Set[str]:
    if isinstance(step, ExecutionStep):
        return step.get_execution_dependency_keys()
    return {_unresolved(key) for key in step.get_all_dependency_keys()}


def _unresolved(key: str) -> str:
    """Return the key by which a plan knows a step for each of the outputs of another one."""
    return f"{key.partition('[')[0]}[?]" if key.endswith("]") else key


def _assets(step: Any) -> list[dg.AssetKey]:
    keys = [output.properties.asset_key for output in step.step_outputs]
    return [key for key in keys if key is not None]


def _upstream(
    graph: Any, assets: Sequence[dg.AssetKey], configuration: Configuration, instance: Instance
) -> list[Source]:
    sources = {
        (source.instance_id, table): (source, table)
        for asset in assets
        for _, source, table in upstream(graph, asset, configuration, instance)
        if table.stage
    }
    return list(sources.values())


# `Output(..., data_version=...)` and `MaterializeResult(..., data_version=...)` reach the event of
# the materialization, but not the IO manager. The function that calls it has the output as a
# local variable. `data_pipeline_tests/io_manager/test_data_versions.py` fails when that changes.


def given_version() -> str | None:
    """Return the data version of the output that Dagster is storing, None where none was given.

    To be called while an IO manager handles the output.
    """
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_code is not _store_output.__code__:
        frame = frame.f_back
    output = frame.f_locals.get("output") if frame is not None else None
    version = output.data_version if isinstance(output, dg.Output) else None
    return version.value if version is not None else None


# A resource hears nothing of the steps that it is set up for. The function that sets up a process
# for a plan has them as local variables. `data_pipeline_tests/runs/test_workers.py` fails when
# that changes.


PlanAtHand = tuple[dg.JobDefinition, ExecutionPlan, ResolvedRunConfig]
"""What a process executes: job, plan and configuration."""


def plan_at_hand() -> PlanAtHand | None:
    """Return job, plan and configuration of what this process is about to execute.

    To be called while a resource is set up; None outside of a run.
    """
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_code is not execution_context_event_generator.__code__:
        frame = frame.f_back
    if frame is None:
        return None
    data = frame.f_locals["context_creation_data"]
    return data.job_def, frame.f_locals["execution_plan"], data.resolved_run_config


@dataclass(frozen=True)
class LeadingExecutors:
    """Creates executors that lead the runs of instances.

    Its type tells the steps, in whatever process, that they do not: also when the executor is gone.

    Attributes:
        create: Creates the executor of a run.
        location: The code location of the runs; None where it is not known.
        checks: The code versions of checks apart from assets, by `str` of their keys.
    """

    create: Callable[[dg.InitExecutorContext], dg.Executor]
    location: CodeLocation | None = None
    checks: Mapping[str, str] = field(default_factory=dict)

    def __call__(self, context: dg.InitExecutorContext) -> dg.Executor:
        """Create the executor of a run."""
        return self.create(context)


def code_location(job: dg.JobDefinition) -> CodeLocation | None:
    """Return the code location of a job's definitions, None where they do not say it."""
    create = job.executor_def.executor_creation_fn
    return create.location if isinstance(create, LeadingExecutors) else None


def check_versions(job: dg.JobDefinition) -> Mapping[str, str]:
    """Return the code versions of the checks of a job, as far as its definitions say them."""
    create = job.executor_def.executor_creation_fn
    return create.checks if isinstance(create, LeadingExecutors) else {}


def needs_leader(job: dg.JobDefinition, plan: ExecutionPlan) -> bool:
    """Whether a run of a job on an instance is led by its executor."""
    return isinstance(job.executor_def.executor_creation_fn, LeadingExecutors) and has_assets(plan)


def has_leading_executor(step: Any) -> bool:
    """Whether the executor of a step's run leads it."""
    create = step.job_def.executor_def.executor_creation_fn
    return PARTITION_TAG in step.run_tags and isinstance(create, LeadingExecutors)


def check_leads_alone(step: Any) -> None:
    """Refuse to lead a run of which this process executes a part only.

    It would commit what it knows of, and so a part of a stage.

    Raises:
        ConfigurationError: Other processes execute the rest, and no executor leads the run.
    """
    plan, run = step.plan_data.execution_plan, step.dagster_run
    planned = run.step_keys_to_execute or [item.key for item in plan.get_all_steps_in_topo_order()]
    if set(plan.step_keys_to_execute) != set(planned):
        name = step.job_def.executor_def.name
        if PARTITION_TAG not in run.tags:
            raise ConfigurationError(
                f"Run {step.run_id} executes its steps in several processes (executor `{name}`), "
                "and nobody commits their stages as a whole. They compute assets without "
                "partitions: materialize them one by one, or in a job with "
                "executor_def=dg.in_process_executor."
            )
        raise ConfigurationError(
            f"Run {step.run_id} executes its steps in several processes (executor `{name}`), and "
            "nobody commits their stages as a whole. Let job and assets come from "
            "instance_definitions(..., executor=...), or wrap the executor: "
            "data_pipeline.memoised(dg.multiprocess_executor); and start the run "
            "with a partition, which is the instance."
        )


def succeeded_steps(storage: dg.DagsterInstance, run_id: str) -> set[str]:
    """Name the steps of a run that have succeeded."""
    return {event.step_key for event in _events(storage, run_id, "STEP_SUCCESS") if event.step_key}


def skipped_steps(storage: dg.DagsterInstance, run_id: str) -> set[str]:
    """Name the steps of a run that Dagster has left out."""
    return {event.step_key for event in _events(storage, run_id, "STEP_SKIPPED") if event.step_key}


def made_outputs(storage: dg.DagsterInstance, run_id: str, step: str) -> set[str]:
    """Name the outputs that a step of a run has made."""
    events = _events(storage, run_id, "STEP_OUTPUT")
    return {event.step_output_data.output_name for event in events if event.step_key == step}


def _events(storage: dg.DagsterInstance, run_id: str, kind: str) -> list[dg.DagsterEvent]:
    records = storage.get_records_for_run(run_id, of_type=dg.DagsterEventType(kind)).records
    events = [record.event_log_entry.dagster_event for record in records]
    return [event for event in events if event]
