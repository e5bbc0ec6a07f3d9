"""The steps of a Dagster run as decisions need them: what each computes, reads and checks."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import dagster as dg
from dagster._core.execution.plan.plan import ExecutionPlan
from dagster._core.execution.plan.step import ExecutionStep
from dagster._core.system_config.objects import ResolvedRunConfig

from data_pipeline.caching.decisions import Computation, Key, Step
from data_pipeline.instances import Configuration, Instance
from data_pipeline.tables.identity import RAW_TAG, identity_of
from data_pipeline.tables.names import StageTable
from data_pipeline.tables.op_context import OpContext, op_context
from data_pipeline.tables.upstream import upstream

# Private names of Dagster, as in `executor.py`: the plan of a run and the graph of its assets have
# no public form. `data_pipeline_tests/caching/test_executor.py` fails when they change.


@dataclass(frozen=True)
class RunSteps:
    """The steps of one run, each after those that it reads from.

    Attributes:
        computing: Steps that compute assets.
        raw: Steps that would load raw tables although the instance copies its inputs.
        checks: The assets that each step of asset checks is about.
        blocking: The blocking checks that each step evaluates.
        order: All steps to be settled, each after those that it depends on.
        dependencies: The steps that each of them depends on.
        keys: The Dagster key of each asset.
        instances: The instances whose catalogs count, by instance id.
    """

    computing: Sequence[Step]
    raw: Sequence[str]
    checks: Mapping[str, frozenset[dg.AssetKey]]
    blocking: Mapping[str, Sequence[dg.AssetCheckKey]]
    order: Sequence[str]
    dependencies: Mapping[str, frozenset[str]]
    keys: Mapping[Key, dg.AssetKey]
    instances: Mapping[str, Instance]


def run_steps(
    plan: ExecutionPlan,
    job: dg.JobDefinition,
    run_config: ResolvedRunConfig,
    configuration: Configuration,
    instance: Instance,
) -> RunSteps:
    """Reads the steps that a plan executes."""
    return _Reader(job, run_config, configuration, instance).read(plan)


class _Reader:
    def __init__(
        self,
        job: dg.JobDefinition,
        run_config: ResolvedRunConfig,
        configuration: Configuration,
        instance: Instance,
    ) -> None:
        self._job = job
        self._graph = job.asset_layer.asset_graph
        self._run_config = run_config
        self._configuration = configuration
        self._instance = instance
        self._keys: dict[Key, dg.AssetKey] = {}
        self._instances = {item.instance_id: item for item in _sources(instance)}

    def read(self, plan: ExecutionPlan) -> RunSteps:
        computing, raw = [], []
        dependencies: dict[str, frozenset[str]] = {}
        checks: dict[str, frozenset[dg.AssetKey]] = {}
        blocking: dict[str, list[dg.AssetCheckKey]] = {}
        selected = set(plan.step_keys_to_execute)
        for step in plan.get_all_steps_in_topo_order():
            if step.key not in selected:
                continue
            outputs = [output.properties for output in step.step_outputs]
            assets = [output.asset_key for output in outputs if output.asset_key is not None]
            checked = [o.asset_check_key.asset_key for o in outputs if o.asset_check_key]
            everything = assets or checked
            if self._instance.copies and everything and all(map(self._is_raw, everything)):
                raw.append(step.key)
                continue
            dependencies[step.key] = frozenset(
                step.get_execution_dependency_keys() if isinstance(step, ExecutionStep) else ()
            )
            keys = [o.asset_check_key for o in outputs if o.asset_check_key]
            if stops := [key for key in keys if self._graph.get(key).blocking]:
                blocking[step.key] = stops
            if assets and all(len(key.path) == 2 for key in assets):
                context = op_context(self._job, step.node_handle, self._run_config)
                computations = [self._computation(key, context) for key in assets]
                computing.append(Step(step.key, computations))
            elif checked:
                checks[step.key] = frozenset(checked)
        return RunSteps(
            computing,
            raw,
            checks,
            blocking,
            list(dependencies),
            dependencies,
            self._keys,
            self._instances,
        )

    def _is_raw(self, key: dg.AssetKey) -> bool:
        return self._graph.has(key) and RAW_TAG in self._graph.get(key).tags

    def _computation(self, key: dg.AssetKey, context: OpContext) -> Computation:
        spec = self._graph.get(key).to_asset_spec()
        own = (self._instance.instance_id, StageTable.from_path(key.path))
        self._keys[own] = key
        identity = identity_of(spec, context, self._instance)
        return Computation(own, identity, list(self._inputs(key)))

    def _inputs(self, key: dg.AssetKey) -> Iterator[Key]:
        for parent, source, table in upstream(
            self._graph, key, self._configuration, self._instance
        ):
            self._instances.setdefault(source.instance_id, source)
            self._keys[source.instance_id, table] = parent
            yield source.instance_id, table


def _sources(instance: Instance) -> Iterator[Instance]:
    """Gives an instance and those that it copies from, directly or by way of others."""
    current: Instance | None = instance
    while current is not None:
        yield current
        current = current.source
