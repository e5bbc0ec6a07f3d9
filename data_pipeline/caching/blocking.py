"""What became of blocking checks: nothing may be built on a table until they have passed."""

from dataclasses import dataclass

import dagster as dg
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus

from data_pipeline.instances.resource import PARTITION_TAG

# Dagster tells outcomes of checks through private names only. The tests in
# `data_pipeline_tests/caching/test_blocking_checks.py` fail when they change.

_FINISHED = {AssetCheckExecutionRecordStatus.SUCCEEDED, AssetCheckExecutionRecordStatus.FAILED}
_LIMIT = 100


@dataclass(frozen=True)
class Outcome:
    """What the last evaluation of a check said.

    Attributes:
        blocks: Whether nothing may be built on what was checked.
        at: When it was evaluated, in seconds since 1970.
    """

    blocks: bool
    at: float


def last_outcome(storage: dg.DagsterInstance, check: dg.AssetCheckKey, name: str) -> Outcome | None:
    """Gives the last outcome of a check for an instance; None where this storage knows none."""
    records = storage.event_log_storage.get_asset_check_execution_history(
        check, limit=_LIMIT, status=_FINISHED
    )
    for record in records:
        run = storage.get_run_by_id(record.run_id)
        if run is None or run.tags.get(PARTITION_TAG) != name or record.event is None:
            continue
        event = record.event.dagster_event
        if event is None:
            continue
        found = event.asset_check_evaluation_data
        passed = found.passed or found.severity is not dg.AssetCheckSeverity.ERROR
        return Outcome(not passed, record.event.timestamp)
    return None
