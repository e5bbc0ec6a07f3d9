"""The executor that leaves out of a run what has nothing to do, and hands over the rest."""

import copy
from collections.abc import Iterator
from typing import Any, cast

import dagster as dg
from dagster._core.execution.context.system import PlanOrchestrationContext
from dagster._core.execution.plan.plan import ExecutionPlan
from dagster._core.execution.retries import RetryMode
from dagster._core.executor.base import Executor
from dagster._core.system_config.objects import ResolvedRunConfig

from data_pipeline.errors import ConfigurationError
from data_pipeline.instances import load_configuration
from data_pipeline.instances.resource import PARTITION_TAG

# Dagster has no public way to change the plan of a run, so this module, and no other, uses the
# private names imported above: `Executor` and the plan and context that it is handed.
# `data_pipeline_tests/caching/test_executor.py` fails when they change.

RAW_TAG = "data_pipeline/raw"
"""The asset tag of raw tables."""


class SkippingExecutor(Executor):
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
        """Executes what is left of the plan."""
        skipped = _nothing_to_load(plan_context, execution_plan)
        for step, reason in skipped.items():
            plan_context.log.info(f"Left out {step}: {reason}")
        if skipped:
            plan_context, execution_plan = _without(plan_context, execution_plan, set(skipped))
        yield from self._inner.execute(plan_context, execution_plan)


def skipping(inner: dg.ExecutorDefinition) -> dg.ExecutorDefinition:
    """Wraps an executor so that raw tables of instances that copy their inputs are left out.

    Args:
        inner: `dg.in_process_executor`, `dg.multiprocess_executor` or any other executor.
    """
    create = inner.executor_creation_fn

    def wrapped(context: dg.InitExecutorContext) -> Executor:
        if create is None:
            raise ConfigurationError(f"Executor `{inner.name}` cannot be created by anyone.")
        return SkippingExecutor(create(context))

    return dg.ExecutorDefinition(
        name=f"skipping_{inner.name}",
        config_schema=cast("Any", inner.config_schema),  # accepted, though not declared
        requirements=inner.get_requirements,
        executor_creation_fn=wrapped,
    )


def _nothing_to_load(plan_context: PlanOrchestrationContext, plan: ExecutionPlan) -> dict[str, str]:
    """Gives the steps that would load raw tables for an instance that copies, with the reason."""
    name = plan_context.dagster_run.tags.get(PARTITION_TAG)
    if name is None:
        return {}
    source = load_configuration().instance(name).source
    if source is None:
        return {}
    graph = plan_context.job.get_definition().asset_layer.asset_graph
    reason = f"instance `{name}` does not load it but copies from `{source.name}`"
    skipped = {}
    for key in plan.step_keys_to_execute:
        step = plan.get_step_by_key(key)
        assets = [output.properties.asset_key for output in step.step_outputs]
        raw = [item is not None and RAW_TAG in graph.get(item).tags for item in assets]
        if assets and all(raw):
            skipped[key] = reason
    return skipped


def _without(
    plan_context: PlanOrchestrationContext, plan: ExecutionPlan, skipped: set[str]
) -> tuple[PlanOrchestrationContext, ExecutionPlan]:
    job = plan_context.job.get_definition()
    config = ResolvedRunConfig.build(job, plan_context.run_config)
    left = [key for key in plan.step_keys_to_execute if key not in skipped]
    subset = plan.build_subset_plan(left, job, config)
    # The in-process executor reads the plan from the context, not from its argument.
    pruned = copy.copy(plan_context)
    pruned._plan_data = plan_context.plan_data._replace(execution_plan=subset)
    return pruned, subset
