"""Steps that wait for workers: a run says so, and names what to start, before it gives them up."""

import logging
import time
from collections.abc import Mapping, Set

import dagster as dg

from data_pipeline.dagster_internals import ExecutionPlan
from data_pipeline.database.identifiers import few

WAIT = 300.0
"""After so many seconds without a process at work, a run says first that it waits for workers."""

CELERY_QUEUE = "dagster-celery/queue"
"""The tag of a step that names its queue."""

_ENDS = frozenset(
    {
        dg.DagsterEventType.STEP_SUCCESS,
        dg.DagsterEventType.STEP_FAILURE,
        dg.DagsterEventType.STEP_SKIPPED,
    }
)


class StepQueue:
    """Watches whether any process is at work on a run that has steps to do.

    Args:
        log: The log of the run.
        limit: The seconds after which the run is to fail; None: never.
        storage: Dagster's, which knows of all steps whether they have begun.
        run_id: The run.
    """

    def __init__(
        self, log: logging.Logger, limit: float | None, storage: dg.DagsterInstance, run_id: str
    ) -> None:
        self._log, self._limit = log, limit
        self._storage, self._run_id = storage, run_id
        self._open: dict[str, Set[str]] = {}
        self._tags: dict[str, Mapping[str, str]] = {}
        self._idle_since = time.monotonic()
        self._next_look = WAIT

    def hand_out(self, plan: ExecutionPlan) -> None:
        """Note that the steps of a plan are handed to an executor."""
        keys = plan.step_keys_to_execute
        dependencies = plan.get_all_step_deps()
        self._tags |= {key: plan.get_step_by_key(key).tags or {} for key in keys}
        self._open = {key: dependencies.get(key, set()) for key in keys}
        self._hear()

    def note(self, event: dg.DagsterEvent) -> None:
        """Note that something has happened in the run."""
        if event.event_type in _ENDS:
            self._open = {k: before for k, before in self._open.items() if k != event.step_key}
        self._hear()

    def _hear(self) -> None:
        self._idle_since = time.monotonic()
        self._next_look = WAIT

    def look(self, at_work: Set[str]) -> str | None:
        """Say in the log if nobody works on the run; return why it is to fail, if it is.

        Args:
            at_work: The steps that have a process, as far as steps say so to the database.
        """
        if at_work:
            self._hear()
            return None
        idle = time.monotonic() - self._idle_since
        is_over = self._limit is not None and idle >= self._limit
        if idle < self._next_look and not is_over:
            return None
        waiting = {
            key: self._tags[key]
            for key, before in self._open.items()
            if not before & self._open.keys()
        }
        if not waiting or waiting.keys() & self._begun():
            self._hear()
            return None
        said = _what_to_do(waiting)
        if is_over:
            return (
                f"For {self._limit:g} seconds (`table_store.step_wait_seconds`) no process has "
                f"begun a step of this run. {said} What was committed is unchanged; run again."
            )
        self._next_look = 2 * idle
        self._log.warning(f"For {idle:.0f} seconds no process has begun a step of this run. {said}")
        return None

    def _begun(self) -> set[str]:
        """Name the steps that have begun, those of other IO managers and child processes, too."""
        kind = dg.DagsterEventType.STEP_START
        records = self._storage.get_records_for_run(self._run_id, of_type=kind).records
        events = [record.event_log_entry.dagster_event for record in records]
        return {event.step_key for event in events if event and event.step_key}


def _what_to_do(waiting: Mapping[str, Mapping[str, str]]) -> str:
    queues = sorted({tags.get(CELERY_QUEUE, "") for tags in waiting.values()})
    names = few([f"`{step}`{_queue(tags)}" for step, tags in sorted(waiting.items())])
    options = "".join(f" -q {queue}" for queue in queues if queue)
    return (
        f"It waits for {names}. Are workers there, do they take steps of that queue (Celery: "
        f"`dagster-celery worker start -A dagster_celery.app{options}`), can they reach the "
        "broker, or are they busy with other runs?"
    )


def _queue(tags: Mapping[str, str]) -> str:
    return f" (queue `{tags[CELERY_QUEUE]}`)" if CELERY_QUEUE in tags else ""
