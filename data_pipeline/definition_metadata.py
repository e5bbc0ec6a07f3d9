"""What this package keeps in the metadata of assets: values for it, words for people."""

from collections.abc import Mapping
from typing import Any

from data_pipeline.dagster_internals import ObjectMetadataValue


def kept(value: Any, words: str) -> ObjectMetadataValue:
    """Return a metadata value of which the web UI shows the words alone."""
    return ObjectMetadataValue(words, instance=value)


def kept_value(metadata: Mapping[str, Any], key: str) -> Any:
    """Return what is kept under a key, also where it stands there plainly; None without any."""
    value = metadata.get(key)
    if isinstance(value, ObjectMetadataValue):
        return value.instance
    return getattr(value, "value", value)
