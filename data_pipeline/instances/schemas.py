"""Checks that no two instances or stages can reach the same schema, and that names fit."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from data_pipeline.instances.instance import SAMPLE_STAGE, Instance
from data_pipeline.instances.problems import problem

MAX_IDENTIFIER_BYTES = 63
"""PostgreSQL cuts longer identifiers off, in silence."""


def check_schemas(file: Path, instances: Iterable[Instance], stages: Iterable[str]) -> None:
    """Check all schemas that the instances can reach with these stages.

    Schemas that differ only by case count as the same, and so do schemas of instances in different
    databases: nothing then depends on how a server is spelled.

    Raises:
        ConfigurationError: A name is over 63 bytes, or two uses of schemas meet in one.
    """
    names = list(dict.fromkeys(stages))
    owners: dict[str, str] = {}
    for instance in instances:
        for schema, owner in _schemas(instance, names):
            _check_length(file, schema, owner)
            other = owners.setdefault(schema.lower(), owner)
            if other != owner:
                what = f"{other} and {owner} would both use the schema '{schema}'"
                raise problem(file, "instances", what, "Rename a stage or change an instance_id.")


def _schemas(instance: Instance, stages: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Give each schema that an instance can reach, and what uses it."""
    label = f"instance '{instance.name}' (id '{instance.instance_id}')"
    sampling = f"the sampling of {label}"
    yield instance.catalog_schema, f"the catalog of {label}"
    yield instance.sample_schema, sampling
    yield instance.sample_work_schema, sampling
    for stage in stages:
        yield (
            instance.schema(stage),
            # The tables of this stage are made by sampling itself.
            sampling if stage == SAMPLE_STAGE else f"stage '{stage}' of {label}",
        )
        yield instance.staging_schema(stage), f"the staging of stage '{stage}' of {label}"
        yield instance.slots_schema(stage), f"the cache slots of stage '{stage}' of {label}"


def _check_length(file: Path, schema: str, owner: str) -> None:
    excess = len(schema.encode()) - MAX_IDENTIFIER_BYTES
    if excess > 0:
        what = (
            f"the schema '{schema}' for {owner} has {MAX_IDENTIFIER_BYTES + excess} bytes, and "
            f"PostgreSQL allows {MAX_IDENTIFIER_BYTES}"
        )
        remedy = f"Shorten the instance_id, the schema_prefix or the stage by {excess} bytes."
        raise problem(file, "instances", what, remedy)
