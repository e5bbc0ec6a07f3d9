"""The memoised executor: leaves out of a run what has nothing to do, and hands over the rest."""

from collections.abc import Generator, Iterator, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, cast

import dagster as dg
import sqlalchemy as sa

from data_pipeline import errors
from data_pipeline.dagster_internals import (
    ExecutionPlan,
    Executor,
    InProcessExecutor,
    MultiprocessExecutor,
    PlanOrchestrationContext,
    ResolvedRunConfig,
    RetryMode,
    SerializableErrorInfo,
)
from data_pipeline.database import interrupts
from data_pipeline.database.session_settings import reset_session_name, set_session_name
from data_pipeline.errors import ConfigurationError, DataPipelineError
from data_pipeline.identity.computation import resources_of_run
from data_pipeline.instances import load_configuration
from data_pipeline.instances.dagster_resource import PARTITION_TAG
from data_pipeline.instances.slice_dimensions import check_partition_key
from data_pipeline.io_manager.op_values import forget_op_values
from data_pipeline.memo.deciding.run_plan import RunPlan
from data_pipeline.memo.in_process import InProcessSteps
from data_pipeline.memo.memoised_run import MemoisedRun
from data_pipeline.memo.pruned_plan import led_by, only
from data_pipeline.memo.run_messages import failed_elsewhere
from data_pipeline.runs import fork_server
from data_pipeline.runs.dagster_plan import STEP_ENDS, LeadingExecutors, assets_of, has_assets
from data_pipeline.runs.step_process import lead_steps
from data_pipeline.runs.step_reads import close_reads
from data_pipeline.store.orphans import CodeLocation

if TYPE_CHECKING:
    import logging

# Dagster has no public way to change the plan of a run, so this module, and `run_steps.py`, use the
# private names imported above: `Executor` and the plan and context that it is handed.
# `data_pipeline_tests/memo/test_executor.py` fails when they change.


def memoised(
    inner: dg.ExecutorDefinition,
    location: CodeLocation | None = None,
    checks: Mapping[str, str] | None = None,
) -> dg.ExecutorDefinition:
    """Wrap an executor so that it only executes the steps that have something to do.

    A step is left out when its result is up to date (see `decisions`), or when it would load a raw
    table for an instance that copies its inputs. The log says why each step runs or does not.

    Args:
        inner: `dg.in_process_executor`, `dg.multiprocess_executor` or any other executor. With the
            in-process one, what is computed to identical data is not followed further within the
            same run; with others, not in the next run.
        location: The code location, which `instance_definitions` knows.
        checks: The code versions of checks, by `str` of their keys: a process that evaluates one
            with other code refuses to.
    """
    create = inner.executor_creation_fn

    def wrapped(context: dg.InitExecutorContext) -> Executor:
        if create is None:
            raise ConfigurationError(f"Executor `{inner.name}` cannot be created by anyone.")
        plain = create(context)
        fast = fork_server.starting_fast(context, plain, create)
        return MemoisedExecutor(fast, by_fork_server=fast is not plain)

    return dg.ExecutorDefinition(
        name=f"memoised_{inner.name}",
        config_schema=cast("Any", inner.config_schema),  # accepted, though not declared
        requirements=inner.get_requirements,
        executor_creation_fn=LeadingExecutors(wrapped, location, checks or {}),
    )


