"""How layers of configuration merge: mappings merge, lists replace, null deletes.

Layers are read from the least to the most specific. A null (`None`) takes away what the layers
before it have set, so that the default holds again.
"""

import difflib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from data_pipeline.errors import ConfigurationError

Tree: TypeAlias = Mapping[str, Any]


class Located(NamedTuple):
    """A value that is not a mapping, and the key path at which it stands in the file."""

    value: Any
    key: str


def locate(tree: Tree, key: str) -> dict[str, Any]:
    """Return the tree with every value (but for mappings and nulls) as a `Located`.

    Merged layers can then still say where each value was written.
    """
    located: dict[str, Any] = {}
    for name, value in tree.items():
        path = f"{key}.{name}" if key else f"{name}"
        if isinstance(value, Mapping):
            located[name] = locate(value, path)
        else:
            located[name] = value if value is None else Located(value, path)
    return located


def merge(base: Tree, over: Tree) -> dict[str, Any]:
    """Return `base` overridden by `over`; neither is changed, and the result holds no null key."""
    merged = {name: value for name, value in base.items() if value is not None}
    for name, value in over.items():
        if value is None:
            merged.pop(name, None)
        elif isinstance(value, Mapping):
            below = merged.get(name)
            merged[name] = merge(below if isinstance(below, Mapping) else {}, value)
        else:
            merged[name] = value
    return merged


def merge_all(layers: Iterable[Tree]) -> dict[str, Any]:
    """Merge layers from the least to the most specific."""
    merged: dict[str, Any] = {}
    for layer in layers:
        merged = merge(merged, layer)
    return merged


def problem(file: Path, key: str, what: str, remedy: str) -> ConfigurationError:
    """Return the error for one key of the configuration file.

    Args:
        file: The configuration file.
        key: Dotted path of the key in the file; empty for the file as a whole.
        what: What is wrong there, without a full stop. Must not quote a part of a database URL.
        remedy: What the user can do about it: one or more sentences.
    """
    where = f"{file}: {key}" if key else f"{file}"
    return ConfigurationError(f"{where}: {what}. {remedy}")


def listing(words: Iterable[str]) -> str:
    """Return the words as a readable list, in their order."""
    return ", ".join(f"'{word}'" for word in words) or "none"


def suggestion(word: str, known: Iterable[str]) -> str:
    """Return the remedy for an unknown word: the closest known one, and all of them."""
    candidates = list(known)
    close = difflib.get_close_matches(word, candidates, n=1)
    question = f"Did you mean '{close[0]}'? " if close else ""
    return f"{question}Known here: {listing(candidates)}."


def shown(value: object) -> str:
    """Return value for an error text, or a stand-in where it looks like a URL with a password."""
    text = repr(value)
    if "://" in text or "@" in text:
        return "the value (not shown, it may hold a password)"
    return text if len(text) <= 80 else f"{text[:77]}..."
