"""WHICH copy? Configuration, partitions and the instance resource.

Partitions are in `data_pipeline.instances.partitions`, apart because they import Dagster.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from data_pipeline.instances.configuration import Configuration, load_configuration
    from data_pipeline.instances.instance import CopyFilter, Instance
    from data_pipeline.instances.settings.caching_and_kept_versions import CacheValidation
    from data_pipeline.instances.settings.database_url import DatabaseUrl
    from data_pipeline.instances.settings.stores_and_commits import BlobStore, TableStore

__all__ = [
    "BlobStore",
    "CacheValidation",
    "Configuration",
    "CopyFilter",
    "DatabaseUrl",
    "Instance",
    "TableStore",
    "load_configuration",
]

_PLACES = {
    "BlobStore": "settings.stores_and_commits",
    "CacheValidation": "settings.caching_and_kept_versions",
    "Configuration": "configuration",
    "CopyFilter": "instance",
    "DatabaseUrl": "settings.database_url",
    "Instance": "instance",
    "TableStore": "settings.stores_and_commits",
    "load_configuration": "configuration",
}


def __getattr__(name: str) -> Any:
    # The command line asks for little of this room, and models of settings take long to import.
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_PLACES[name]}"), name)