class MemoisedExecutor(Executor):
    """Runs a plan by way of another executor, without the steps that have nothing to do."""

    def __init__(self, inner: Executor, *, by_fork_server: bool = False) -> None:
        self._inner = inner
        self._by_fork_server = by_fork_server

    @property
    def retries(self) -> RetryMode:
        """How the inner executor retries steps."""
        return self._inner.retries

    def execute(
        self, plan_context: PlanOrchestrationContext, execution_plan: ExecutionPlan
    ) -> Iterator[dg.DagsterEvent]:
        """Execute what has something to do, in as many waves as it takes to find out."""
        run = plan_context.dagster_run
        name = run.tags.get(PARTITION_TAG)
        job = plan_context.job.get_definition()
        if name is None:
            _check_needs_no_instance(job, execution_plan)
        if name is None or not has_assets(execution_plan):
            yield from self._inner.execute(led_by(plan_context, self._inner), execution_plan)
            return
        _check_partition(job, execution_plan, name, plan_context.instance)
        config = ResolvedRunConfig.build(job, plan_context.run_config)
        with interrupts.watched():  # somebody may have locked the catalog
            log = cast("logging.Logger", plan_context.log)
            plan = RunPlan(
                execution_plan,
                job,
                config,
                run.tags,
                load_configuration(),
                name,
                resources_of_run(job, config, run.run_id),
                log,
                lambda: plan_context.instance,
            )
            memo = MemoisedRun(plan, job, run.tags, log)
        lead_steps()
        if self._by_fork_server:
            fork_server.renew()
        set_session_name(run.run_id)
        interrupts.watch()
        try:
            memo.announce(plan_context.instance, run.run_id)
            with dg.raise_execution_interrupts():  # what came while the code was loaded
                pass
            before = {run.parent_run_id, run.root_run_id} - {run.run_id}
            earlier = {run_id for run_id in before if run_id is not None}
            elsewhere = not isinstance(self._inner, InProcessExecutor)
            memo.lead(run.run_id, earlier, elsewhere=elsewhere)
            try:
                yield from self._waves(plan_context, execution_plan, config, memo)
                memo.finish()
            except Exception:
                if elsewhere:
                    _raise_refusals(plan_context.instance, run.run_id)
                raise
            if not memo.has_failed:
                forget_op_values(plan_context.instance, run.run_id)
            if elsewhere and memo.has_failed:
                _raise_refusals(plan_context.instance, run.run_id)
        except Exception:
            with suppress(DataPipelineError, sa.exc.SQLAlchemyError):  # lost connections, say
                _tell(plan_context, memo)
            raise
        else:
            yield _tell(plan_context, memo)
        finally:
            memo.close()
            reset_session_name()
            interrupts.unwatch()

    def _waves(
        self,
        plan_context: PlanOrchestrationContext,
        plan: ExecutionPlan,
        config: ResolvedRunConfig,
        memo: MemoisedRun,
    ) -> Iterator[dg.DagsterEvent]:
        here = None
        if isinstance(self._inner, InProcessExecutor):
            here = InProcessSteps(plan_context, self._inner, memo.members(memo.due))
        is_left = False
        try:
            for wave in memo.waves(step_by_step=here is not None):
                part = only(led_by(plan_context, self._inner), plan, config, memo.members(wave))
                memo.hand_out(part[1])
                if self._by_fork_server:
                    fork_server.start(plan_context.job, memo.database.adbc_uri)
                events = here.execute(part[1]) if here else self._inner.execute(*part)
                if not isinstance(self._inner, InProcessExecutor | MultiprocessExecutor):
                    events = _told(events, cast("logging.Logger", plan_context.log))
                try:
                    yield from _followed(plan_context.run_id, events, memo, in_process=bool(here))
                except Exception:  # a process of a step has crashed, say
                    interrupts.check()
                    memo.settle(wave)
                    memo.finish()
                    raise
                memo.settle(wave)
        except GeneratorExit:
            is_left = True
            raise
        finally:
            for event in here.close() if here else ():
                if not is_left:
                    yield event


def _tell(plan_context: PlanOrchestrationContext, memo: MemoisedRun) -> dg.DagsterEvent:
    """Record what was reused, and say what became of every step."""
    memo.record_reused(plan_context.instance)
    return dg.DagsterEvent.engine_event(plan_context, *memo.summary())


def _told(events: Iterator[dg.DagsterEvent], log: "logging.Logger") -> Iterator[dg.DagsterEvent]:
    """Say in the log of the leader why steps of other machines failed."""
    for event in events:
        if event.is_step_failure:
            log.error(failed_elsewhere(event))
        yield event


