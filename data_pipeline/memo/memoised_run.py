"""The course of a memoised run: what runs in which order, what is reused, and why."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial

import dagster as dg

from data_pipeline.commit.reader_role import let_read_committed
from data_pipeline.commit.stage_commits import StageCommits, Work
from data_pipeline.dagster_internals import EngineEventData, ExecutionPlan
from data_pipeline.database.identifiers import StageTable
from data_pipeline.errors import ConfigurationError, DataPipelineError
from data_pipeline.identity.computation import SOURCES_TAG
from data_pipeline.identity.requested_computation import Asked, asked
from data_pipeline.memo.deciding.catalog_state import remember
from data_pipeline.memo.deciding.check_steps import of_checks, unpassed
from data_pipeline.memo.deciding.decisions import (
    Action,
    Decision,
    Known,
)
from data_pipeline.memo.deciding.run_plan import RunPlan
from data_pipeline.memo.deciding.source_fingerprints import (
    digests,
)
from data_pipeline.memo.made_results import MadeResults
from data_pipeline.memo.recording import Recorder, is_temporary
from data_pipeline.memo.restoring import (
    inherited,
    restore,
)
from data_pipeline.memo.results_of_checks import CheckResults
from data_pipeline.memo.run_messages import (
    Course,
    left_to_copies,
    no_asset_makes,
    not_executed,
    nothing_was_run,
)
from data_pipeline.memo.run_steps import node_name
from data_pipeline.results.sizes_in_instances import side_by_side
from data_pipeline.runs.commit_order import CommitOrder, commit_order
from data_pipeline.runs.dagster_plan import (
    STEP_ENDS,
    check_versions,
)
from data_pipeline.runs.lease import LeaderLease
from data_pipeline.runs.leftovers import stages_with_leftovers
from data_pipeline.runs.step_queue import StepQueue
from data_pipeline.store import catalog, history, staging
from data_pipeline.store.orphans import note_seen

_BACKFILL_TAG = "dagster/backfill"
_STORING_FAILED = "DagsterExecutionHandleOutputError"


class MemoisedRun:
    """A run from its plan to its last step.

    Args:
        plan: What it is to do.
        job: Its job.
        tags: The run's tags.
        log: The run's log.

    Attributes:
        database: The database of the instance.
    """

    def __init__(
        self, plan: RunPlan, job: dg.JobDefinition, tags: Mapping[str, str], log: logging.Logger
    ) -> None:
        self._plan = plan
        self._log = log
        self._steps = plan.steps
        self._instance = plan.instance
        self._is_backfill = _BACKFILL_TAG in tags
        self.database = plan.database
        self._commits: StageCommits | None = None
        self._outcomes = plan.outcomes
        self._continued: set[str] = set()
        self._course = Course()
        self._checks = check_versions(job)
        self._lease: LeaderLease | None = None
        self._queue: StepQueue | None = None
        self._swapped_in: set[str] = set()
        self._run_id = ""
        self._recorder: Recorder | None = None
        self._check_results = CheckResults(self.database, self._instance, self._steps, self._checks)
        self._made = MadeResults(
            plan.knowledge, plan.computing, plan.others, self._outcomes.skipped, log
        )
        self._open: Sequence[str] = self._steps.order

    def _look_anew(self) -> None:
        """Ask the catalogs, and decide from what they say, whatever was decided before."""
        self._plan.look_anew()
        self._check_results.look_anew()

    @property
    def has_failed(self) -> bool:
        """Whether a step has failed so far."""
        return bool(self._outcomes.failed)

    def announce(self, storage: dg.DagsterInstance, run_id: str) -> None:
        """Say what is left out from the start, and hands fingerprints to the steps.

        Raises:
            DataPipelineError: The mode is `assert_no_fresh_input`, and a table that takes input
                from outside would be computed; or a table is cut into other slices.
        """
        self._run_id = run_id
        beside = partial(side_by_side, self._plan.configuration, self._instance, run_id)
        limit = self._instance.table_store.step_wait_seconds
        self._queue = StepQueue(self._log, limit, storage, run_id)
        self._recorder = Recorder(storage, self.database, self._instance, self._steps, beside)
        self._plan.others.storage = lambda: storage
        for key in self._plan.computing.keys() & self._steps.blocking.keys():
            reason = self._unpassed(self._steps.blocking[key], evaluated=True)
            self._plan.let_run(key, reason)
        if self._plan.left_out and self._instance.source:
            self._log.info(
                left_to_copies(self._plan.left_out, self._instance.name, self._instance.source.name)
            )
        if (line := self._plan.left_to_slices) is not None:
            self._log.info(line)
        if (refused := self._plan.refused) is not None:
            raise DataPipelineError(nothing_was_run(refused, self._plan.decisions().values()))
        if (line := self._plan.not_taken) is not None:
            self._log.info(line)
        if (line := self._plan.made_elsewhere) is not None:
            self._log.warning(line)
        if (found := digests(list(self._plan.computing.values()))) != "{}":
            storage.add_run_tags(run_id, {SOURCES_TAG: found})

    def lead(self, run_id: str, before: set[str], *, elsewhere: bool = False) -> None:
        """Lock what the run may write, if anything; wait for runs that are at work on that.

        Args:
            run_id: The run.
            before: The runs that this one re-executes in part.
            elsewhere: Whether other processes execute the steps.

        Raises:
            ConfigurationError: The configured reader role does not exist.
        """
        let_read_committed(self.database, self._instance)
        remember(self.database, self._instance, self._plan.knowledge.known)
        rows = inherited(self.database, self._instance, self._steps, before)

        def work() -> Work:
            rows[:] = inherited(self.database, self._instance, self._steps, before)
            return self._work([row.asset for row in rows])

        checks_only = elsewhere and len(self._steps.order) > len(self._plan.computing)
        if not work() and not checks_only:
            self._settle_what_is_not_locked()
            return
        self._commits = StageCommits(
            self.database, self._instance, run_id, self._log, self._plan.location
        )
        self._plan.knowledge.run_id = run_id
        self._commits.lock(work)
        adopted = [row.asset for row in rows]

        def order() -> CommitOrder:
            steps = self._steps
            staged = {table.stage for table in adopted}
            return commit_order(steps.stages_of(self._instance), steps.stages_blocked, staged)

        self._commits.begin(order(), self._plan.knowledge.versions_read(), rows)
        while not self._commits.covers(self._work(adopted)):
            # Somebody has changed something meanwhile.
            self._commits.lock(partial(self._work, adopted))
            self._commits.begin(order(), self._plan.knowledge.versions_read(), rows)
        self._settle_what_is_not_locked()
        if elsewhere:
            self._lease = LeaderLease(
                self.database, self._instance, run_id, self._asked(), self._queue
            )

    def _asked(self) -> Mapping[str, Asked]:
        """Return what the run asks of each step."""
        computing = {
            step.key: {str(item.key[1]): item.identity for item in step.computations}
            for step in self._steps.computing
        }
        return {
            key: asked(
                self._instance,
                computing.get(key, {}),
                {str(c): self._checks.get(str(c)) for c in self._steps.check_keys.get(key, ())},
            )
            for key in self._steps.order
        }

    def hand_out(self, plan: ExecutionPlan) -> None:
        """Note that the steps of a plan are handed to the executor."""
        if self._queue is not None:
            self._queue.hand_out(plan)

    def waiting(self) -> AbstractContextManager[None]:
        """Watch over steps in other processes while the block waits for them.

        Raises:
            StepLostError: The process of a step is gone.
        """
        return self._lease.waiting() if self._lease else nullcontext()

    def _work(self, others: Sequence[StageTable]) -> Work:
        """Say what the run may write, with others, and which stages it is to clean up."""
        self._look_anew()
        planned = {item.key[1] for step in self._steps.computing for item in step.computations}
        due = {item.key[1] for item in self._plan.to_make()}
        stages = stages_with_leftovers(self.database, self._instance, planned)
        return Work(frozenset(due.union(others)), frozenset(stages))

    def _settle_what_is_not_locked(self) -> None:
        """Let what has nothing to do now stay so, whatever others make of it from here on."""
        self._outcomes.nothing_to_do = {
            key: decision
            for key, decision in self._plan.decisions().items()
            if decision.action in (Action.REUSE, Action.SKIP)
        }

    def note(self, event: dg.DagsterEvent) -> None:
        """Take note of an event of a step of the plan."""
        self._made.note(event)
        if self._queue is not None:
            self._queue.note(event)
        self._check_results.note(event, self._run_id, self._version_seen)
        if event.step_key is None:
            return
        if self._lease is not None and event.event_type in STEP_ENDS:
            again = event.event_type is dg.DagsterEventType.STEP_UP_FOR_RETRY
            self._lease.ended(event.step_key, again=again)
        if event.event_type is dg.DagsterEventType.STEP_FAILURE:
            self._note_failure(node_name(event.step_key), event)
        if event.step_key in self._made.misfits:
            return
        if (name := self._outcomes.note(event)) is not None:
            self._end(name)

    def _note_failure(self, name: str, event: dg.DagsterEvent) -> None:
        """Let nobody take for made what a step had staged before its code failed.

        What cannot be stored yet, such as a slice that waits for others, was made all the same.
        """
        error = event.step_failure_data.error
        in_storing = error is not None and error.cls_name == _STORING_FAILED
        if in_storing or self._commits is None or name not in self._plan.computing:
            return
        session = self._commits.session
        assets = [item.key[1] for item in self._plan.computing[name].computations]
        with session.begin() as connection:
            staging.keep_from_reuse(connection, self._instance, assets, session.run_id)

    def _version_seen(self, table: StageTable) -> str | None:
        """Return the data version of a table that this run does not compute."""
        key = self._instance.instance_id, table
        open_steps = self._plan.computing.keys() - self._outcomes.reused.keys()
        if any(item.key == key for step in open_steps for item in self._made.by(step)):
            return None
        found = self._plan.knowledge.known.get(key)
        return found.row.data_version if found else None

    def _end(self, name: str) -> None:
        """Stage what a step has not stored by itself, and commit stages complete with it."""
        outcomes = self._outcomes
        if outcomes.is_passed_over(name) and (reasons := self._made.lacks(name)):
            self._skip(Decision(name, Action.SKIP, reasons))
        elif self._commits is not None and (
            name in self._plan.computing or outcomes.has_succeeded(name)
        ):
            self._made.stage(self._commits.session, name)
            self._commits.done(name)

    def _skip(self, decision: Decision) -> None:
        """Leave out a step whose inputs were not made: its stage does not wait for it."""
        self._outcomes.skipped[decision.step] = decision
        if self._commits is not None:
            self._commits.done(decision.step)

    def finish(self) -> None:
        """Commit what is complete, and says what is not.

        Raises:
            ConfigurationError: A step was computed by other code than that of the run.
            DatabaseError: A stage could not be committed.
        """
        if self._commits is not None:
            planned = {item.key[1] for step in self._steps.computing for item in step.computations}
            self._commits.finish(planned, success=not self._outcomes.failed)
            self._look_anew()
        self._note_end()
        if self._made.misfits:
            raise ConfigurationError("\n".join(self._made.misfits.values()))

    def _note_end(self) -> None:
        """Note the end of the run, and which code location has which results.

        Names those that it has no more.
        """
        with self.database.begin() as connection:
            if not catalog.is_readable(connection, self._instance.catalog_schema):
                return
            history.note_end(connection, self._instance.catalog_schema, self._run_id)
            if self._plan.location is None:
                return
            note_seen(connection, self._instance, self._plan.location)
        if own := self._plan.orphans().own:
            self._log.info(no_asset_makes(own))

    def close(self) -> None:
        """Free the locks, and end what was needed to look for values."""
        self._plan.close()
        if self._lease is not None:
            self._lease.close()
        if self._commits is not None:
            self._commits.close()

    @property
    def due(self) -> Sequence[str]:
        """The steps that may be executed, in their order."""
        return [key for key in self._steps.order if key not in self._outcomes.nothing_to_do]

    def members(self, wave: Sequence[str]) -> list[str]:
        """Return the steps of the plan behind those of a wave."""
        return [member for key in wave for member in self._steps.members[key]]

    def waves(self, *, step_by_step: bool) -> Iterator[list[str]]:
        """Return the steps to execute, in waves; `settle` must be called after each.

        Args:
            step_by_step: Whether a step whose inputs are computed in this run waits until it is
                clear whether they have new data.
        """
        while wave := self._next_wave(step_by_step=step_by_step):
            yield wave

    def _next_wave(self, *, step_by_step: bool) -> list[str]:
        self._restore()
        outcomes = self._outcomes
        settled = {k: d for k, d in outcomes.nothing_to_do.items() if k not in outcomes.reused}
        decisions = {**self._plan.decisions(), **settled}
        wave: list[str] = []
        self._open = [
            k for k in self._open if not outcomes.is_settled(k) and k not in outcomes.failed
        ]
        due: set[str] = set()
        reused: list[str] = []
        for key in self._open:
            steps = self._steps.dependencies
            before = [item for item in steps[key] if item in steps]
            if failed := [item for item in before if item in outcomes.failed]:
                outcomes.failed.add(key)
                self._log.error(not_executed(key, failed))
                continue
            decision = decisions.get(key) or self._of_checks(key, decisions)
            action = decision.action
            if action is Action.WAIT and not step_by_step:
                action = Action.RUN
            if action is Action.REUSE:
                outcomes.reused[key] = decision
                reused.append(key)
            elif action is Action.SKIP:
                self._skip(decision)
            elif action is Action.RUN and all(k in due or outcomes.is_settled(k) for k in before):
                wave.append(key)
                due.add(key)
                self._course.begin(decision)
        self._record(reused)
        self._made.wave = wave
        waiting = sum(1 for key in self._open if key not in due and not outcomes.is_settled(key))
        if wave and (line := self._course.outlook(waiting)):
            self._log.info(line)
        return wave

    def _record(self, reused: Sequence[str]) -> None:
        """Record what is reused before anything is made of it, and commit what is complete."""
        if self._recorder is not None:
            items = [item for key in reused for item in self._plan.computations(key)]
            swapped_in = self._swapped_in & set(reused)
            staged = {item.key for key in swapped_in for item in self._plan.computations(key)}
            self._recorder.record(items, self._plan.knowledge.known, staged=staged)
        if self._commits is not None:
            for key in reused:
                self._commits.done(key)

    def _restore(self) -> None:
        """Swap earlier versions back in, for all steps whose inputs are settled."""
        plan = self._plan
        if plan.validation.mode in ("force_cache_invalid", "force_fresh_input"):
            return
        tried: set[str] = set()
        while keys := plan.restorable() - tried:
            tried |= keys
            kept = plan.kept_results()
            for step in [plan.computing[key] for key in self._steps.order if key in keys]:
                if self._commits is None:
                    raise AssertionError  # what has something to do has locked its stage
                if restore(self._commits.session, step, plan.knowledge.known, kept):
                    self._continued.add(step.key)
                    what = "staged by a run that did not commit it"
                else:
                    what = "an earlier version that was kept"
                self._swapped_in.add(step.key)
                self._course.swapped_in(step.key, what)
                self._log.info(f"Swapped back in: {step.key}, {what}")
                self._look_anew()

    def _of_checks(self, key: str, decisions: Mapping[str, Decision]) -> Decision:
        return of_checks(
            key,
            self._steps,
            decisions,
            reused=self._outcomes.reused.keys(),
            skipped=self._outcomes.skipped.keys(),
            continued=self._continued,
            absent={
                self._steps.keys[found]
                for found, item in self._plan.knowledge.known.items()
                if found in self._steps.keys and item.row.is_absent
            },
            unpassed=lambda step: self._unpassed(self._steps.check_keys.get(step, ())),
        )

    def _unpassed(
        self, checks: Sequence[dg.AssetCheckKey], *, evaluated: bool = False
    ) -> str | None:
        return unpassed(
            checks,
            {key for keys in self._steps.blocking.values() for key in keys},
            self._instance,
            self._plan.knowledge.known,
            self._check_results.known,
            self._checks,
            evaluated=evaluated,
        )

    def settle(self, wave: Sequence[str]) -> None:
        """Take note of what became of a wave: steps that have not succeeded have failed."""
        again, given_up = self._outcomes.settle(wave)
        if (
            again
            or given_up
            or any(not self._outcomes.is_settled(key) for key in self._plan.computing)
        ):
            self._learn(wave)
        for key in given_up:
            self._skip(Decision(key, Action.SKIP, ["what it checks was not made"]))

    def _learn(self, wave: Sequence[str]) -> None:
        """Know what a wave has made: from what it has staged, or else from the catalogs."""
        made = {item.key for key in wave for item in self._made.by(key)}
        staged = staging.followed(self._commits.session.run_id) if self._commits else {}
        if not made or not made <= staged.keys():
            self._look_anew()
        else:
            self._plan.knowledge.learn({key: Known(staged[key], True) for key in made})

    def record_reused(self, storage: dg.DagsterInstance) -> None:
        """Record reused tables, and results of their checks, where this storage lacks them."""
        if self._recorder is None or is_temporary(storage):
            return
        items = [item for key in self._outcomes.reused for item in self._made.by(key)]
        run = storage.get_run_by_id(self._run_id) if self._is_backfill else None
        if run is not None:
            self._recorder.record_in_run(items, self._plan.knowledge.known, run)
        else:
            self._recorder.record(items, self._plan.knowledge.known)
        if self._outcomes.failed and run is None:
            self._recorder.record_again(items, self._plan.knowledge.known)
        self._check_results.record_last(storage, self._run_id)

    def summary(self) -> tuple[str, EngineEventData]:
        """Say what was executed and what was served from the cache, as message and metadata."""
        return self._course.summary(
            self._steps, self._plan.knowledge.known, self._instance, self._outcomes
        )
