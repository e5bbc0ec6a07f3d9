"""What Dagster's definition of a resource holds."""

from collections.abc import Mapping
from typing import Any

import dagster as dg

from data_pipeline.dagster_internals import process_config

_OBJECT = dg.ResourceDefinition.hardcoded_resource(None).resource_fn.__qualname__


def as_definition(resource: Any) -> dg.ResourceDefinition:
    """Return the definition of whatever can be given as a resource."""
    if isinstance(resource, dg.ResourceDefinition):
        return resource
    if not isinstance(resource, type) and hasattr(resource, "get_resource_definition"):
        found: dg.ResourceDefinition = resource.get_resource_definition()
        return found
    return dg.ResourceDefinition.hardcoded_resource(resource)


def is_object(definition: dg.ResourceDefinition) -> bool:
    """Whether a definition holds an object that was given as it is."""
    return getattr(definition.resource_fn, "__qualname__", None) == _OBJECT


def held_object(definition: dg.ResourceDefinition) -> Any:
    """Return the object of a definition that holds one; see `is_object`."""
    function: Any = definition.resource_fn
    return function(None)


def resource_class(definition: dg.ResourceDefinition) -> type | None:
    """Return the class of a definition that has fields; None for others."""
    found: type | None = getattr(definition, "configurable_resource_cls", None)
    return found


def nested_in(definition: dg.ResourceDefinition) -> Mapping[str, Any]:
    """Return the resources that stand in the fields of a definition, by field."""
    found: Mapping[str, Any] = getattr(definition, "nested_resources", {})
    return found


def is_given_by_key(definition: dg.ResourceDefinition, field: str) -> bool:
    """Whether a nested resource is configured by the run, under the key that it also has."""
    return field in getattr(definition, "nested_partial_resources", {})


def own_configuration(definition: dg.ResourceDefinition) -> Any:
    """Return the configuration of a nested resource, which no run can change.

    Raises:
        ValueError: It cannot be resolved, since an environment variable is not set, say.
    """
    schema = definition.config_schema
    if hasattr(schema, "parent_def"):  # made by `.configured`
        result = definition.apply_config_mapping({})
    elif schema.default_provided:
        result = process_config({"config": schema.config_type}, {"config": schema.default_value})
    else:
        return None
    if not result.success:
        # What Dagster says of it holds values.
        raise ValueError("a nested resource cannot be configured: is a variable not set?")
    return (result.value or {}).get("config")
