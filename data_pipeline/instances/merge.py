"""How layers of configuration merge: mappings merge, lists replace, null deletes.

Layers are read from the least to the most specific. A null (`None`) takes away what the layers
before it have set, so that the default holds again.
"""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, TypeAlias

Tree: TypeAlias = Mapping[str, Any]


class Located(NamedTuple):
    """A value that is not a mapping, and the key path at which it stands in the file."""

    value: Any
    key: str


def locate(tree: Tree, key: str) -> dict[str, Any]:
    """Give the tree with every value (but for mappings and nulls) as a `Located`.

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
    """Give `base` overridden by `over`; neither is changed, and the result holds no null key."""
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