def _followed(
    run_id: str, events: Iterator[dg.DagsterEvent], memo: MemoisedRun, *, in_process: bool
) -> Iterator[dg.DagsterEvent]:
    """Take note of the events of a wave.

    Raises:
        KeyboardInterrupt: The run was asked to end.
    """
    for event in _awaited(events, memo):
        if event.step_key and event.event_type in STEP_ENDS:
            close_reads(run_id, event.step_key)
        _note(memo, event)
        yield event
        # Other executors end their steps by themselves: they have heard of it, too.
        if interrupts.is_asked() and in_process:
            cast("Generator[dg.DagsterEvent]", events).close()
    interrupts.check()


def _raise_refusals(storage: dg.DagsterInstance, run_id: str) -> None:
    """Let the run say why processes refused its steps, instead of that they failed.

    Raises:
        ConfigurationError: Some did.
    """
    if refusals := _refusals(storage, run_id):
        raise ConfigurationError("\n".join(dict.fromkeys(refusals)))


def _refusals(storage: dg.DagsterInstance, run_id: str) -> list[str]:
    """Return why processes of steps would not take their part in a run: our own errors.

    What an executor hears of it is up to the executor; Dagster's log has it in each case.
    """
    kind = dg.DagsterEventType.RESOURCE_INIT_FAILURE
    records = storage.get_records_for_run(run_id, of_type=kind).records
    found = [record.event_log_entry.dagster_event for record in records]
    said = [event.engine_event_data.error for event in found if event is not None]
    ours = [item for item in said if item and issubclass(_kind(item), errors.DataPipelineError)]
    return [item.message.partition(": ")[2].strip() for item in ours]


def _kind(said: SerializableErrorInfo) -> type[BaseException]:
    kind = getattr(errors, said.cls_name or "", None)
    return kind if isinstance(kind, type) else Exception


def _awaited(events: Iterator[dg.DagsterEvent], memo: MemoisedRun) -> Iterator[dg.DagsterEvent]:
    """Return events, and wait for each no longer than for a step that is lost.

    Raises:
        StepLostError: The process of a step is gone.
    """
    while True:
        with memo.waiting():
            event = next(events, None)
        if event is None:
            return
        yield event


def _note(memo: MemoisedRun, event: dg.DagsterEvent) -> None:
    """Take note of an event, and commit what is complete with it, unless asked to end."""
    try:
        interrupts.check()
        memo.note(event)
    except KeyboardInterrupt:
        if not interrupts.is_asked():
            raise


def _check_partition(
    job: dg.JobDefinition, plan: ExecutionPlan, key: str, storage: dg.DagsterInstance
) -> None:
    """Refuse a run whose partition key is none of the assets that it computes.

    Raises:
        ConfigurationError: It is none.
    """
    instance = load_configuration().instance(key).name
    graph = job.asset_layer.asset_graph
    for partitions in {graph.get(asset).partitions_def for asset in assets_of(plan)}:
        if partitions is not None:
            check_partition_key(job.name, key, instance, partitions, storage)


def _check_needs_no_instance(job: dg.JobDefinition, plan: ExecutionPlan) -> None:
    """Refuse a run that does not say for which instance it is, before its first step.

    Raises:
        ConfigurationError: It has no partition, but computes partitioned assets.
    """
    graph = job.asset_layer.asset_graph
    planned = assets_of(plan)
    is_partitioned = any(graph.get(key).partitions_def is not None for key in planned)
    if is_partitioned or (job.partitions_def is not None and not planned):
        known = ", ".join(load_configuration().instances)
        raise ConfigurationError(
            f"The run of job `{job.name}` has no partition, so it is not clear for which instance "
            f"it is: {known}. Choose one in the web UI, or on the command line with "
            f"""--tags '{{"{PARTITION_TAG}": "mini"}}'."""
        )
