"""Telling Dagster what it does not know yet: tables that are up to date in the database."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import dagster as dg

from data_pipeline.caching.decisions import Computation, Key, Known
from data_pipeline.tables.catalog import WITHOUT_VALUE, CatalogRow

_TEMPORARY_HOME = ".tmp_dagster_home_"
"""How Dagster names the storage of a command that is run without DAGSTER_HOME."""

_DATA_VERSION = "dagster/data_version"
_CODE_VERSION = "dagster/code_version"
_INPUT_VERSION = "dagster/input_data_version/"
_INPUT_POINTER = "dagster/input_event_pointer/"


def record_reused(
    storage: dg.DagsterInstance,
    partition: str,
    computations: Iterable[Computation],
    known: Mapping[Key, Known],
    keys: Mapping[Key, dg.AssetKey],
) -> None:
    """Records materializations of reused tables that this Dagster storage does not know.

    Another person, or another storage, may have built them: then the UI would show them as missing
    or out of date although they are not.
    """
    if _is_deleted_after_the_run(storage):
        return
    for item in computations:
        key, row = keys[item.key], known[item.key].row
        if row.is_absent:
            continue
        if not _is_recorded(storage, key, partition, row):
            event = _materialization(key, partition, row, item, known, keys)
            storage.report_runless_asset_event(event)


def _is_deleted_after_the_run(storage: dg.DagsterInstance) -> bool:
    """Whether nobody will ever look at a storage: `dagster job execute` without DAGSTER_HOME."""
    return Path(storage.root_directory).name.startswith(_TEMPORARY_HOME)


def _is_recorded(
    storage: dg.DagsterInstance, key: dg.AssetKey, partition: str, row: CatalogRow
) -> bool:
    found = storage.fetch_materializations(
        dg.AssetRecordsFilter(asset_key=key, asset_partitions=[partition]), limit=1
    ).records
    event = found[0].asset_materialization if found else None
    if event is None or event.tags is None:
        return False
    if row.kind in WITHOUT_VALUE and found[0].run_id == row.run_id:
        return True  # Dagster gives what is not stored here a data version of its own
    recorded = event.tags.get(_DATA_VERSION), event.tags.get(_CODE_VERSION)
    return recorded == (row.data_version, row.code_version)


def _materialization(
    key: dg.AssetKey,
    partition: str,
    row: CatalogRow,
    item: Computation,
    known: Mapping[Key, Known],
    keys: Mapping[Key, dg.AssetKey],
) -> dg.AssetMaterialization:
    tags = {_DATA_VERSION: row.data_version}
    if row.code_version is not None:
        tags[_CODE_VERSION] = row.code_version
    for source in item.inputs:
        if source not in known:
            continue  # external, so its version is not known
        name = keys[source].to_user_string()
        tags[_INPUT_VERSION + name] = known[source].row.data_version
        tags[_INPUT_POINTER + name] = "NULL"
    return dg.AssetMaterialization(
        key,
        partition=partition,
        description="Up to date in the database; recorded from its catalog.",
        metadata=_metadata(row),
        tags=tags,
    )


def _metadata(row: CatalogRow) -> dict[str, Any]:
    facts = {
        "dagster/row_count": row.row_count,
        "bytes": row.bytes,
        "computed by run": row.run_id,
        "computed by": f"{row.username} on {row.host}",
        "computed at": row.committed_at and row.committed_at.isoformat(),
    }
    return {name: value for name, value in facts.items() if value is not None}
