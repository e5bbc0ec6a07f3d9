"""Steps that compute no asset: checks run when what they check has run, or has not passed them."""

from collections.abc import Callable, Iterable, Mapping, Set

import dagster as dg

from data_pipeline.caching.blocking import last_outcome
from data_pipeline.caching.decisions import Action, Decision, Key, Known
from data_pipeline.caching.run_steps import RunSteps
from data_pipeline.instances import Instance
from data_pipeline.tables.names import StageTable


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
    """Decides for a step that computes no asset.

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
    """Says which blocking check has not passed on the tables that are there; None where all have.

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
