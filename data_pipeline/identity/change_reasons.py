"""What an asset depends on, compared with what its result was computed from, in words."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping

from data_pipeline.identity.computation import Identity

_WORDS = {"function": "helper", "own function": "its own code", "SQL file": "SQL file"}
_ORDINAL = re.compile(r"#\d+")


def changed_parts(old: Mapping[str, str], new: Mapping[str, str]) -> list[str]:
    """Say which parts of an asset's code differ: "helper `parse_wind`", "package `x` is new".

    Args:
        old: The parts of the earlier code version.
        new: The parts of the present one.

    Returns:
        A phrase for each: first what changed, then what is new, then what is not used any more.
        Names are short where that is clear. Empty when nothing differs.
    """
    differing = [name for name in {**old, **new} if old.get(name) != new.get(name)]
    short = Counter(_short(name) for name in differing)
    changed, added, removed = [], [], []
    for name in sorted(differing, key=lambda name: (_rank({**old, **new}[name]), name)):
        shown = _short(name) if short[_short(name)] == 1 else name
        if name not in old:
            added.append(f"{_phrase(shown, new[name])} is new")
        elif name not in new:
            removed.append(f"{_phrase(shown, old[name])} is not used any more")
        else:
            changed.append(_phrase(shown, new[name], old[name]))
    return changed + added + removed


def _phrase(shown: str, said: str, before: str | None = None) -> str:
    kind, _, content = said.rpartition(" ")
    if kind == "value":
        function, _, variable = shown.partition(": ")
        return f"value {variable} of `{function}`" if variable else f"value `{shown}`"
    if kind == "package" and before is not None:
        return f"package `{shown}` ({before.rpartition(' ')[2]} to {content})"
    return f"{_WORDS.get(kind, kind)} `{shown}`"


def _rank(said: str) -> int:
    return 0 if said.startswith("own function") else 1


def _short(name: str) -> str:
    """Return the last part of a name; what a factory made keeps the name of the variable."""
    name, separator, variable = name.partition(": ")
    if "/" in name:
        return name.rpartition("/")[2]
    return _ORDINAL.sub("", name).rpartition(".")[2] + separator + variable


_DIGESTS = {
    "config": "its op configuration changed",
    "wiring": "other inputs arrive at its parameters",
    "declared": "its declared table properties changed",
    "attrs": "the attrs of the instance changed",
}


def change(
    name: str, now: Identity, before: Identity, *, code: bool, source: bool, fresh: bool
) -> str | None:
    """Say what differs from an earlier computation; None where nothing does.

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
    return _resource_change(now.resources, before.resources) or _setting_change(now, before)


def _setting_change(now: Identity, before: Identity) -> str | None:
    new, old = now.settings, before.settings
    if changed := _quoted(key for key in {**new, **old} if new.get(key) != old.get(key)):
        return f"{changed} of database, role or client changed"
    return None


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
