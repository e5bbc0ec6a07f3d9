"""What an asset's ops can see besides their code and inputs: configuration and resources."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import dagster as dg

from data_pipeline.tables.run_resources import RunResources, SeenResources, objects_of_run

# Dagster has no public form of a step's node and of the resolved configuration of a run: handles
# and `ResolvedRunConfig` come from there.
# `data_pipeline_tests/caching/test_visible_configuration.py` fails when they change.


@dataclass(frozen=True)
class OpContext:
    """What the ops of an asset can see.

    Attributes:
        config: Their configuration with its defaults and environment variables, by op.
        resources: What they get at by the resources that they ask for.
        wiring: The asset that arrives at each input.
    """

    config: Mapping[str, Any]
    resources: SeenResources
    wiring: Mapping[str, dg.AssetKey]


def op_context(
    job: dg.JobDefinition, handle: Any, resolved: Any, resources: RunResources
) -> OpContext:
    """Gives what the ops of an asset can see: its one op, or all of a graph asset.

    Args:
        job: The job.
        handle: The handle of one of the ops.
        resolved: The resolved configuration of the run.
        resources: The resources of the run.
    """
    root = handle.root if handle.parent else handle
    name = str(root)
    definition: Any = job.get_node(root).definition
    if isinstance(definition, dg.GraphDefinition):
        ops = list(definition.iterate_op_defs())
        names = [op for op in resolved.ops if op.startswith(f"{name}.")]
    else:
        ops, names = [definition], [name]
    return OpContext(
        config={op: resolved.ops[op].config for op in names if op in resolved.ops},
        resources=resources.seen({key for op in ops for key in op.required_resource_keys}),
        wiring=wiring(job, handle),
    )


def wiring(job: dg.JobDefinition, handle: Any) -> Mapping[str, dg.AssetKey]:
    """Return the asset that arrives at each input of an asset or check."""
    assets = job.asset_layer.get_assets_def_for_node(handle)
    return assets.keys_by_input_name if assets else {}


def resources_of_run(job: dg.JobDefinition, resolved: Any, run_id: str) -> RunResources:
    """Return the resources of a run, in whatever process of it."""
    return RunResources(job.resource_defs, resolved.resources, objects_of_run(run_id))
