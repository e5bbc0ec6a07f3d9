"""What a memoised run says of what it does and of what it leaves out."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

import dagster as dg

from data_pipeline import errors
from data_pipeline.dagster_internals import EngineEventData, SerializableErrorInfo
from data_pipeline.database.identifiers import StageTable, few
from data_pipeline.identity.run_resources import IDENTITY_METHOD
from data_pipeline.instances import Instance, project
from data_pipeline.memo.deciding.decisions import Action, Decision, Key, Known, Step
from data_pipeline.memo.run_steps import RunSteps
from data_pipeline.memo.step_outcomes import StepOutcomes
from data_pipeline.store.catalog import CatalogRow
from data_pipeline.store.orphans import CodeLocation, Orphans

_OWN_ERRORS = frozenset(name for name in vars(errors) if name.endswith("Error"))


def told(error: SerializableErrorInfo) -> SerializableErrorInfo:
    """Return the error that users are to be told: one of ours, else what is behind Dagster's."""
    return error if is_ours(error) else error.cause or error


def is_ours(error: SerializableErrorInfo) -> bool:
    """Whether an error that Dagster has recorded is one of ours."""
    return error.cls_name in _OWN_ERRORS


def failed_elsewhere(event: dg.DagsterEvent) -> str:
    """Say why a step failed, as nobody else does where its process has another terminal or log."""
    error = event.step_failure_data.error
    reason = told(error).message.strip() if error else "its process has the reason"
    return f"Step `{event.step_key}` failed: {reason}"


def without_identity(computing: Iterable[Step], problems: Mapping[str, str]) -> Iterator[str]:
    """Say of each resource without a stable identity what that means, and how to give it one.

    Args:
        computing: The steps that compute assets.
        problems: Why resources have none, by key.
    """
    for key, problem in sorted(problems.items()):
        tables = [
            f"`{item.key[1]}`"
            for step in computing
            for item in step.computations
            if key in item.identity.resources
        ]
        yield (
            f"Resource `{key}` has no stable identity, so nothing tells whether it has changed, "
            f"and {', '.join(tables)} never count as unchanged. {problem} Or make the resource a "
            "dg.ConfigurableResource or a frozen dataclass, or give its class a method "
            f"`{IDENTITY_METHOD}()` that returns a plain value, which differs when results would."
        )


def made_elsewhere(
    due: Iterable[Key], known: Mapping[Key, Known], instance: Instance, location: CodeLocation
) -> str | None:
    """Say which tables that a run replaces were made by other code locations, if any were.

    It may be the same project under a new name, or another one that has the same names.
    """
    others: dict[str, list[str]] = {}
    for key in due:
        made_in = known[key].row.made_in if key in known else None
        if made_in not in (None, location.name):
            others.setdefault(str(made_in), []).append(f"`{key[1]}`")
    if not others:
        return None
    whose = "; ".join(f"{few(names)} of `{name}`" for name, names in sorted(others.items()))
    return (
        f"Code location `{location.name}` replaces what others have made in instance "
        f"`{instance.name}`: {whose}. If that is another project, keep the two apart: give one of "
        "them another database, or other `instance_id`s in its instances.yaml. If it is this one "
        "under an earlier name, there is nothing to do."
    )


def left_to_copies(left_out: Sequence[str], instance: str, source: str) -> str:
    """Say which raw tables are left out, since the instance copies its inputs."""
    return (
        f"Left out {few(left_out)}: instance `{instance}` does not load raw tables but copies from "
        f"`{source}`"
    )


def left_to_slices(jobs: Mapping[StageTable, str]) -> str:
    """Say which tables the job of an instance leaves to the jobs of their slices, by table."""
    named = [f"`{table}` (job `{job}`)" for table, job in jobs.items()]
    return f"Left out {few(named)}: tables with slices are built slice by slice"


def nothing_was_run(refused: str, decisions: Iterable[Decision]) -> str:
    """Say why nothing was run, and what would have been."""
    running = [str(decision) for decision in decisions if decision.action is Action.RUN]
    return f"Nothing was run: {refused}\nWhat would run, and why:\n" + "\n".join(running)


