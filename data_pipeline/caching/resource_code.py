"""Where the code of a resource begins: its class, its function, or the object that it is."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import dagster as dg

from data_pipeline.tables.resource_definitions import (
    as_definition,
    held_object,
    is_object,
    nested_in,
    resource_class,
)


def resource_code(keys: Iterable[str], resources: Mapping[str, Any]) -> Iterator[Any]:
    """Return the classes, functions and objects of resources, and of those that they make use of.

    Our own are left out: what an asset can see of them is the instance.

    Args:
        keys: The resources that are asked for.
        resources: All resources, by key.
    """
    seen: set[int] = set()
    stack = [as_definition(resources[key]) for key in sorted(keys) if key in resources]
    while stack:
        definition = stack.pop()
        if id(definition) in seen:
            continue
        seen.add(id(definition))
        entry = _entry(definition)
        if "chooses_instance_by" not in getattr(entry, "__dict__", ()):
            yield entry
        stack += map(as_definition, nested_in(definition).values())
        required = sorted(definition.required_resource_keys)
        stack += [as_definition(resources[key]) for key in required if key in resources]


def _entry(definition: dg.ResourceDefinition) -> Any:
    if is_object(definition):
        return held_object(definition)
    return resource_class(definition) or definition.resource_fn
