"""The functions that Dagster runs for an asset."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, cast

import dagster as dg

# Dagster keeps the function of an op in `OpDefinition.compute_fn`, for decorated functions wrapped
# in an object with the attribute `decorated_fn`; neither is documented. This module, and no other,
# reads them; `data_pipeline_tests/caching/test_code_version_assets.py` fails when they change.


def asset_functions(asset: dg.AssetsDefinition) -> Mapping[str, Callable[..., Any]]:
    """Gives the functions of an asset by the names of their ops; none for an external asset."""
    return {operation.name: _function(operation) for operation in _operations(asset)}


def asked_resources(asset: dg.AssetsDefinition) -> set[str]:
    """Return the keys of the resources that the ops of an asset ask for."""
    return {key for operation in _operations(asset) for key in operation.required_resource_keys}


def asset_structure(asset: dg.AssetsDefinition) -> list[str]:
    """Gives how the ops of a graph asset depend on each other; nothing for other assets."""
    node = asset.node_def if asset.is_executable else None
    return sorted(_structure(node)) if isinstance(node, dg.GraphDefinition) else []


def _operations(asset: dg.AssetsDefinition) -> Iterable[dg.OpDefinition]:
    if not asset.is_executable:
        return []
    node = asset.node_def
    return [node] if isinstance(node, dg.OpDefinition) else node.iterate_op_defs()


def _structure(graph: dg.GraphDefinition) -> Iterator[str]:
    for node, inputs in graph.dependencies.items():
        for name, dependency in inputs.items():
            sources = [(item.node, item.output) for item in dependency.get_node_dependencies()]
            yield f"{graph.name}: {node.alias or node.name}({node.name}).{name} = {sources}"
    for inner in graph.node_defs:
        if isinstance(inner, dg.GraphDefinition):
            yield from _structure(inner)


def _function(operation: dg.OpDefinition) -> Callable[..., Any]:
    function: Any = operation.compute_fn
    return cast("Callable[..., Any]", getattr(function, "decorated_fn", function))
