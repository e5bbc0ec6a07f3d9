"""Saying which assets read values that code versions cannot see, and what to do about it."""

import warnings
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

import dagster as dg

from data_pipeline.tables.identity import SOURCE_KEY

READS_KEY = "data_pipeline/reads"
"""The metadata of an asset whose code reads such values: where, and what."""

Reads = Sequence[tuple[str, str]]
"""Places (`file:line`), and what is read there."""


class UnseenInputWarning(UserWarning):
    """An asset's code reads a value when it runs, which its code version cannot see."""


def takes_outside_input(asset: dg.AssetsDefinition, raw: Collection[str]) -> bool:
    """Whether an asset takes input from outside anyway, or one that is computed together with it.

    Args:
        asset: The asset.
        raw: The raw tables, which do so whatever they declare.
    """
    return any(
        SOURCE_KEY in spec.metadata or spec.key.to_user_string() in raw for spec in asset.specs
    )


def warn_of_unseen_inputs(reads: Mapping[dg.AssetKey, Reads], stacklevel: int) -> None:
    """Warn once for each place, of all assets that read there."""
    for line in _lines(reads.items()):
        warnings.warn(line, UnseenInputWarning, stacklevel=stacklevel + 1)


def unseen_inputs(graph: Any) -> list[str]:
    """Return the same of the assets of a graph, as their metadata tell it."""
    found = []
    for key in graph.materializable_asset_keys:
        reads = graph.get(key).metadata.get(READS_KEY, ())
        found.append((key, [tuple(item) for item in getattr(reads, "data", reads)]))
    return [*_lines(found)]


def _lines(reads: Iterable[tuple[dg.AssetKey, Reads]]) -> Iterator[str]:
    users: dict[tuple[str, str], list[str]] = {}
    for key, found in reads:
        for read in found:
            users.setdefault(read, []).append(key.to_user_string())
    for (place, what), keys in sorted(users.items()):
        yield (
            f"{place}: {what} is read at run time, by {', '.join(sorted(keys))}. Code versions do "
            "not cover its value (nor that of a file beside the code), so a change goes unnoticed. "
            "Declare it: metadata=outside_input(lambda: ...) with a fingerprint that changes when "
            "the value does, or metadata=outside_input() to run always. If no result depends on "
            "it, give an explicit code_version."
        )
