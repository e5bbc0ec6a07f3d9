"""The steps of a Dagster run as decisions need them: what each computes, reads and checks."""

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from graphlib import TopologicalSorter
from typing import Any

import dagster as dg

from data_pipeline.dagster_internals import (
    ExecutionPlan,
    ExecutionStep,
    IExecutionStep,
    NodeHandle,
    ResolvedRunConfig,
)
from data_pipeline.database.identifiers import StageTable
from data_pipeline.identity.computation import RAW_TAG, OpContext, identity_of, op_context
from data_pipeline.identity.run_resources import RunResources
from data_pipeline.identity.upstream import table_of, upstream
from data_pipeline.instances import Configuration, Instance
from data_pipeline.instances.slice_dimensions import is_sliced
from data_pipeline.memo.deciding.decisions import Computation, Key, Step
from data_pipeline.runs.commit_order import StepStages
from data_pipeline.store.lookup import takes_rows
from data_pipeline.store.sliced_tables import SliceBounds

# Private names of Dagster, as in `executor.py`: the plan of a run and the graph of its assets have
# no public form. `data_pipeline_tests/memo/test_executor.py` fails when they change.


@dataclass(frozen=True)
class PlannedOutput:
    """The output of a step that gives an asset.

    Attributes:
        step: The step of the plan.
        name: The output.
        io_manager: The key of its IO manager.
        dagster_type: Its type.
    """

    step: str
    name: str
    io_manager: str
    dagster_type: dg.DagsterType


@dataclass(frozen=True)
class RunSteps:
    """The steps of one run, each after those that it reads from.

    Attributes:
        computing: Steps that compute assets.
        raw: Steps of raw tables, which the instance copies instead, and those that would check
            them.
        raw_loads: Those of them that load, with the step of the plan that loads each asset.
        checks: The assets that each step of asset checks is about.
        check_keys: The checks that each step evaluates, those of raw tables included.
        blocking: Those of them that are blocking.
        order: All steps to be settled, each after those that it depends on.
        dependencies: The steps that each of them depends on.
        members: The steps of the plan behind each: several for a graph asset.
        results: Those of them that give an asset or a check.
        outputs: The output that gives each asset that is computed.
        keys: The Dagster key of each asset.
        instances: The instances whose catalogs count, by instance id.
    """

    computing: Sequence[Step]
    raw: Sequence[str]
    raw_loads: Mapping[str, Mapping[dg.AssetKey, str]]
    checks: Mapping[str, frozenset[dg.AssetKey]]
    check_keys: Mapping[str, Sequence[dg.AssetCheckKey]]
    blocking: Mapping[str, Sequence[dg.AssetCheckKey]]
    order: Sequence[str]
    dependencies: Mapping[str, Set[str]]
    members: Mapping[str, Sequence[str]]
    results: Mapping[str, Sequence[str]]
    outputs: Mapping[Key, PlannedOutput]
    keys: Mapping[Key, dg.AssetKey]
    instances: Mapping[str, Instance]

    def stages_of(self, instance: Instance) -> dict[str, StepStages]:
        """Return the stages of an instance that each step writes and reads."""
        own = instance.instance_id
        return {
            step.key: StepStages(
                frozenset(item.key[1].stage for item in step.computations),
                frozenset(
                    table.stage
                    for item in step.computations
                    for source, table in item.inputs
                    if source == own
                ),
            )
            for step in self.computing
        }

    @property
    def stages_blocked(self) -> dict[str, set[str]]:
        """The stages of the assets that the blocking checks of each step are about."""
        return {
            name: {StageTable.of_key(check.asset_key.path).stage for check in checks}
            for name, checks in self.blocking.items()
        }


def run_steps(
    plan: ExecutionPlan,
    job: dg.JobDefinition,
    run_config: ResolvedRunConfig,
    configuration: Configuration,
    instance: Instance,
    resources: RunResources,
) -> RunSteps:
    """Read the steps that a plan executes."""
    return _Reader(job, run_config, configuration, instance, resources).read(plan)


@dataclass
class _Node:
    """An op with its step, or a graph asset with the steps of all its ops, which go together."""

    handle: NodeHandle
    members: list[str] = field(default_factory=list)
    results: list[str] = field(default_factory=list)
    dependencies: set[str] = field(default_factory=set)
    assets: dict[dg.AssetKey, PlannedOutput] = field(default_factory=dict)
    checks: list[dg.AssetCheckKey] = field(default_factory=list)


