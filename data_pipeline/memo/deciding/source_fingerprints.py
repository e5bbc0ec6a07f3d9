"""The fingerprints of sources, by which a run knows whether they have new data."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from data_pipeline.code_version.nondeterminism import SOURCE_KEY
from data_pipeline.definition_metadata import kept_value
from data_pipeline.errors import DataPipelineError, UnstableValueError
from data_pipeline.identity.computation import Identity
from data_pipeline.instances import Instance
from data_pipeline.memo.deciding.decisions import Step
from data_pipeline.transfer.stable_hash import stable_hash

FingerprintOfInstance = Callable[[Instance], Any]
"""A function of the instance of the run, whose value changes when the data of a source does."""

FINGERPRINTS: dict[str, FingerprintOfInstance] = {}
"""The declared functions. Metadata holds plain values only, so it names one of these; every process
that imports the assets has it here under that name."""


def fingerprint_function(metadata: Mapping[str, Any]) -> FingerprintOfInstance | None:
    """Return the fingerprint function that an asset's metadata declares, if it declares one.

    It is called with the instance of the run, whatever the declared one takes.
    """
    declared = kept_value(metadata, SOURCE_KEY) or {}
    return FINGERPRINTS.get(declared.get("fingerprint") or "")


Sources = Mapping[str, FingerprintOfInstance]
"""The fingerprint functions of assets, by `stage/table`."""


def with_fingerprints(
    steps: Iterable[Step], sources: Sources, instance: Instance, warn: Callable[[str], None]
) -> list[Step]:
    """Return the steps with the fingerprints of the sources that they load, as they are now.

    Args:
        steps: The steps.
        sources: The sources to ask.
        instance: The instance of the run.
        warn: Takes what is to be said of fingerprints that are of no use.

    Raises:
        DataPipelineError: A fingerprint function failed.
    """
    return [
        replace(
            step,
            computations=[
                replace(
                    item,
                    identity=_asked(item.identity, str(item.key[1].whole), sources, instance, warn),
                )
                for item in step.computations
            ],
        )
        for step in steps
    ]


def _asked(
    identity: Identity,
    table: str,
    sources: Sources,
    instance: Instance,
    warn: Callable[[str], None],
) -> Identity:
    function = sources.get(table)
    if function is None:
        return identity
    try:
        return identity.with_source(stable_hash(function(instance)))
    except UnstableValueError as error:
        warn(f"The fingerprint of `{table}` never counts as unchanged. {error}")
        return identity.with_source(None, "its source's fingerprint is no stable value")
    except DataPipelineError:
        raise
    except Exception as error:
        raise DataPipelineError(
            f"The fingerprint function of `{table}` failed: {type(error).__name__}: {error}. "
            "Correct it, or run with cache validation mode `ignore_fresh_input`."
        ) from error


def digests(steps: Sequence[Step]) -> str:
    """Return the fingerprints as text, for a run's tag; see `SOURCES_TAG`."""
    found = {
        str(item.key[1].whole): item.identity.source
        for step in steps
        for item in step.computations
        if item.identity.source is not None
    }
    return json.dumps(found, sort_keys=True)


def declared_sources(graph: Any) -> dict[str, FingerprintOfInstance]:
    """Return the fingerprint functions that the assets of a graph declare."""
    found = {}
    for key in graph.materializable_asset_keys:
        function = fingerprint_function(graph.get(key).metadata)
        if function is not None:
            found["/".join(key.path)] = function
    return found
