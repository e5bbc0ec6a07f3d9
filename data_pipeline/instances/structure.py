"""Checks which keys stand where in the configuration file, before any value is looked at."""

from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeAlias

from data_pipeline.instances.problems import problem, shown, suggestion
from data_pipeline.instances.sample_settings import CheckSettings, RootSettings, SampleSettings
from data_pipeline.instances.settings import (
    BlobStore,
    CacheValidation,
    CopyAttrs,
    InstanceKeys,
    TableStore,
)

Shape: TypeAlias = Mapping[str, "Shape | None"]
"""The keys that a mapping may have, each with the shape of its value; `None` stands for a single
value (which settings check later), and the key `*` for every other key."""


def _keys(*names: str) -> Shape:
    return dict.fromkeys(names)


_TABLE_STORE = _keys(*TableStore.model_fields, "url_attrs_file")
_BLOB_STORE: Shape = {**_keys(*BlobStore.model_fields), "serializers": {"*": None}}
_FREE: Shape = {}
_SAMPLE: Shape = {
    **_keys(*SampleSettings.model_fields),
    "roots": {"*": _keys(*RootSettings.model_fields)},
    "cover": _FREE,  # a word or a mapping: its own validator looks at it
    "pins": _FREE,
    "checks": dict.fromkeys(CheckSettings.model_fields, _FREE),  # a number or a mapping, likewise
}
_ATTRS: Shape = {"*": _FREE, "sample": _SAMPLE}

_TECHNICAL_SETUP: Shape = {
    "table_store": _TABLE_STORE,
    "blob_store": _BLOB_STORE,
    "cache_validation": _keys(*CacheValidation.model_fields),
}
_FILE: Shape = {
    "name": None,
    "tracked_packages": None,
    "table_store_connections": {
        "*": _keys(*(key for key in _TABLE_STORE if key != "table_store_connection"))
    },
    "blob_store_connections": {"*": _keys("base_path")},
    "technical_setups": {"*": _TECHNICAL_SETUP},
    "instances": {"*": {**_keys(*InstanceKeys.model_fields), **_TECHNICAL_SETUP, "attrs": _ATTRS}},
}


def check_structure(
    file: Path, content: Mapping[Any, Any], shape: Shape = _FILE, key: str = ""
) -> None:
    """Check the keys of a part of the file.

    Raises:
        ConfigurationError: A key is unknown or no text, or a value should be a mapping and is none.
    """
    for name, value in content.items():
        path = f"{key}.{name}" if key else f"{name}"
        if not isinstance(name, str):
            raise problem(file, key, f"the key {name!r} is not a text", f"Write it as '{name}'.")
        if name not in shape and "*" not in shape:
            raise problem(file, key, f"unknown key {shown(name)}", suggestion(name, shape))
        if shape is _ATTRS:
            _check_attr(file, name, path)
        below = shape[name] if name in shape else shape["*"]
        if value is None or below is _FREE:
            continue
        if below is None:
            if isinstance(value, Mapping):
                what = "a single value is needed here, not a mapping"
                raise problem(file, path, what, "Write 'key: value' in one line.")
            continue
        if not isinstance(value, Mapping):
            what = f"a mapping of keys is needed here, not a value of type {type(value).__name__}"
            entries = "Write 'name: value' entries below it."
            raise problem(file, path, what, entries if "*" in below else suggestion("", below))
        check_structure(file, value, below, path)


def _check_attr(file: Path, name: str, path: str) -> None:
    """Refuse a slip of the pen in an attr of ours; without this it would be taken for a free one.

    `copy_filter_count`, say, would let a small instance copy everything.
    """
    known = CopyAttrs.model_fields
    if name not in known and get_close_matches(name, known, n=1, cutoff=0.9):
        what = f"the key {shown(name)} has no meaning, but is too much like one that has"
        raise problem(file, path, what, suggestion(name, known))
