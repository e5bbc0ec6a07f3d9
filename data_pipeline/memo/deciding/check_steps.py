"""Steps that compute no asset: checks run when what they check has run, or not by their code."""

from collections.abc import Callable, Collection, Iterable, Mapping, Set

import dagster as dg

from data_pipeline.database.identifiers import StageTable
from data_pipeline.instances import Instance
from data_pipeline.memo.deciding.decisions import Action, Decision, Key, Known
from data_pipeline.memo.run_steps import RunSteps
from data_pipeline.store.catalog import CatalogRow
from data_pipeline.store.check_results import CheckResult


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
        unpassed: Says which check of a step has to be evaluated; None where none has.
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
    blocking: Collection[dg.AssetCheckKey],
    instance: Instance,
    known: Mapping[Key, Known],
    results: Mapping[tuple[str, StageTable, str], CheckResult],
    versions: Mapping[str, str],
    *,
    evaluated: bool = False,
) -> str | None:
    """Say which check has to be evaluated on the tables that are there; None where none has.

    Args:
        checks: The checks of a step.
        blocking: The blocking ones of them, which must have passed.
        instance: The instance of the run.
        known: What the catalogs know of tables.
        results: What they know of checks.
        versions: The code versions of checks that are there now, by `str` of their keys.
        evaluated: Whether only checks count that were evaluated and failed.
    """
    for check in checks:
        table = StageTable.of_key(check.asset_key.path).of_slice(instance.slice)
        found = known.get((instance.instance_id, table))
        if found is not None and found.row.is_absent:
            continue
        last = results.get((instance.instance_id, table, check.name))
        current = last is not None and is_of(last, found.row if found else None)
        what = f"blocking check `{check.name}`" if check in blocking else f"check `{check.name}`"
        if last is not None and current and check in blocking and last.blocks:
            return f"{what} of `{table}` failed"
        if not (current or evaluated):
            return f"{what} has not been evaluated on `{table}`"
        before = last.code_version if last is not None else None
        if before is not None and versions.get(str(check), before) != before:
            return f"code of {what} changed"
    return None


def is_of(result: CheckResult, row: CatalogRow | None) -> bool:
    """Whether a check has seen a result as it was built last; of what has no row, the last one."""
    if row is None:
        return True
    since = row.built_at or row.committed_at
    is_later = since is None or (result.evaluated_at is not None and result.evaluated_at >= since)
    return is_later and result.data_version == row.data_version
