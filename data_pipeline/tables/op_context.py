"""What an asset's ops can see besides their code and inputs: configuration and the instance."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import dagster as dg

from data_pipeline.instances.resource import InstanceResource

# Dagster has no public form of a step's node and of the resolved configuration of a run: handles
# and `ResolvedRunConfig.ops` come from there; `nested_resources` and `configurable_resource_cls`
# are undocumented. `data_pipeline_tests/caching/test_visible_configuration.py` fails when they
# change.


@dataclass(frozen=True)
class OpContext:
    """What the ops of an asset can see.

    Attributes:
        config: Their configuration with its defaults and environment variables, by op.
        sees_instance: Whether they get at the instance, by a resource.
        wiring: The asset that arrives at each input.
    """

    config: Mapping[str, Any]
    sees_instance: bool
    wiring: Mapping[str, dg.AssetKey]


def op_context(job: dg.JobDefinition, handle: Any, resolved: Any) -> OpContext:
    """Gives what the ops of an asset can see: its one op, or all of a graph asset.

    Args:
        job: The job.
        handle: The handle of one of the ops.
        resolved: The resolved configuration of the run.
    """
    root = handle.root if handle.parent else handle
    name = str(root)
    definition: Any = job.get_node(root).definition
    if isinstance(definition, dg.GraphDefinition):
        ops = list(definition.iterate_op_defs())
        names = [op for op in resolved.ops if op.startswith(f"{name}.")]
    else:
        ops, names = [definition], [name]
    keys = {key for op in ops for key in op.required_resource_keys}
    assets = job.asset_layer.get_assets_def_for_node(handle)
    return OpContext(
        config={op: resolved.ops[op].config for op in names if op in resolved.ops},
        sees_instance=any(map(_is_instance, _resources(job, keys))),
        wiring=assets.keys_by_input_name if assets else {},
    )


def _resources(job: dg.JobDefinition, keys: set[str]) -> Iterator[Any]:
    """Gives resources and those that they hold or require, directly or by way of others."""
    seen: set[int] = set()
    stack = [job.resource_defs[key] for key in keys if key in job.resource_defs]
    while stack:
        resource = stack.pop()
        if id(resource) in seen:
            continue
        seen.add(id(resource))
        yield resource
        stack += getattr(resource, "nested_resources", {}).values()
        required = getattr(resource, "required_resource_keys", ())
        stack += [job.resource_defs[key] for key in required if key in job.resource_defs]


def _is_instance(resource: Any) -> bool:
    return isinstance(resource, InstanceResource) or issubclass(
        getattr(resource, "configurable_resource_cls", type(None)), InstanceResource
    )
