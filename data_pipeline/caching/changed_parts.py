"""Two code versions compared, in words."""

import re
from collections import Counter
from collections.abc import Mapping

_WORDS = {"function": "helper", "own function": "its own code", "SQL file": "SQL file"}
_ORDINAL = re.compile(r"#\d+")


def changed_parts(old: Mapping[str, str], new: Mapping[str, str]) -> list[str]:
    """Says which parts of an asset's code differ: "helper `parse_wind`", "package `x` is new".

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
    """Gives the last part of a name; what a factory made keeps the name of the variable."""
    name, separator, variable = name.partition(": ")
    if "/" in name:
        return name.rpartition("/")[2]
    return _ORDINAL.sub("", name).rpartition(".")[2] + separator + variable
