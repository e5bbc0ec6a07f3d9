"""The identity of a computation: all that an asset's result depends on, besides its inputs."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import dagster as dg

from data_pipeline.code_version.live_code import input_managers
from data_pipeline.code_version.nondeterminism import SOURCE_KEY
from data_pipeline.database.connection import database
from data_pipeline.definition_metadata import kept_value
from data_pipeline.identity.run_resources import RunResources, SeenResources, objects_of_run
from data_pipeline.instances import Instance
from data_pipeline.instances.slice_dimensions import is_sliced
from data_pipeline.store.catalog import CatalogRow
from data_pipeline.store.sliced_tables import SliceBounds
from data_pipeline.store.table_properties import declared_properties, declared_version
from data_pipeline.transfer.stable_hash import fingerprint, stable_hash

# Dagster has no public form of a step's node and of the resolved configuration of a run: handles
# and `ResolvedRunConfig` come from there.
# `data_pipeline_tests/memo/test_visible_configuration.py` fails when they change.


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
    """Return what the ops of an asset can see: its one op, or all of a graph asset.

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
        resources=resources.seen(
            {key for op in ops for key in {*op.required_resource_keys, *input_managers(op)}}
        ),
        wiring=wiring(job, handle),
    )


def wiring(job: dg.JobDefinition, handle: Any) -> Mapping[str, dg.AssetKey]:
    """Return the asset that arrives at each input of an asset or check."""
    assets = job.asset_layer.get_assets_def_for_node(handle)
    return assets.keys_by_input_name if assets else {}


def resources_of_run(job: dg.JobDefinition, resolved: Any, run_id: str) -> RunResources:
    """Return the resources of a run, in whatever process of it."""
    return RunResources(job.resource_defs, resolved.resources, objects_of_run(run_id))


RAW_TAG = "data_pipeline/raw"
"""The asset tag of raw tables."""


SOURCES_TAG = ".dagster/data_pipeline_sources"
"""The run tag that hands the fingerprints of sources, as they were before the run, to its steps."""

CODE_PARTS_KEY = "data_pipeline/code"
"""The metadata of an asset that holds the digests of all code that it reaches."""

NO_FINGERPRINT = "takes input from outside and declares no fingerprint"


@dataclass(frozen=True)
class Identity:
    """What an asset's result depends on.

    Attributes:
        code_version: Identity of its code; None where it is not known.
        code_parts: A digest for each function, class, constant and file that its code reaches.
        config: Digest of its op configuration.
        wiring: Digest of which asset arrives at which parameter.
        declared: Digest of the table properties that its definition declares.
        attrs: Digest of the instance's attrs; None for an asset that cannot see them.
        resources: A digest of what each resource that it asks for really is in the run, by key;
            None for one without a stable identity.
        settings: What database, role or client set for sessions, such as the time zone.
        takes_outside_input: Whether it loads from a source system.
        source: Digest of its source's fingerprint; None where there is none.
        source_problem: Why there is none.
        allow_fresh_input: Whether it loads new data in every mode.
    """

    code_version: str | None
    code_parts: Mapping[str, str] = field(default_factory=dict)
    config: str = ""
    wiring: str = ""
    declared: str = ""
    attrs: str | None = None
    resources: Mapping[str, str | None] = field(default_factory=dict)
    settings: Mapping[str, str] = field(default_factory=dict)
    takes_outside_input: bool = False
    source: str | None = None
    source_problem: str = NO_FINGERPRINT
    allow_fresh_input: bool = False

    @classmethod
    def from_row(cls, row: CatalogRow) -> "Identity":
        """Return the identity that a table was computed with."""
        return cls(code_version=row.code_version, code_parts=row.code_parts, **row.identity)

    def as_json(self) -> dict[str, Any]:
        """Return what the catalog keeps besides code version and parts."""
        digests = {
            "config": self.config,
            "wiring": self.wiring,
            "declared": self.declared,
            "attrs": self.attrs,
            "source": self.source,
        }
        # Without any, keys stay what they were before these counted.
        named = {"resources": dict(self.resources), "settings": dict(self.settings)}
        return digests | {name: found for name, found in named.items() if found}

    def cache_key(self, table: str, inputs: Mapping[str, str | None]) -> str | None:
        """Return the identity of the computation with its inputs; None where it is not reusable."""
        if self.code_version is None or None in inputs.values():
            return None
        if None in self.resources.values():
            return None
        if self.takes_outside_input and self.source is None:
            return None
        return fingerprint("computation-1", table, self.code_version, self.as_json(), inputs)

    def with_source(self, digest: str | None, problem: str = NO_FINGERPRINT) -> "Identity":
        """Return the identity with what is known of its source now."""
        return replace(self, source=digest, source_problem=problem)


UNKNOWN = Identity(code_version=None)
"""The identity of what is never reused."""


def identity_of(spec: dg.AssetSpec, context: OpContext, instance: Instance) -> Identity:
    """Return the identity of an asset's computation, without the fingerprint of its source.

    Args:
        spec: The asset's spec.
        context: What its ops can see.
        instance: The instance of the run.
    """
    source = kept_value(spec.metadata, SOURCE_KEY)
    return Identity(
        code_version=spec.code_version,
        code_parts=kept_value(spec.metadata, CODE_PARTS_KEY) or {},
        config=stable_hash(context.config),
        wiring=stable_hash({name: key.path for name, key in context.wiring.items()}),
        declared=_declared(spec, instance),
        attrs=stable_hash(instance.attrs) if context.resources.instance else None,
        resources=context.resources.digests,
        settings=database(instance).settings,
        takes_outside_input=source is not None or RAW_TAG in spec.tags,
        allow_fresh_input=bool((source or {}).get("allow_fresh_input")),
    )


def _declared(spec: dg.AssetSpec, instance: Instance) -> str:
    """Return a digest of what is declared of a table; of a slice, of its bounds too."""
    declared = declared_version(declared_properties(spec.metadata))
    if instance.slice is None or not is_sliced(spec.partitions_def):
        return declared
    return fingerprint("slice-1", declared, SliceBounds.of(spec, instance.slice).as_json())
