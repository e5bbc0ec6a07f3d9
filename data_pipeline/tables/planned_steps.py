"""What the steps of a run write and read, as the plan of the run says."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from data_pipeline.instances import Configuration, Instance
from data_pipeline.tables.commit_order import StepStages
from data_pipeline.tables.names import StageTable
from data_pipeline.tables.upstream import upstream

# Dagster has no public form of a run's plan: `plan_data` and what hangs on it come from there.
# `data_pipeline_tests/io_manager/test_stage_commit.py` fails when they change.


@dataclass(frozen=True)
class PlannedStep:
    """A step of a run.

    Attributes:
        key: The step.
        tables: What it writes.
        sources: What those tables are made from, each with its instance.
        instance: The instance that it writes.
    """

    key: str
    tables: Sequence[StageTable]
    sources: Sequence[tuple[Instance, StageTable]]
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
        outputs = [output.properties.asset_key for output in plan.get_step_by_key(key).step_outputs]
        assets = [asset for asset in outputs if asset is not None and len(asset.path) == 2]
        sources = {
            (source.instance_id, table): (source, table)
            for asset in assets
            for _, source, table in upstream(graph, asset, configuration, instance)
            if table.stage
        }
        if assets:
            tables = [StageTable.from_path(asset.path) for asset in assets]
            found.append(PlannedStep(key, tables, list(sources.values()), instance))
    return found
