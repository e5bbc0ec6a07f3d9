"""What the checks of a run say: written to the catalog, and recorded again of what is reused."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import cache
from typing import Any

import dagster as dg

from data_pipeline.dagster_internals import AssetCheckEvaluationTargetMaterializationData
from data_pipeline.database.connection import Database
from data_pipeline.database.identifiers import StageTable
from data_pipeline.instances import Instance
from data_pipeline.memo.recording import latest, version_tag
from data_pipeline.memo.run_steps import RunSteps, node_name
from data_pipeline.store import check_results
from data_pipeline.store.check_results import CheckResult

# The event of a check outside of a step is made by hand, for which Dagster has no public form.
# `data_pipeline_tests/memo/test_checks_of_reused_tables.py` fails when it changes.

_ENDS = (dg.DagsterEventType.STEP_SUCCESS, dg.DagsterEventType.STEP_FAILURE)


class CheckResults:
    """What checks have said, in this run and before.

    Args:
        database: The database of the instance.
        instance: The instance of the run.
        steps: The steps of the run.
        versions: The code versions of checks, by `str` of their keys.
    """

    def __init__(
        self, database: Database, instance: Instance, steps: RunSteps, versions: Mapping[str, str]
    ) -> None:
        self._versions = versions
        self._database = database
        self._instance = instance
        self._steps = steps
        self._known: Mapping[tuple[str, StageTable, str], CheckResult] | None = None
        self._found: dict[str, dict[dg.AssetCheckKey, dg.AssetCheckEvaluation]] = defaultdict(dict)
        self._evaluated: set[dg.AssetCheckKey] = set()

    @property
    def known(self) -> Mapping[tuple[str, StageTable, str], CheckResult]:
        """What the catalogs know of what is committed, by instance id and check."""
        if self._known is None:
            with self._database.begin() as connection:
                self._known = check_results.last(connection, self._steps.instances.values())
        return self._known

    def look_anew(self) -> None:
        """Ask the catalogs when something of them is needed next."""
        self._known = None

    def note(
        self, event: dg.DagsterEvent, run_id: str, version_of: Callable[[StageTable], str | None]
    ) -> None:
        """Take note of an event of a step; write what its checks have said when it ends.

        Args:
            event: The event.
            run_id: The run.
            version_of: Gives the data version of a table that the run does not compute.
        """
        if event.step_key is None:
            return
        if event.event_type is dg.DagsterEventType.ASSET_CHECK_EVALUATION:
            evaluation = event.asset_check_evaluation_data
            self._found[event.step_key][evaluation.asset_check_key] = evaluation
        elif event.event_type in _ENDS:
            found: dict[dg.AssetCheckKey, dg.AssetCheckEvaluation | None] = {}
            if event.event_type is dg.DagsterEventType.STEP_SUCCESS:
                found |= dict.fromkeys(self._of_step(event.step_key))
            found |= self._found.pop(event.step_key, {})
            self._evaluated |= {key for key, said in found.items() if said is not None}
            part = self._instance.slice
            results = [
                replace(
                    _result(key, part, said, run_id, version_of),
                    code_version=self._versions.get(str(key)),
                )
                for key, said in found.items()
            ]
            if results:
                with self._database.begin() as connection:
                    check_results.put(connection, self._instance, results)
                self.look_anew()

    def _of_step(self, step: str) -> Iterable[dg.AssetCheckKey]:
        name = node_name(step)
        # Of a graph asset, a step does not say which of its checks it evaluates.
        return self._steps.check_keys.get(name, ()) if step == name else ()

    def record_last(self, storage: dg.DagsterInstance, run_id: str) -> None:
        """Record again the last results of checks that the run planned and did not evaluate.

        Dagster would show them as skipped, or as failed together with the run.
        """
        planned = {key: name for name, keys in self._steps.check_keys.items() for key in keys}
        missing = {key: step for key, step in planned.items() if key not in self._evaluated}
        if not missing:
            return
        self.look_anew()
        run = storage.get_run_by_id(run_id)
        made = cache(lambda key: latest(storage, key, self._instance.partition_key))
        newest = cache(lambda key: latest(storage, key, None))
        is_known = cache(storage.has_run)
        for key, step in missing.items():
            last = self._last(key, step)
            if last is None or last.evaluation is None or run is None:
                continue
            target = made(key.asset_key)
            if target is not None and version_tag(target) != last.data_version:
                if target.run_id == run_id:
                    continue  # what was made now was not checked
                target = None
            said = dg.deserialize_value(last.evaluation, dg.AssetCheckEvaluation)
            if target is not None and said.partition is None:
                # Dagster has one result for all instances, and shows it where it is of the newest.
                target = newest(key.asset_key)
            event = dg.DagsterEvent(
                event_type_value=dg.DagsterEventType.ASSET_CHECK_EVALUATION.value,
                job_name=run.job_name,
                message=f"`{last.table}` is unchanged: what check `{key.name}` said before",
                event_specific_data=self._again(is_known, last, said, target),
                step_key=step,
            )
            storage.report_dagster_event(event, run_id)

    def _last(self, key: dg.AssetCheckKey, step: str) -> CheckResult | None:
        """Return the last result of a check; of a raw table, that of the instance copied from."""
        table = StageTable.of_key(key.asset_key.path).of_slice(self._instance.slice)
        if step not in self._steps.raw:
            return self.known.get((self._instance.instance_id, table, key.name))
        found = (self.known.get((item.instance_id, table, key.name)) for item in self._sources())
        return next((result for result in found if result is not None), None)

    def _sources(self) -> Iterator[Instance]:
        source = self._instance.source
        while source is not None:
            yield source
            source = source.source

    def _again(
        self,
        is_known: Callable[[str], bool],
        last: CheckResult,
        said: dg.AssetCheckEvaluation,
        target: dg.EventLogRecord | None,
    ) -> dg.AssetCheckEvaluation:
        origin: dict[str, Any] = {}
        if last.run_id is not None:
            link = dg.MetadataValue.dagster_run(last.run_id)
            origin["checked by run"] = link if is_known(last.run_id) else last.run_id
        if last.evaluated_at is not None:
            origin["checked at"] = dg.MetadataValue.timestamp(last.evaluated_at)
        return dg.AssetCheckEvaluation(
            asset_key=said.asset_key,
            check_name=said.check_name,
            passed=said.passed,
            metadata={**said.metadata, **origin},
            target_materialization_data=target and _target(target),
            severity=said.severity,
            description=said.description,
            blocking=said.blocking,
            partition=said.partition and self._instance.partition_key,
        )


def _result(
    key: dg.AssetCheckKey,
    part: str | None,
    said: dg.AssetCheckEvaluation | None,
    run_id: str,
    version_of: Callable[[StageTable], str | None],
) -> CheckResult:
    table = StageTable.of_key(key.asset_key.path).of_slice(part)
    version = version_of(table)
    if said is None:
        return CheckResult(table, key.name, version, run_id=run_id)
    return CheckResult(
        table,
        key.name,
        version,
        said.passed,
        said.severity.value,
        said.description,
        dg.serialize_value(said),
        run_id,
    )


def _target(record: dg.EventLogRecord) -> Any:
    return AssetCheckEvaluationTargetMaterializationData(
        storage_id=record.storage_id, run_id=record.run_id, timestamp=record.timestamp
    )