class _Reader:
    def __init__(
        self,
        job: dg.JobDefinition,
        run_config: ResolvedRunConfig,
        configuration: Configuration,
        instance: Instance,
        resources: RunResources,
    ) -> None:
        self._job = job
        self._graph = job.asset_layer.asset_graph
        self._run_config = run_config
        self._configuration = configuration
        self._instance = instance
        self._resources = resources
        self._keys: dict[Key, dg.AssetKey] = {}
        self._instances = {item.instance_id: item for item in _sources(instance)}
        self._copied = self._instances.keys() - {instance.instance_id}

    def read(self, plan: ExecutionPlan) -> RunSteps:
        nodes = self._nodes(plan)
        dependencies = {name: node.dependencies - {name} for name, node in nodes.items()}
        if any(len(node.members) > 1 for node in nodes.values()):
            inner = {name: found & nodes.keys() for name, found in dependencies.items()}
            nodes = {name: nodes[name] for name in TopologicalSorter(inner).static_order()}
        unused = self._fed_by_copies()
        computing, raw = [], []
        checks: dict[str, frozenset[dg.AssetKey]] = {}
        outputs: dict[Key, PlannedOutput] = {}
        for name, node in nodes.items():
            checked = frozenset(key.asset_key for key in node.checks)
            everything = node.assets or checked
            if everything and unused.issuperset(everything):
                raw.append(name)
            elif node.assets:
                context = op_context(self._job, node.handle, self._run_config, self._resources)
                made = [self._computation(key, context) for key in node.assets]
                copies = any(item.copied for item in made)
                found = [replace(item, copies=copies) for item in made]
                computing.append(Step(name, found))
                outputs |= {item.key: node.assets[self._keys[item.key]] for item in found}
            elif checked:
                checks[name] = checked
        order = [name for name in nodes if name not in raw]
        graph = self._graph
        return RunSteps(
            computing=computing,
            raw=raw,
            raw_loads={
                name: {key: output.step for key, output in nodes[name].assets.items()}
                for name in raw
                if nodes[name].assets
            },
            checks=checks,
            check_keys={name: node.checks for name, node in nodes.items() if node.checks},
            blocking={
                name: [key for key in nodes[name].checks if graph.get(key).blocking]
                for name in order
                if any(graph.get(key).blocking for key in nodes[name].checks)
            },
            order=order,
            dependencies={name: dependencies[name] for name in order},
            members={name: nodes[name].members for name in order},
            results={name: nodes[name].results or nodes[name].members for name in order},
            outputs=outputs,
            keys=self._keys,
            instances=self._instances,
        )

    def _nodes(self, plan: ExecutionPlan) -> dict[str, "_Node"]:
        selected = set(plan.step_keys_to_execute)
        nodes: dict[str, _Node] = {}
        for step in plan.get_all_steps_in_topo_order():
            if step.key not in selected:
                continue
            node = nodes.setdefault(node_name(step.key), _Node(step.node_handle))
            node.members.append(step.key)
            node.dependencies |= {node_name(key) for key in _dependencies(step)}
            outputs = [(output.name, output.properties) for output in step.step_outputs]
            assets = {o.asset_key: self._output(step, name) for name, o in outputs if o.asset_key}
            checks = [o.asset_check_key for _, o in outputs if o.asset_check_key is not None]
            node.assets |= assets
            node.checks += checks
            if assets or checks:
                node.results.append(step.key)
        return nodes

    def _output(self, step: IExecutionStep, name: str) -> PlannedOutput:
        definition: Any = self._job.get_node(step.node_handle).definition
        output = definition.output_def_named(name)
        return PlannedOutput(step.key, name, output.io_manager_key, output.dagster_type)

    def _fed_by_copies(self) -> set[dg.AssetKey]:
        """Return the assets that a copying instance has no use for, as it copies what they give.

        That are raw tables, what only they are made of, and what all readers take from elsewhere.
        """
        found: set[dg.AssetKey] = set()
        if not self._instance.copies:
            return found
        for key in reversed(self._graph.toposorted_asset_keys):
            readers = self._graph.get(key).child_keys
            if self._is_raw(key) or (
                readers
                and all(reader in found or not self._reads_own(reader, key) for reader in readers)
            ):
                found.add(key)
        return found

    def _reads_own(self, reader: dg.AssetKey, key: dg.AssetKey) -> bool:
        """Whether an asset reads another one on the very instance of the run."""
        if isinstance(self._graph.get_partition_mapping(reader, key), dg.IdentityPartitionMapping):
            return True
        above = upstream(self._graph, reader, self._configuration, self._instance)
        own = self._instance.instance_id
        return any(parent == key and source.instance_id == own for parent, source, _ in above)

    def _is_raw(self, key: dg.AssetKey) -> bool:
        return self._graph.has(key) and RAW_TAG in self._graph.get(key).tags

    def _computation(self, key: dg.AssetKey, context: OpContext) -> Computation:
        spec = self._graph.get(key).to_asset_spec()
        own = (self._instance.instance_id, table_of(self._graph, key, self._instance))
        self._keys[own] = key
        identity = identity_of(spec, context, self._instance)
        inputs, copied, sliced = [], [], set()
        is_whole = not is_sliced(spec.partitions_def)
        for parent, source, table in upstream(
            self._graph, key, self._configuration, self._instance
        ):
            self._instances.setdefault(source.instance_id, source)
            self._keys[source.instance_id, table] = parent
            inputs.append((source.instance_id, table))
            if self._is_raw(parent) and source.instance_id in self._copied:
                copied.append(inputs[-1])
            if is_whole and is_sliced(self._graph.get(parent).partitions_def):
                sliced.add(inputs[-1])
        return Computation(
            own,
            identity,
            inputs,
            frozenset(copied),
            takes_rows(spec),
            sliced=frozenset(sliced),
            bounds=None if own[1].slice is None else SliceBounds.of(spec, own[1].slice),
        )


def node_name(step: str) -> str:
    """Name the asset's node that a step of the plan belongs to."""
    return step.partition(".")[0]


def _dependencies(step: IExecutionStep) -> set[str]:
    if isinstance(step, ExecutionStep):
        return set(step.get_execution_dependency_keys())
    # How often it is executed a dynamic output decides, which is part of the same graph.
    return {key for item in step.step_inputs for key in getattr(item, "dependency_keys", ())}


def _sources(instance: Instance) -> Iterator[Instance]:
    """Return an instance and those that it copies from, directly or by way of others."""
    current: Instance | None = instance
    while current is not None:
        yield current
        current = current.source
