"""Recording what is reused where Dagster's storage does not know it as it is."""

from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import dagster as dg

from data_pipeline.dagster_internals import StepMaterializationData
from data_pipeline.database.connection import Database
from data_pipeline.database.identifiers import StageTable
from data_pipeline.instances import Instance
from data_pipeline.memo.deciding.decisions import Computation, Key, Known
from data_pipeline.memo.run_steps import RunSteps
from data_pipeline.store import staging
from data_pipeline.store.catalog import WITHOUT_VALUE, CatalogRow
from data_pipeline.store.lookup import committed

_TEMPORARY_HOME = ".tmp_dagster_home_"
"""How Dagster names the storage of a command that is run without DAGSTER_HOME."""

_DATA_VERSION = "dagster/data_version"
_CODE_VERSION = "dagster/code_version"
_INPUT_VERSION = "dagster/input_data_version/"
_INPUT_POINTER = "dagster/input_event_pointer/"
_MADE_BY = "data_pipeline/made_by_run"
"""The run that has made what a later run records again."""


def is_temporary(storage: dg.DagsterInstance) -> bool:
    """Whether nobody will ever look at a storage: `dagster job execute` without DAGSTER_HOME."""
    return Path(storage.root_directory).name.startswith(_TEMPORARY_HOME)


def latest(
    storage: dg.DagsterInstance, key: dg.AssetKey, partition: str | None, until: int | None = None
) -> dg.EventLogRecord | None:
    """Return the last materialization of an asset for an instance that a storage knows.

    Args:
        storage: Where Dagster keeps events.
        key: The asset.
        partition: The instance; None: any of them.
        until: The last event that counts; None: all do.
    """
    records = dg.AssetRecordsFilter(
        asset_key=key,
        asset_partitions=None if partition is None else [partition],
        before_storage_id=None if until is None else until + 1,
    )
    return next(iter(storage.fetch_materializations(records, limit=1).records), None)


def version_tag(record: dg.EventLogRecord) -> str | None:
    """Return the data version that a materialization was recorded with."""
    return _tags(record).get(_DATA_VERSION)