def not_executed(step: str, failed: Sequence[str]) -> str:
    """Say that a step is not executed since others failed."""
    return f"Not executed: {step}, since {', '.join(failed)} failed"


def no_asset_makes(own: Sequence[CatalogRow]) -> str:
    """Say which results no asset makes any more, and what drops them."""
    command = project.command("gc", "--orphans")
    return f"No asset makes {Orphans(own)} any more. `{command}` drops it."


class Course:
    """What became of the steps of a run, and why."""

    def __init__(self) -> None:
        self._begun: dict[str, Decision] = {}
        self._swapped_in: dict[str, str] = {}
        self._is_foreseen = False

    def begin(self, decision: Decision) -> None:
        """Note that a step is executed."""
        self._begun[decision.step] = decision

    def swapped_in(self, step: str, what: str) -> None:
        """Note what was swapped in for a step."""
        self._swapped_in[step] = what

    def outlook(self, waiting: int) -> str | None:
        """Say, before the first step, which ones are executed, and how many may follow."""
        if self._is_foreseen:
            return None
        self._is_foreseen = True
        return f"To execute: {few([_why(item) for item in self._begun.values()])}" + (
            f"; {waiting} more wait for what becomes of these" if waiting > 0 else ""
        )

    def summary(
        self,
        steps: RunSteps,
        known: Mapping[Key, Known],
        instance: Instance,
        outcomes: StepOutcomes,
    ) -> tuple[str, EngineEventData]:
        """Say what was executed and what was served from the cache, as message and table.

        Args:
            steps: The steps of the run.
            known: What the catalogs know.
            instance: The instance of the run.
            outcomes: What has become of each.
        """
        computing = {step.key: step for step in steps.computing}
        records: list[dg.TableRecord] = []
        served = 0
        for step in [*steps.order, *steps.raw]:
            decision, reason = self._said(step, steps, instance, outcomes)
            items = computing[step].computations if step in computing else ()
            served += len(items) if step in outcomes.reused else 0
            keys = [item.key for item in items]
            names = [str(key[1]) for key in keys] or [step]
            sinces = [_since(known.get(key)) for key in keys] or [""]
            records += [
                dg.TableRecord(
                    {"asset": name, "decision": decision, "reason": reason, "since": since}
                )
                for name, since in zip(names, sinces, strict=True)
            ]
        executed = f"{len(outcomes.done)} of {len(steps.order)} steps executed"
        message = f"{executed}; {served} tables served from the cache"
        table = dg.MetadataValue.table(records, _SCHEMA)
        return message, EngineEventData(metadata={STEPS_OF_RUN: table} if records else {})

    def _said(
        self,
        step: str,
        steps: RunSteps,
        instance: Instance,
        outcomes: StepOutcomes,
    ) -> tuple[str, str]:
        begun = self._begun.get(step)
        why = "" if begun is None else few([*dict.fromkeys(begun.reasons)], separator="; ")
        if step in steps.raw:
            source = instance.source.name if instance.source else ""
            return "left out", f"instance `{instance.name}` copies from `{source}`"
        if step in outcomes.reused:
            return "served from the cache", self._swapped_in.get(step, "unchanged")
        if step in outcomes.skipped:
            return "not run", "; ".join(outcomes.skipped[step].reasons)
        if step in outcomes.done:
            return "executed", why
        if begun is not None:
            return "failed", why
        before = sorted(steps.dependencies[step] & outcomes.failed)
        return "not executed", f"{few(before)} failed" if before else "the run ended before"


STEPS_OF_RUN = "steps"
"""The metadata entry of a run that says what became of its steps."""

_SCHEMA = dg.TableSchema(
    columns=[
        dg.TableColumn("asset"),
        dg.TableColumn("decision"),
        dg.TableColumn("reason"),
        dg.TableColumn("since"),
    ]
)


def _why(decision: Decision) -> str:
    return f"{decision.step}: {few([*dict.fromkeys(decision.reasons)], separator='; ')}"


def _since(found: Known | None) -> str:
    at = found.row.committed_at if found else None
    return f"{at:%Y-%m-%d %H:%M:%S}" if at else ""
