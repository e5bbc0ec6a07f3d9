"""WHICH copy? Configuration, partitions and the instance resource.

Partitions are in `data_pipeline.instances.partitions`, apart because they import Dagster.
"""

from data_pipeline.instances.configuration import Configuration, load_configuration
from data_pipeline.instances.environment import DatabaseUrl
from data_pipeline.instances.instance import CopyFilter, Instance
from data_pipeline.instances.settings.stores import BlobStore, CacheValidation, TableStore

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
