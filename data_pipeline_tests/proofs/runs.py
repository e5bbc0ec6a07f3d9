"""Runs of the project, and what they come to."""

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import dagster as dg

from data_pipeline_tests.memo.world import new_storage

CHECKOUT = Path(__file__).parents[2]
PROJECT = "data_pipeline_tests.proofs.project"
IN_PROCESS, BY_PROCESSES, BY_CELERY, SHORT, SHORT_BY_CELERY = (
    f"{PROJECT}.{name}"
    for name in ("definitions", "by_processes", "by_celery", "short", "short_by_celery")
)


def job(module: str, name: str) -> dg.JobDefinition:
    """Gives a job of a module's definitions, for Dagster to find by name."""
    definitions: dg.Definitions = import_module(module).defs
    return definitions.resolve_job_def(name)


class Outcome:
    """What a run came to: whether it succeeded or was killed, and what its log says."""

    def __init__(self, *, success: bool, log: str, killed: bool = False) -> None:
        self.success = success
        self.killed = killed
        self.log = log


def execute(
    module: str,
    name: str,
    *,
    storage: dg.DagsterInstance | None = None,
    selection: Sequence[str] | None = None,
    resumes: str | None = None,
) -> Outcome:
    """Runs a job in this process, memoised.

    Args:
        module: Whose definitions.
        name: The job.
        storage: Of Dagster; None: a new one, in memory.
        selection: The assets as `stage/table`; None: all.
        resumes: The failed run that is executed again from its failure on.
    """
    storage = storage or new_storage()
    # Dagster remembers a job by its arguments, so there is only one of each.
    arguments: Any = (module, name)  # declared as a tuple of one
    reconstructable = dg.build_reconstructable_job(
        __name__, "job", arguments, reconstructor_working_directory=str(CHECKOUT)
    )
    keys = None if selection is None else [dg.AssetKey(item.split("/")) for item in selection]
    failure = dg.ReexecutionOptions.from_failure(resumes, storage) if resumes else None
    result = dg.execute_job(
        reconstructable, storage, asset_selection=keys, reexecution_options=failure
    )
    records = storage.get_records_for_run(result.run_id).records
    entries = [record.event_log_entry for record in records]
    return Outcome(success=result.success, log="\n".join(_text(entry) for entry in entries))


def _text(entry: dg.EventLogEntry) -> str:
    event = entry.dagster_event
    error = getattr(event.event_specific_data, "error", None) if event else None
    return "\n".join(filter(None, [entry.user_message, error.to_string() if error else None]))
