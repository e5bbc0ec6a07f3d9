"""The plan of a run without the steps that have nothing to do, as executors need it."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

from data_pipeline.dagster_internals import (
    ExecutionPlan,
    ExecutionStep,
    Executor,
    PlanOrchestrationContext,
    ResolvedRunConfig,
)

# Private names of Dagster, as in `executor.py`.


def led_by(plan_context: PlanOrchestrationContext, inner: Executor) -> PlanOrchestrationContext:
    """Return the context with the inner executor: Celery's and Dask's look for themselves there."""
    found = copy.copy(plan_context)
    found._executor = inner
    return found


def only(
    plan_context: PlanOrchestrationContext,
    plan: ExecutionPlan,
    config: ResolvedRunConfig,
    steps: Sequence[str],
) -> tuple[PlanOrchestrationContext, ExecutionPlan]:
    """Return context and plan for some steps of a plan."""
    job = plan_context.job.get_definition()
    # Dynamic outputs add steps to the dictionary of the plan that is executed, not to its index.
    own = plan._replace(step_dict=dict(plan.step_dict))
    subset = own.build_subset_plan(steps, job, config)
    if type(plan_context.executor).__name__ == "DaskExecutor":
        subset = _closed(subset)
    # The in-process executor reads the plan from the context, not from its argument.
    pruned = copy.copy(plan_context)
    pruned._plan_data = plan_context.plan_data._replace(execution_plan=subset)
    return pruned, subset


@dataclass(frozen=True)
class _Awaited:
    """All that Dask's executor wants to know of the inputs of a step."""

    dependency_keys: set[str]


def _closed(plan: ExecutionPlan) -> ExecutionPlan:
    """Return a plan whose steps wait for steps of the plan alone.

    Dask's executor looks for the result of each step that another one depends on, and fails if it
    is not executed itself. The processes of steps make a plan of their own.
    """
    executed = set(plan.step_keys_to_execute)
    steps = {
        handle: step._replace(step_input_dict=cast("Any", _awaited(step, executed)))
        if isinstance(step, ExecutionStep)
        else step
        for handle, step in plan.step_dict.items()
    }
    return plan._replace(
        step_dict=steps, step_dict_by_key={step.key: step for step in steps.values()}
    )


def _awaited(step: ExecutionStep, executed: set[str]) -> dict[str, _Awaited]:
    return {"awaited": _Awaited(step.get_execution_dependency_keys() & executed)}
