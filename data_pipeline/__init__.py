"""One Dagster pipeline as isolated instances (full, midi, mini) in one PostgreSQL database.

All that the author of a pipeline needs is imported from here, and loaded when it is asked for.
"""

import importlib
from typing import TYPE_CHECKING, Any

from data_pipeline import deprecated_imports

if TYPE_CHECKING:
    from data_pipeline import estimates as estimates
    from data_pipeline import testing as testing
    from data_pipeline.assembly import (
        check_samples as check_samples,
    )
    from data_pipeline.assembly import (
        instance_definitions as instance_definitions,
    )
    from data_pipeline.assembly import (
        instance_resources as instance_resources,
    )
    from data_pipeline.authoring.copy_inputs import InputCopy as InputCopy
    from data_pipeline.authoring.copy_inputs import copy_inputs as copy_inputs
    from data_pipeline.authoring.stage import Stage as Stage
    from data_pipeline.difference.checks import compared_with as compared_with
    from data_pipeline.difference.diff import diff as diff
    from data_pipeline.difference.tables_of_versions import read_stage as read_stage
    from data_pipeline.difference.tables_of_versions import read_table as read_table
    from data_pipeline.instances.configuration import load_configuration as load_configuration
    from data_pipeline.instances.partitions import (
        INSTANCE_PARTITIONS as INSTANCE_PARTITIONS,
    )
    from data_pipeline.instances.partitions import (
        RAW_TO_SAMPLED as RAW_TO_SAMPLED,
    )
    from data_pipeline.io_manager.instance_resource import InstanceResource as InstanceResource
    from data_pipeline.memo.executor import memoised as memoised
    from data_pipeline.memo.other_io_managers import (
        shared_output as shared_output,
    )
    from data_pipeline.results.sql_query import (
        sql_file as sql_file,
    )
    from data_pipeline.results.sql_query import (
        sql_query as sql_query,
    )
    from data_pipeline.sampling.checks.asset_checks import table_checks as table_checks
    from data_pipeline.sampling.copy_filtered_inputs import (
        copy_filtered_inputs as copy_filtered_inputs,
    )
    from data_pipeline.sampling.report.asset import (
        sampled_inputs_with_report as sampled_inputs_with_report,
    )
    from data_pipeline.sampling.sampled_inputs import sampled_inputs as sampled_inputs
    from data_pipeline.sources.database_tables import database_tables as database_tables
    from data_pipeline.sources.database_tables import file_tables as file_tables
    from data_pipeline.sources.fingerprints import (
        fingerprint_of_files as fingerprint_of_files,
    )
    from data_pipeline.sources.fingerprints import (
        fingerprint_of_frame as fingerprint_of_frame,
    )
    from data_pipeline.sources.fingerprints import (
        fingerprint_of_table as fingerprint_of_table,
    )
    from data_pipeline.sources.fingerprints import (
        outside_input as outside_input,
    )
    from data_pipeline.store.several_tables import Tables as Tables
    from data_pipeline.store.table_properties import (
        ForeignKey as ForeignKey,
    )
    from data_pipeline.store.table_properties import (
        Table as Table,
    )
    from data_pipeline.store.table_properties import (
        View as View,
    )
    from data_pipeline.store.table_properties import (
        table_properties as table_properties,
    )

_PUBLIC = {
    "ForeignKey": "data_pipeline.store.table_properties",
    "INSTANCE_PARTITIONS": "data_pipeline.instances.partitions",
    "InputCopy": "data_pipeline.authoring.copy_inputs",
    "InstanceResource": "data_pipeline.io_manager.instance_resource",
    "RAW_TO_SAMPLED": "data_pipeline.instances.partitions",
    "Stage": "data_pipeline.authoring.stage",
    "Table": "data_pipeline.store.table_properties",
    "Tables": "data_pipeline.store.several_tables",
    "View": "data_pipeline.store.table_properties",
    "check_samples": "data_pipeline.assembly",
    "compared_with": "data_pipeline.difference.checks",
    "copy_inputs": "data_pipeline.authoring.copy_inputs",
    "copy_filtered_inputs": "data_pipeline.sampling.copy_filtered_inputs",
    "database_tables": "data_pipeline.sources.database_tables",
    "diff": "data_pipeline.difference.diff",
    "file_tables": "data_pipeline.sources.database_tables",
    "fingerprint_of_files": "data_pipeline.sources.fingerprints",
    "fingerprint_of_frame": "data_pipeline.sources.fingerprints",
    "fingerprint_of_table": "data_pipeline.sources.fingerprints",
    "instance_definitions": "data_pipeline.assembly",
    "instance_resources": "data_pipeline.assembly",
    "load_configuration": "data_pipeline.instances.configuration",
    "memoised": "data_pipeline.memo.executor",
    "outside_input": "data_pipeline.sources.fingerprints",
    "read_stage": "data_pipeline.difference.tables_of_versions",
    "read_table": "data_pipeline.difference.tables_of_versions",
    "sampled_inputs": "data_pipeline.sampling.sampled_inputs",
    "sampled_inputs_with_report": "data_pipeline.sampling.report.asset",
    "shared_output": "data_pipeline.memo.other_io_managers",
    "sql_file": "data_pipeline.results.sql_query",
    "sql_query": "data_pipeline.results.sql_query",
    "table_checks": "data_pipeline.sampling.checks.asset_checks",
    "table_properties": "data_pipeline.store.table_properties",
}
_MODULES = frozenset({"estimates", "testing"})

__all__ = [*_PUBLIC, *_MODULES]  # pyright: ignore[reportUnsupportedDunderAll]

deprecated_imports.install()


def __getattr__(name: str) -> Any:
    # Dagster takes a second to import, which the command line need not wait for.
    if name in _MODULES:
        return importlib.import_module(f"{__name__}.{name}")
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_PUBLIC[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
