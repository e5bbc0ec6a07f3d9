"""What the steps of a run write and read, as the plan of the run says."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import dagster as dg

from data_pipeline.instances import Configuration, Instance
from data_pipeline.tables.commit_order import StepStages
from data_pipeline.tables.names import StageTable
from data_pipeline.tables.op_context import wiring
from data_pipeline.tables.step_reads import Source
from data_pipeline.tables.upstream import upstream

# Dagster has no public form of a run's plan: `plan_data` and what hangs on it come from there.
# `data_pipeline_tests/io_manager/test_stage_commit.py` fails when they change.


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
    """Gives the steps of a run that write tables, as far as this process executes them.

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
            tables = {StageTable.from_path(asset.path): name for asset, name in assets.items()}
            sources = _upstream(graph, list(assets), configuration, instance)
            found.append(PlannedStep(key, tables, sources, instance))
    return found


def only_checks(step: Any) -> bool:
    """Whether a step of a plan evaluates asset checks and computes no asset."""
    return not _assets(step) and any(
        output.properties.asset_check_key is not None for output in step.step_outputs
    )


def step_sources(step: Any, configuration: Configuration, instance: Instance) -> list[Source]:
    """Gives all tables that a step may read: what its assets are made from, and what it checks.

    What it makes itself is not among them: that is not there yet when the step begins.

    Args:
        step: The context of the step.
        configuration: All instances.
        instance: The instance of the run.
    """
    layer = step.job_def.asset_layer
    if only_checks(step.step):
        loaded = [key.path for key in wiring(step.job_def, step.node_handle).values()]
        return [(instance, StageTable.from_path(path)) for path in loaded if len(path) == 2]
    assets = _assets(step.step)
    if not assets and (definition := layer.get_assets_def_for_node(step.node_handle)):
        assets = sorted(definition.keys)  # one of the ops of a graph asset
    own = {(instance.instance_id, "/".join(asset.path)) for asset in assets}
    found = _upstream(layer.asset_graph, assets, configuration, instance)
    return [
        (source, table) for source, table in found if (source.instance_id, str(table)) not in own
    ]


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