class Recorder:
    """Records reused results of a run, each before anything that is made of it.

    Dagster takes what is made for out of date where its input is recorded later with other data.

    Args:
        storage: Where Dagster keeps events.
        database: The database of the instance.
        instance: The instance of the run.
        steps: The steps of the run.
        beside: Gives what the page of a table shows of other instances, see `side_by_side`.
    """

    def __init__(
        self,
        storage: dg.DagsterInstance,
        database: Database,
        instance: Instance,
        steps: RunSteps,
        beside: Callable[[StageTable, Mapping[str, Any]], dict[str, Any]],
    ) -> None:
        self._beside = beside
        self._storage = storage
        self._database = database
        self._instance = instance
        self._steps = steps
        self._recorded: set[Key] = set()
        self._seen: dict[Key, Mapping[str, str | None]] = {}
        self._fetched: dict[Key, dg.EventLogRecord] = {}

    def record(
        self,
        items: Iterable[Computation],
        known: Mapping[Key, Known],
        *,
        staged: Collection[Key] = (),
    ) -> None:
        """Record materializations of reused results that the storage does not know.

        Another person, or another storage, may have built them: then the UI would show them as
        missing or out of date although they are not.

        Args:
            items: The results, each after those that it is made from.
            known: What the catalogs know.
            staged: Those that were swapped in, and are not committed yet.
        """
        if is_temporary(self._storage):
            return
        new = []
        for item in items:
            versions = self._versions(item, known)
            is_seen = self._seen.get(item.key) == versions
            self._seen[item.key] = versions
            if not (is_seen or known[item.key].row.is_absent):
                new.append(item)
        self._fetched = self._last_of(new)
        for item in new:
            if not self._is_recorded(item, known[item.key].row):
                self._report(item, known, staged=item.key in staged)
        self._fetched = {}

    def record_again(self, items: Iterable[Computation], known: Mapping[Key, Known]) -> None:
        """Record them anew, but for those that were recorded in this run.

        In a run that fails, Dagster would show what it planned, and did not materialize, as failed.
        """
        if not is_temporary(self._storage):
            for item in items:
                row = known[item.key].row
                if item.key not in self._recorded and row.kind not in WITHOUT_VALUE:
                    self._report(item, known, staged=False)

    def record_in_run(
        self, items: Iterable[Computation], known: Mapping[Key, Known], run: dg.DagsterRun
    ) -> None:
        """Record them as materialized by their run, of a backfill: it fails without that.

        And so it does without the raw tables that the run leaves out, as their instance copies.
        """
        for item in items:
            row = known[item.key].row
            if not row.is_absent:
                step, said = self._steps.outputs[item.key].step, f"`{row.table}` is up to date"
                self._report_in_run(run, step, self._event_again(item, known), said)
        said = "Not loaded: this instance copies from another one what is made of it."
        partition = self._instance.partition_key
        for assets in self._steps.raw_loads.values():
            for key, step in assets.items():
                event = dg.AssetMaterialization(key, partition=partition, description=said)
                self._report_in_run(run, step, event, said)

    def _event_again(
        self, item: Computation, known: Mapping[Key, Known]
    ) -> dg.AssetMaterialization:
        """Return what to record of a reused result that the storage knows."""
        if known[item.key].row.kind in WITHOUT_VALUE:
            # Of what is not stored here, Dagster keeps the data version that it gave itself.
            found = self._latest(item.key)
            if found is not None and (event := found.asset_materialization) is not None:
                return dg.AssetMaterialization(
                    event.asset_key,
                    partition=event.partition,
                    description=event.description,
                    metadata=event.metadata,
                    tags={_MADE_BY: found.run_id, **_tags(found)},
                )
        return self._event(item, known)

    def _report_in_run(
        self, run: dg.DagsterRun, step: str, event: dg.AssetMaterialization, said: str
    ) -> None:
        reported = dg.DagsterEvent(
            event_type_value=dg.DagsterEventType.ASSET_MATERIALIZATION.value,
            job_name=run.job_name,
            message=said,
            event_specific_data=StepMaterializationData(event),
            step_key=step,
        )
        self._storage.report_dagster_event(reported, run.run_id)

    def _versions(self, item: Computation, known: Mapping[Key, Known]) -> Mapping[str, str | None]:
        """Return the tags by which Dagster tells what a result is and what it was made of."""
        row = known[item.key].row
        inputs = {
            _INPUT_VERSION + self._steps.keys[source].to_user_string(): known[
                source
            ].row.data_version
            for source in item.inputs
            if source in known  # of external ones, the version is not known
        }
        return {_DATA_VERSION: row.data_version, _CODE_VERSION: row.code_version, **inputs}

    def _is_recorded(self, item: Computation, row: CatalogRow) -> bool:
        found = self._latest(item.key)
        if found is None:
            return False
        tags = _tags(found)
        if row.kind in WITHOUT_VALUE and tags.get(_MADE_BY, found.run_id) == row.run_id:
            return True  # Dagster gives what is not stored here a data version of its own
        recorded = tags.get(_DATA_VERSION), tags.get(_CODE_VERSION)
        return recorded == (row.data_version, row.code_version) and not any(
            self._is_older(tags, source) for source in item.inputs
        )

    def _is_older(self, tags: Mapping[str, str], source: Key) -> bool:
        """Whether a materialization was recorded before its input was, with other data."""
        pointer = tags.get(_INPUT_POINTER + self._steps.keys[source].to_user_string())
        found = self._latest(source)
        if found is None or pointer is None or not pointer.isdigit():
            return False
        if found.storage_id <= int(pointer):
            return False
        before = self._latest(source, until=int(pointer))
        return before is not None and version_tag(before) != version_tag(found)

    def _last_of(self, items: Iterable[Computation]) -> dict[Key, dg.EventLogRecord]:
        """Return the last materializations of results and inputs, by one statement.

        Those whose last one is of another instance are not among them.
        """
        keys = {key for item in items for key in (item.key, *item.inputs)}
        wanted = {self._steps.keys[key] for key in keys}
        records = self._storage.get_asset_records(list(wanted)) if wanted else ()
        entries = [record.asset_entry for record in records]
        found = {entry.asset_key: entry.last_materialization_record for entry in entries}
        return {
            key: last
            for key in keys
            if (last := found.get(self._steps.keys[key])) is not None
            and last.partition_key == self._partition(key)
        }

    def _latest(self, key: Key, until: int | None = None) -> dg.EventLogRecord | None:
        if until is None and key in self._fetched:
            return self._fetched[key]
        return latest(self._storage, self._steps.keys[key], self._partition(key), until)

    def _partition(self, key: Key) -> str:
        """Return the partition key of a result: of slices, a run knows those of its own."""
        instance = self._instance if key[1].slice else self._steps.instances[key[0]]
        return instance.partition_key if key[1].slice else instance.name

    def _report(self, item: Computation, known: Mapping[Key, Known], *, staged: bool) -> None:
        self._storage.report_runless_asset_event(self._event(item, known, staged=staged))
        self._fetched.pop(item.key, None)
        self._recorded.add(item.key)

    def _event(
        self, item: Computation, known: Mapping[Key, Known], *, staged: bool = False
    ) -> dg.AssetMaterialization:
        row = known[item.key].row
        versions = self._versions(item, known)
        tags = {name: version for name, version in versions.items() if version is not None}
        for source in item.inputs:
            if source in known:
                found = self._latest(source)
                is_same = found and version_tag(found) == known[source].row.data_version
                pointer = str(found.storage_id) if found and is_same else "NULL"
                tags[_INPUT_POINTER + self._steps.keys[source].to_user_string()] = pointer
        return dg.AssetMaterialization(
            self._steps.keys[item.key],
            partition=self._partition(item.key),
            description="Up to date in the database; recorded from its catalog.",
            metadata=self._metadata(row, staged=staged),
            tags=tags,
        )

    def _metadata(self, row: CatalogRow, *, staged: bool) -> dict[str, Any]:
        facts = self._facts(row, staged=staged) if row.is_relation else {"bytes": row.bytes}
        origin = {
            "computed by run": row.run_id,
            "computed by": f"{row.username} on {row.host}",
            "computed at": row.committed_at and row.committed_at.isoformat(),
        }
        beside = self._beside(row.table, facts)
        found = {**facts, **beside, **origin}
        return {name: value for name, value in found.items() if value is not None}

    def _facts(self, row: CatalogRow, *, staged: bool) -> dict[str, Any]:
        from data_pipeline.results.ui_metadata import read_facts, relation_metadata

        place = committed(self._instance, row.table)
        if staged:
            place = staging.relation_to_read(self._instance, row)
        with self._database.begin() as connection:
            facts = read_facts(connection, place, row.declared.primary_key)
            return relation_metadata(connection, self._instance, row, facts)


def _tags(record: dg.EventLogRecord) -> Mapping[str, str]:
    event = record.asset_materialization
    return (event.tags if event else None) or {}
