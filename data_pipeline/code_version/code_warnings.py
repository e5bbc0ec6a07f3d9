"""Warnings of what code versions do not cover: code that they cannot follow, values of run time."""

import warnings
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

import dagster as dg

from data_pipeline.code_version.nondeterminism import SOURCE_KEY
from data_pipeline.definition_metadata import kept_value

READS_KEY = "data_pipeline/reads"
"""The metadata of an asset whose code reads such values: where, and what."""

Places = Sequence[tuple[str, str]]
"""Places in code (`file:line`), and what is there."""


class UnresolvedCodeWarning(UserWarning):
    """A code version does not cover some code, because its source does not tell what it means."""


class UnseenInputWarning(UserWarning):
    """An asset's code reads a value when it runs, which its code version cannot see."""


def warn_of_unresolved(unresolved: Mapping[dg.AssetKey, Places], stacklevel: int) -> None:
    """Warn once for each place that versions do not cover, of all assets that reach it."""
    for (place, what), keys in _by_place(unresolved.items()).items():
        warnings.warn(
            f"{place}: code versions do not cover {what}. A change there goes unnoticed by "
            f"{', '.join(keys)}. Write it so that the source tells it, or give these assets an "
            "explicit code_version.",
            UnresolvedCodeWarning,
            stacklevel=stacklevel + 1,
        )


def takes_outside_input(asset: dg.AssetsDefinition, raw: Collection[str]) -> bool:
    """Whether an asset takes input from outside anyway, or one that is computed together with it.

    Args:
        asset: The asset.
        raw: The raw tables, which do so whatever they declare.
    """
    return any(
        SOURCE_KEY in spec.metadata or spec.key.to_user_string() in raw for spec in asset.specs
    )


def warn_of_unseen_inputs(reads: Mapping[dg.AssetKey, Places], stacklevel: int) -> None:
    """Warn once for each place, of all assets that read there."""
    for line in _lines(reads.items()):
        warnings.warn(line, UnseenInputWarning, stacklevel=stacklevel + 1)


def unseen_inputs(graph: Any) -> list[str]:
    """Return the same of the assets of a graph, as their metadata tell it."""
    found = []
    for key in graph.materializable_asset_keys:
        reads = kept_value(graph.get(key).metadata, READS_KEY) or ()
        found.append((key, [tuple(item) for item in reads]))
    return [*_lines(found)]


def _lines(reads: Iterable[tuple[dg.AssetKey, Places]]) -> Iterator[str]:
    for (place, what), keys in sorted(_by_place(reads).items()):
        yield (
            f"{place}: {what} is read at run time, by {', '.join(sorted(keys))}. Code versions do "
            "not cover its value (nor that of a file beside the code), so a change goes unnoticed. "
            "Declare it: metadata=outside_input(lambda: ...) with a fingerprint that changes when "
            "the value does, or metadata=outside_input() to run always. If no result depends on "
            "it, give an explicit code_version."
        )


def _by_place(found: Iterable[tuple[dg.AssetKey, Places]]) -> dict[tuple[str, str], list[str]]:
    """Return the assets that reach each place."""
    users: dict[tuple[str, str], list[str]] = {}
    for key, places in found:
        for place in places:
            users.setdefault(place, []).append(key.to_user_string())
    return users
