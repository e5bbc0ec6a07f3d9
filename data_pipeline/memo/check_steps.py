"""Steps that compute no asset: checks run when what they check has run, or has not passed them."""

from collections.abc import Callable, Iterable, Mapping, Set
from dataclasses import dataclass

import dagster as dg

from data_pipeline.dagster_internals import AssetCheckExecutionRecordStatus
from data_pipeline.database.identifiers import StageTable
from data_pipeline.instances import Instance
from data_pipeline.instances.dagster_resource import PARTITION_TAG
from data_pipeline.memo.decisions import Action, Decision, Key, Known
from data_pipeline.memo.run_steps import RunSteps

# Dagster tells outcomes of checks through private names only. The tests in
# `data_pipeline_tests/memo/test_blocking_checks.py` fail when they change.

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
    """Return the last outcome of a check for an instance; None where this storage knows none."""
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


def of_checks(
    key: str,
    steps: RunSteps,
    decisions: Mapping[str, Decision],
    *,
    reused: Set[str],
    skipped: Set[str],
    continued: Set[str],
    absent: Set[dg.AssetKey],
    unpassed: Callable[[str], str | None],
) -> Decision:
    """Decide for a step that computes no asset.

    Args:
        key: The step.
        steps: All steps of the run.
        decisions: Those for the steps that compute assets.
        reused: The steps that are up to date.
        skipped: The steps that are not run, since what they read was not made.
        continued: Those of them whose results another run had staged.
        absent: The assets that were not made.
        unpassed: Says which blocking check of a step has not passed; None where all have.
    """
    checked = steps.checks.get(key)
    if checked is None:
        return Decision(key, Action.RUN, ["it computes no table"])
    computing = {
        step.key
        for step in steps.computing
        for item in step.computations
        if steps.keys[item.key] in checked
    }
    settled = all(decisions[key].action is Action.SKIP for key in computing & decisions.keys())
    if settled and (checked <= absent or (computing and computing <= skipped)):
        return Decision(key, Action.SKIP, ["what it checks was not made"])
    if computing and computing <= reused | skipped:
        if computing & continued:
            return Decision(key, Action.RUN, ["what it checks was staged by another run"])
        if (reason := unpassed(key)) is not None:
            return Decision(key, Action.RUN, [reason])
        return Decision(key, Action.REUSE, ["what it checks is up to date"])
    if any(decisions[item].action is Action.WAIT for item in computing & decisions.keys()):
        return Decision(key, Action.WAIT, ["what it checks is not computed yet"])
    return Decision(key, Action.RUN, ["what it checks is computed"])


def unpassed(
    checks: Iterable[dg.AssetCheckKey],
    instance: Instance,
    known: Mapping[Key, Known],
    storage: dg.DagsterInstance,
    *,
    evaluated: bool = False,
) -> str | None:
    """Say which blocking check has not passed on the tables that are there; None where all have.

    Args:
        checks: The blocking checks of a step.
        instance: The instance of the run.
        known: What the catalogs know.
        storage: Where Dagster keeps the outcomes of checks.
        evaluated: Whether only checks count that were evaluated and failed.
    """
    for check in checks:
        table = StageTable.from_path(check.asset_key.path)
        found = known.get((instance.instance_id, table))
        if found is not None and found.row.is_absent:
            continue
        since = (found.row.built_at or found.row.committed_at) if found else None
        last = last_outcome(storage, check, instance.name)
        current = last is not None and (since is None or last.at >= since.timestamp())
        if last is not None and current and last.blocks:
            return f"blocking check `{check.name}` of `{table}` failed"
        if not (current or evaluated):
            return f"blocking check `{check.name}` has not been evaluated on `{table}`"
    return None
