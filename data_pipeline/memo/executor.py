"""The memoised executor: leaves out of a run what has nothing to do, and hands over the rest."""

import copy
from collections.abc import Generator, Iterator, Sequence
from typing import TYPE_CHECKING, Any, cast

import dagster as dg

from data_pipeline.dagster_internals import (
    ExecutionPlan,
    Executor,
    InProcessExecutor,
    PlanOrchestrationContext,
    ResolvedRunConfig,
    RetryMode,
)
from data_pipeline.database import interrupts
from data_pipeline.database.sessions import reset_session_name, set_session_name
from data_pipeline.errors import ConfigurationError
from data_pipeline.identity.computation import resources_of_run
from data_pipeline.instances import load_configuration
from data_pipeline.instances.dagster_resource import PARTITION_TAG
from data_pipeline.memo.memoised_run import Memo
from data_pipeline.runs.dagster_plan import LeadingExecutors
from data_pipeline.runs.step_reads import close_reads, lead_steps
from data_pipeline.store.orphans import CodeLocation

if TYPE_CHECKING:
    import logging

# Dagster has no public way to change the plan of a run, so this module, and `run_steps.py`, use the
# private names imported above: `Executor` and the plan and context that it is handed.
# `data_pipeline_tests/memo/test_executor.py` fails when they change.


_ENDS = {
    dg.DagsterEventType.STEP_SUCCESS,
    dg.DagsterEventType.STEP_FAILURE,
    dg.DagsterEventType.STEP_UP_FOR_RETRY,
}


def memoised(
    inner: dg.ExecutorDefinition, location: CodeLocation | None = None
) -> dg.ExecutorDefinition:
    """Wrap an executor so that it only executes the steps that have something to do.

    A step is left out when its result is up to date (see `decisions`), or when it would load a raw
    table for an instance that copies its inputs. The log says why each step runs or does not.

    Args:
        inner: `dg.in_process_executor`, `dg.multiprocess_executor` or any other executor. With the
            in-process one, what is computed to identical data is not followed further within the
            same run; with others, not in the next run.
        location: The code location, which `instance_definitions` knows.
    """
    create = inner.executor_creation_fn

    def wrapped(context: dg.InitExecutorContext) -> Executor:
        if create is None:
            raise ConfigurationError(f"Executor `{inner.name}` cannot be created by anyone.")
        return MemoisedExecutor(create(context))

    return dg.ExecutorDefinition(
        name=f"memoised_{inner.name}",
        config_schema=cast("Any", inner.config_schema),  # accepted, though not declared
        requirements=inner.get_requirements,
        executor_creation_fn=LeadingExecutors(wrapped, location),
    )


class MemoisedExecutor(Executor):
    """Runs a plan by way of another executor, without the steps that have nothing to do."""

    def __init__(self, inner: Executor) -> None:
        self._inner = inner

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
            _check_needs_no_instance(job)
            yield from self._inner.execute(plan_context, execution_plan)
            return
        config = ResolvedRunConfig.build(job, plan_context.run_config)
        memo = Memo(
            execution_plan,
            job,
            config,
            run.tags,
            load_configuration(),
            name,
            resources_of_run(job, config, run.run_id),
            cast("logging.Logger", plan_context.log),
        )
        memo.announce(plan_context.instance, run.run_id)
        lead_steps()
        set_session_name(run.run_id)
        interrupts.watch()
        try:
            with dg.raise_execution_interrupts():  # what came while the code was loaded
                pass
            before = {run.parent_run_id, run.root_run_id} - {run.run_id}
            memo.lead(run.run_id, {run_id for run_id in before if run_id is not None})
            waves = memo.waves(step_by_step=isinstance(self._inner, InProcessExecutor))
            for wave in waves:
                try:
                    steps = memo.members(wave)
                    yield from self._wave(plan_context, execution_plan, config, steps, memo)
                except Exception:  # a process of a step has crashed, say
                    interrupts.check()
                    memo.settle(wave)
                    memo.finish()
                    raise
                memo.settle(wave)
            memo.finish()
            memo.record_reused(plan_context.instance)
        finally:
            memo.close()
            reset_session_name()
            interrupts.unwatch()
        yield dg.DagsterEvent.engine_event(plan_context, *memo.summary())

    def _wave(
        self,
        plan_context: PlanOrchestrationContext,
        plan: ExecutionPlan,
        config: ResolvedRunConfig,
        steps: Sequence[str],
        memo: Memo,
    ) -> Iterator[dg.DagsterEvent]:
        """Execute some of the steps.

        Raises:
            KeyboardInterrupt: The run was asked to end.
        """
        events = self._inner.execute(*_only(plan_context, plan, config, steps))
        for event in events:
            if event.step_key and event.event_type in _ENDS:
                close_reads(plan_context.run_id, event.step_key)
            _note(memo, event)
            yield event
            # Other executors end their steps by themselves: they have heard of it, too.
            if interrupts.is_asked() and isinstance(self._inner, InProcessExecutor):
                cast("Generator[dg.DagsterEvent]", events).close()
        interrupts.check()


def _note(memo: Memo, event: dg.DagsterEvent) -> None:
    """Take note of an event, and commit what is complete with it, unless asked to end."""
    try:
        interrupts.check()
        memo.note(event)
    except KeyboardInterrupt:
        if not interrupts.is_asked():
            raise


def _check_needs_no_instance(job: dg.JobDefinition) -> None:
    """Refuse a run that does not say for which instance it is, before its first step.

    Raises:
        ConfigurationError: It has no partition, but a partitioned job.
    """
    if job.partitions_def is not None:
        known = ", ".join(load_configuration().instances)
        raise ConfigurationError(
            f"The run of job `{job.name}` has no partition, so it is not clear for which instance "
            f"it is: {known}. Choose one in the web UI, or on the command line with "
            f"""--tags '{{"{PARTITION_TAG}": "mini"}}'."""
        )


def _only(
    plan_context: PlanOrchestrationContext,
    plan: ExecutionPlan,
    config: ResolvedRunConfig,
    steps: Sequence[str],
) -> tuple[PlanOrchestrationContext, ExecutionPlan]:
    job = plan_context.job.get_definition()
    subset = plan.build_subset_plan(steps, job, config)
    # The in-process executor reads the plan from the context, not from its argument.
    pruned = copy.copy(plan_context)
    pruned._plan_data = plan_context.plan_data._replace(execution_plan=subset)
    return pruned, subset
