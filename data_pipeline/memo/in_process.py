"""Executing steps in the process of the run: wave by wave, with resources set up once.

It does for several parts of a plan what Dagster's in-process executor does for one, with the same
pieces of it: the first wave sets up resources and the capture of logs, which stay until the end; a
later wave sets up what no wave before it has asked for.
"""

import copy
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import Any

import dagster as dg

from data_pipeline.dagster_internals import (
    EngineEventData,
    EventGenerationManager,
    ExecutionPlan,
    InProcessExecutor,
    InstanceConcurrencyContext,
    PlanExecutionContext,
    PlanExecutionContextManager,
    PlanOrchestrationContext,
    ScopedResourcesBuilder,
    _trigger_hook,
    capture_interrupts,
    create_compute_log_file_key,
    dagster_event_sequence_for_step,
    get_required_resource_keys_to_init,
    resource_initialization_manager,
    serializable_error_info_from_exc_info,
)


class InProcessSteps:
    """Steps of a run that are executed in this process.

    Args:
        plan_context: The context of the run.
        executor: Dagster's executor, which knows how to retry.
        candidates: The steps that may be executed.
    """

    def __init__(
        self,
        plan_context: PlanOrchestrationContext,
        executor: InProcessExecutor,
        candidates: Sequence[str],
    ) -> None:
        self._plan_context = plan_context
        self._executor = executor
        self._candidates = list(candidates)
        self._context: PlanExecutionContext | None = None
        self._managers: list[PlanExecutionContextManager] = []
        self._resources: dict[str, object] = {}
        self._captured = ExitStack()
        self._started = time.monotonic()

    def execute(self, plan: ExecutionPlan) -> Iterator[dg.DagsterEvent]:
        """Execute a part of the run's plan."""
        with capture_interrupts():
            yield from self._set_up(plan)
            if self._context is None:  # a resource could not be set up, which an event has told
                return
            context = copy.copy(self._context)
            context._plan_data = context.plan_data._replace(execution_plan=plan)
            yield from _execute(context, plan)

    def close(self) -> Iterator[dg.DagsterEvent]:
        """End the capture of logs, and resources, the last one first."""
        if not self._managers:
            return
        with capture_interrupts():
            try:
                self._captured.close()
            except Exception:
                yield self._failed_capture("Exception while cleaning up compute log capture")
            while self._managers:
                yield from self._managers.pop().shutdown_context()
            seconds = time.monotonic() - self._started
            yield self._engine_event(
                f"Finished steps in process (pid: {os.getpid()}) in {seconds:.2f}s"
            )

    def _set_up(self, plan: ExecutionPlan) -> Iterator[dg.DagsterEvent]:
        job = self._plan_context.job.get_definition()
        is_first = not self._managers
        if not is_first and self._resources.keys() >= get_required_resource_keys_to_init(plan, job):
            return
        if is_first:
            yield self._engine_event(f"Executing steps in process (pid: {os.getpid()})")
        context = self._plan_context
        manager = PlanExecutionContextManager(
            job=context.job,
            retry_mode=context.retry_mode,
            execution_plan=plan,
            run_config=context.run_config,
            dagster_run=context.dagster_run,
            instance=context.instance,
            raise_on_error=context.raise_on_error,
            output_capture=context.output_capture,
            step_dependency_config=self._executor.step_dependency_config,
            scoped_resources_builder_cm=self._initialized,
        )
        self._managers.append(manager)
        yield from manager.prepare_context()
        self._context = manager.get_context()
        if is_first and self._context is not None:
            yield self._capture(self._context)

    def _initialized(
        self, *, resource_defs: Any, resource_keys_to_init: Any, **others: Any
    ) -> EventGenerationManager[ScopedResourcesBuilder]:
        """Set up resources that no wave has asked for yet; they may build on earlier ones."""
        known = {
            key: dg.ResourceDefinition.hardcoded_resource(value)
            for key, value in self._resources.items()
        }
        needed = {
            key
            for new in resource_keys_to_init - self._resources.keys()
            for key in resource_defs[new].get_required_resource_keys(resource_defs)
        }
        manager = resource_initialization_manager(
            resource_defs={**resource_defs, **known},
            resource_keys_to_init=(resource_keys_to_init - self._resources.keys()) | needed,
            **others,
        )

        def events() -> Iterator[Any]:
            yield from manager.generate_setup_events()
            built = manager.get_object()
            if built is not None:
                self._resources |= built.resource_instance_dict
                yield ScopedResourcesBuilder(dict(self._resources), built.contains_generator)
            yield from manager.generate_teardown_events()

        return EventGenerationManager(events(), ScopedResourcesBuilder)

    def _capture(self, context: PlanExecutionContext) -> dg.DagsterEvent:
        logs = context.instance.compute_log_manager
        file_key: str = create_compute_log_file_key()  # type: ignore[no-untyped-call]
        key = logs.build_log_key_for_run(context.run_id, file_key)
        try:
            capture = self._captured.enter_context(logs.capture_logs(key))
        except Exception:
            return self._failed_capture("Exception while setting up compute log capture")
        event: dg.DagsterEvent = dg.DagsterEvent.capture_logs(
            context, self._candidates, key, capture
        )
        return event

    def _failed_capture(self, message: str) -> dg.DagsterEvent:
        error = serializable_error_info_from_exc_info(sys.exc_info())
        return dg.DagsterEvent.engine_event(
            self._plan_context, message, event_specific_data=EngineEventData(error=error)
        )

    def _engine_event(self, message: str) -> dg.DagsterEvent:
        data = EngineEventData.in_process(os.getpid(), self._candidates)
        return dg.DagsterEvent.engine_event(self._plan_context, message, event_specific_data=data)


def _execute(context: PlanExecutionContext, plan: ExecutionPlan) -> Iterator[dg.DagsterEvent]:
    """Execute the steps of a plan, each as soon as it is ready."""
    with (
        InstanceConcurrencyContext(context.instance, context.dagster_run) as concurrency,
        plan.start(
            retry_mode=context.retry_mode,
            instance_concurrency_context=concurrency,
            step_dependency_config=context.step_dependency_config,
        ) as active,
    ):
        while not active.is_complete:
            step = active.get_next_step()
            yield from active.concurrency_event_iterator(context)
            if not step:
                active.sleep_til_ready()
                continue
            step_context = context.for_step(step, active.get_known_state())
            told = []
            for event in dagster_event_sequence_for_step(step_context):
                told.append(event)
                yield event
                active.handle_event(event)
            active.verify_complete(context, step.key)
            for event in active.plan_events_iterator(context):  # what is skipped after a failure
                told.append(event)
                yield event
            yield from _trigger_hook(step_context, told)
