"""What an asset depends on, compared with what its result was computed from, in words."""

from collections.abc import Iterable, Mapping

from data_pipeline.caching.changed_parts import changed_parts
from data_pipeline.tables.identity import Identity

_DIGESTS = {
    "config": "its op configuration changed",
    "wiring": "other inputs arrive at its parameters",
    "declared": "its declared table properties changed",
    "attrs": "the attrs of the instance changed",
}


def change(
    name: str, now: Identity, before: Identity, *, code: bool, source: bool, fresh: bool
) -> str | None:
    """Says what differs from an earlier computation; None where nothing does.

    Args:
        name: Name of the asset.
        now: What its result depends on.
        before: What it was computed from.
        code: Whether its code counts.
        source: Whether the fingerprint of its source counts.
        fresh: Whether input from outside counts as changed anyway.
    """
    if now.takes_outside_input:
        if fresh:
            return "takes input from outside (force_fresh_input)"
        if source and (reason := _source_change(now, before)):
            return reason
    if code and (reason := _code_change(name, now, before)):
        return reason
    for item, reason in _DIGESTS.items():
        if getattr(now, item) != getattr(before, item):
            return reason
    return _resource_change(now.resources, before.resources)


def _resource_change(now: Mapping[str, str | None], before: Mapping[str, str | None]) -> str | None:
    if unstable := _quoted(key for key, digest in now.items() if digest is None):
        return f"resource {unstable} has no stable identity"
    if changed := _quoted(key for key in now.keys() & before.keys() if now[key] != before[key]):
        return f"configuration of resource {changed} changed"
    if added := _quoted(now.keys() - before.keys()):
        return f"configuration of resource {added} was not recorded"
    if gone := _quoted(before.keys() - now.keys()):
        return f"resource {gone} is not asked for any more"
    return None


def _quoted(keys: Iterable[str]) -> str:
    return ", ".join(f"`{key}`" for key in sorted(keys))


def _source_change(now: Identity, before: Identity) -> str | None:
    if now.source is None:
        return now.source_problem
    if before.source is None:
        return "the fingerprint of its source was not recorded"
    return None if now.source == before.source else "its source has new data"


def _code_change(name: str, now: Identity, before: Identity) -> str | None:
    if now.code_version is None:
        return f"code of `{name}` has no version"
    if now.code_version == before.code_version:
        return None
    if now.code_parts and before.code_parts:
        parts = ", ".join(changed_parts(before.code_parts, now.code_parts))
        return f"code of `{name}` changed: {parts}"
    return f"code of `{name}` changed: version {before.code_version} to {now.code_version}"
