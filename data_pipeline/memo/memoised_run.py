"""The course of a memoised run: what runs in which order, what is reused, and why."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial

import dagster as dg

from data_pipeline.commit.optional_outputs import NOT_MADE, leaving, readers
from data_pipeline.commit.reader_role import let_read_committed
from data_pipeline.commit.stage_commits import StageCommits, Work
from data_pipeline.dagster_internals import EngineEventData, ExecutionPlan, ResolvedRunConfig
from data_pipeline.database.connection import database
from data_pipeline.database.identifiers import StageTable
from data_pipeline.errors import DataPipelineError
from data_pipeline.identity.computation import SOURCES_TAG
from data_pipeline.identity.run_resources import RunResources
from data_pipeline.instances import Configuration
from data_pipeline.instances.settings.caching import validation
from data_pipeline.memo.catalog_state import known, known_to_run, remember
from data_pipeline.memo.check_steps import of_checks, unpassed
from data_pipeline.memo.decisions import (
    Action,
    Computation,
    Decision,
    Key,
    Known,
    Step,
    decide,
    not_made,
    not_taken,
)
from data_pipeline.memo.fresh_input import kept_out, refusal
from data_pipeline.memo.other_io_managers import (
    OtherIOManagers,
    StepEvents,
    Unstored,
    stage_unstored,
)
from data_pipeline.memo.restoring import (
    can_restore,
    inherited,
    kept_results,
    record_reused,
    restore,
)
from data_pipeline.memo.run_messages import listed, summary, without_identity
from data_pipeline.memo.run_steps import commit_order, node_name, run_steps
from data_pipeline.memo.sources import declared_sources, digests, with_fingerprints
from data_pipeline.runs.dagster_plan import CommitOrder, code_location
from data_pipeline.runs.leftovers import stages_with_leftovers
from data_pipeline.runs.run_session import RunSession
from data_pipeline.store import catalog
from data_pipeline.store.catalog import WITHOUT_VALUE, CatalogRow
from data_pipeline.store.orphans import Orphans, note_seen, orphans


class Memo:
    """What is known of a run, from its plan and the catalogs to its last step.

    Args:
        plan: The steps that were asked for.
        job: Their job.
        run_config: The run's configuration, resolved.
        tags: The run's tags.
        configuration: All instances.
        name: The instance of the run.
        resources: The resources of the run.
        log: The run's log.
        storage: Gives Dagster's storage, below which IO managers keep values by default.
    """

    def __init__(
        self,
        plan: ExecutionPlan,
        job: dg.JobDefinition,
        run_config: ResolvedRunConfig,
        tags: Mapping[str, str],
        configuration: Configuration,
        name: str,
        resources: RunResources,
        log: logging.Logger,
        storage: Callable[[], dg.DagsterInstance | None] = lambda: None,
    ) -> None:
        self._log = log
        self._instance = configuration.instance(name)
        self._validation = validation(self._instance, tags)
        self._steps = run_steps(plan, job, run_config, configuration, self._instance, resources)
        for warning in without_identity(self._steps.computing, resources.problems):
            log.warning(warning)
        self._location = code_location(job)
        self._others = OtherIOManagers(
            job,
            (run_config.original_config_dict or {}).get("resources") or {},
            name,
            self._steps.outputs,
            self._steps.keys,
        )
        self._others.storage = storage
        self._computing = {step.key: self._located(step) for step in self._fingerprinted(job)}
        self._database = database(self._instance)
        self._known = known(self._database, self._steps.instances.values())
        self._done: set[str] = set()
        self._failed: set[str] = set()
        self._reused: dict[str, Decision] = {}
        self._nothing_to_do: dict[str, Decision] = {}
        self._continued: set[str] = set()
        self._skipped: dict[str, Decision] = {}
        self._succeeded: set[str] = set()
        self._passed_over: set[str] = set()
        self._tried: set[str] = set()
        self._storage: dg.DagsterInstance | None = None
        self._commits: StageCommits | None = None
        self._events = StepEvents()
        self._wave: Sequence[str] = ()

    def _fingerprinted(self, job: dg.JobDefinition) -> list[Step]:
        sources = declared_sources(job.asset_layer.asset_graph)
        asked = {
            str(item.key[1]): sources[str(item.key[1])]
            for step in self._steps.computing
            for item in step.computations
            if str(item.key[1]) in sources
            and (self._validation.asks_sources or item.identity.allow_fresh_input)
        }
        return with_fingerprints(self._steps.computing, asked, self._instance, self._log.warning)

    def _located(self, step: Step) -> Step:
        """Return a step whose assets know whether their values are to be found."""
        found = [
            replace(item, lost=partial(self._others.problem, item.key))
            for item in step.computations
        ]
        return replace(step, computations=found)

    def decisions(self) -> dict[str, Decision]:
        """Decide for every step that is not settled yet, from what is known now."""
        return decide(
            (step for key, step in self._computing.items() if key not in self._failed),
            self._known,
            self._validation,
            frozenset(self._done | self._reused.keys() | self._nothing_to_do.keys()),
        )

    def restorable(self) -> set[str]:
        """Name the steps whose results would be swapped back in instead of being computed."""
        kept = kept_results(self._database, self._instance)
        return {
            key
            for key in self._ready()
            if self._may_restore(key) and can_restore(self._computing[key], self._known, kept)
        }

    def _may_restore(self, key: str) -> bool:
        """Whether a step may be swapped for an earlier result.

        Not if it must check the result, nor if what is kept may have been made of new data that the
        mode keeps out.
        """
        untaken = (
            not_taken(item, self._known, self._validation)
            for item in self._computing[key].computations
            if item.key in self._known
        )
        return key not in self._steps.blocking and not any(untaken)

    @property
    def left_out(self) -> Sequence[str]:
        """The steps that would load raw tables although the instance copies its inputs."""
        return self._steps.raw

    @property
    def refused(self) -> str | None:
        """Why nothing of the run may be executed, from what is known now; None where it may."""
        steps, name = self._computing.values(), self._instance.name
        return refusal(name, self.decisions(), steps, self._known, self._validation)

    @property
    def not_taken(self) -> str | None:
        """Which new data of other instances stay where they are; None where none do."""
        steps = self._computing.values()
        return kept_out(self.decisions(), steps, self._known, self._validation)

    def announce(self, storage: dg.DagsterInstance, run_id: str) -> None:
        """Say what is left out from the start, and hands fingerprints to the steps.

        Raises:
            DataPipelineError: The mode is `assert_no_fresh_input`, and a table that takes input
                from outside would be computed.
        """
        self._storage = storage
        self._others.storage = lambda: storage
        for key in self._computing.keys() & self._steps.blocking.keys():
            reason = self._unpassed(key, evaluated=True)
            self._computing[key] = replace(self._computing[key], reason=reason)
        if self._steps.raw and self._instance.source:
            self._log.info(
                f"Left out {', '.join(self._steps.raw)}: instance `{self._instance.name}` does not "
                f"load raw tables but copies from `{self._instance.source.name}`"
            )
        if (refused := self.refused) is not None:
            running = [str(d) for d in self.decisions().values() if d.action is Action.RUN]
            raise DataPipelineError(
                f"Nothing was run: {refused}. What loads from a source system may do so in every "
                "mode where it is declared: outside_input(..., allow_fresh_input=True). What would "
                "run, and why:\n" + "\n".join(running)
            )
        if (line := self.not_taken) is not None:
            self._log.info(line)
        if (found := digests(list(self._computing.values()))) != "{}":
            storage.add_run_tags(run_id, {SOURCES_TAG: found})

    def lead(self, run_id: str, before: set[str]) -> None:
        """Lock what the run may write, if anything; wait for runs that are at work on that.

        Args:
            run_id: The run.
            before: The runs that this one re-executes in part.

        Raises:
            ConfigurationError: The configured reader role does not exist.
        """
        let_read_committed(self._database, self._instance)
        remember(self._database, self._instance, self._known)
        rows = inherited(self._database, self._instance, self._steps, before)

        def work() -> Work:
            rows[:] = inherited(self._database, self._instance, self._steps, before)
            return self._work([row.table for row in rows])

        if not work():
            self._settle_what_is_not_locked()
            return
        self._commits = StageCommits(
            self._database, self._instance, run_id, self._log, self._location
        )
        self._commits.lock(work)
        adopted = [row.table for row in rows]

        def order() -> CommitOrder:
            return commit_order(self._steps, self._instance, adopted)

        self._commits.begin(order(), self._versions_read(), rows)
        while not self._commits.covers(self._work(adopted)):
            # Somebody has changed something meanwhile.
            self._commits.lock(partial(self._work, adopted))
            self._commits.begin(order(), self._versions_read(), rows)
        self._settle_what_is_not_locked()

    def _work(self, others: Sequence[StageTable]) -> Work:
        """Say what the run may write, with others, and which stages it is to clean up."""
        self._known = self._know()
        planned = {item.key[1] for step in self._steps.computing for item in step.computations}
        due = {
            item.key[1]
            for key, decision in self.decisions().items()
            if decision.action not in (Action.REUSE, Action.SKIP)
            for item in self._computing[key].computations
        }
        stages = stages_with_leftovers(self._database, self._instance, planned)
        return Work(frozenset(due.union(others)), frozenset(stages))

    def _settle_what_is_not_locked(self) -> None:
        """Let what has nothing to do now stay so, whatever others make of it from here on."""
        self._nothing_to_do = {
            key: decision
            for key, decision in self.decisions().items()
            if decision.action in (Action.REUSE, Action.SKIP)
        }

    def _versions_read(self) -> dict[str, str | None]:
        """Return the data versions of what the run reads and does not compute."""
        computed = {item.key for step in self._steps.computing for item in step.computations}
        read = {key for s in self._steps.computing for c in s.computations for key in c.inputs}
        return {
            f"{instance}/{table}": found.row.data_version
            for instance, table in read - computed
            if (found := self._known.get((instance, table))) is not None
        }

    def _know(self) -> dict[Key, Known]:
        instances = self._steps.instances.values()
        if self._commits is None:
            return known(self._database, instances)
        run_id = self._commits.session.run_id
        return known_to_run(self._database, instances, self._instance, run_id)

    def note(self, event: dg.DagsterEvent) -> None:
        """Take note of an event of a step of the plan."""
        self._events.add(event)
        if event.step_key is None:
            return
        if event.event_type is dg.DagsterEventType.STEP_SUCCESS:
            self._succeeded.add(event.step_key)
            self._end(node_name(event.step_key))
        elif event.event_type is dg.DagsterEventType.STEP_SKIPPED:
            self._passed_over.add(event.step_key)
            self._end(node_name(event.step_key))

    def _end(self, name: str) -> None:
        """Stage what a step has not stored by itself, and commit stages complete with it."""
        results = set(self._steps.results.get(name, ()))
        if not results or not results <= self._succeeded | self._passed_over:
            return
        computations = self._made_by(name)
        if results <= self._passed_over and (reasons := self._not_made(name, computations)):
            self._skip(Decision(name, Action.SKIP, reasons))
        elif self._commits is not None and (name in self._computing or results <= self._succeeded):
            self._stage_unstored(self._commits.session, name)
            self._commits.done(name)

    def _skip(self, decision: Decision) -> None:
        """Leave out a step whose inputs were not made: its stage does not wait for it."""
        self._skipped[decision.step] = decision
        if self._commits is not None:
            self._commits.done(decision.step)

    def _not_made(self, step: str, computations: Sequence[Computation]) -> list[str]:
        """Say which inputs of assets of a step were not made, as far as this run has come."""
        own = {item.key for item in self._made_by(step)}
        inputs = {key for item in computations for key in item.inputs} - own
        computed = {item.key for step in self._wave for item in self._made_by(step)}
        skipped = {item.key for step in self._skipped for item in self._made_by(step)}
        known = self._know() if inputs & computed else self._known
        return not_made(inputs, known, dict.fromkeys(skipped, Action.SKIP))

    def _stage_unstored(self, session: RunSession, name: str) -> None:
        """Stage rows for what a step has made and not stored here, or not made."""
        step = self._computing.get(name)
        if step is None:
            return
        found = {}
        for item in step.computations:
            planned = self._steps.outputs[item.key]
            output = self._events.output(planned.step, planned.name, self._steps.keys[item.key])
            before = self._known.get(item.key)
            if not output.is_made:
                if not self._not_made(name, [item]):
                    found[item.key] = Unstored("absent", NOT_MADE)
            elif not output.is_recorded:
                continue
            elif output.io_manager is None:
                found[item.key] = Unstored("none", output.version)
            elif not self._others.is_ours(output.io_manager):
                state = self._others.state(item.key)
                earlier = before.row if before and before.row.kind == "elsewhere" else None
                found[item.key] = Unstored("elsewhere", output.version, state, earlier)
        if found:
            rows = stage_unstored(session, step, found, self._version_read)
            self._tell_readers(name, [row for row in rows if row.is_absent])

    def _tell_readers(self, step: str, rows: Sequence[CatalogRow]) -> None:
        """Say which results leave their stages with the next commit, and who read them."""
        own = self._instance.instance_id
        others = [item for item in self._steps.computing if item.key != step]
        made_here = {item.key for item in self._made_by(step)}
        known = {key: found.row for key, found in self._known.items() if key not in made_here}
        for row in rows:
            before = self._known.get((own, row.table))
            if before is None or before.row.kind in WITHOUT_VALUE:
                continue
            planned = {
                str(item.key[1])
                for other in others
                for item in other.computations
                if (own, row.table) in item.inputs
            }
            read = sorted(planned | readers(own, row.table, known))
            self._log.warning(leaving(self._instance, step, before.row, row, read))

    def _version_read(self, key: Key) -> str | None:
        """Return the data version of an input of a step that has just been executed.

        What this run has not computed may have been replaced since the step was decided.
        """
        computed = {item.key for step in self._wave for item in self._made_by(step)}
        found = (self._know() if key in computed else self._known).get(key)
        return found.row.data_version if found else None

    def _made_by(self, step: str) -> Sequence[Computation]:
        return self._computing[step].computations if step in self._computing else ()

    def finish(self) -> None:
        """Commit what is complete, and says what is not.

        Raises:
            DatabaseError: A stage could not be committed.
        """
        if self._commits is not None:
            planned = {item.key[1] for step in self._steps.computing for item in step.computations}
            self._commits.finish(planned, success=not self._failed)
            self._known = self._know()
        self._note_origins()

    def _note_origins(self) -> None:
        """Note which code location has which results, and name those that it has no more."""
        if self._location is None:
            return
        with self._database.begin() as connection:
            if not catalog.is_readable(connection, self._instance.catalog_schema):
                return
            note_seen(connection, self._instance, self._location)
        if own := self.orphans().own:
            self._log.info(
                f"No asset makes {Orphans(own)} any more. `data-pipeline gc --orphans` drops it."
            )

    def orphans(self) -> Orphans:
        """Return the results of the instance that no asset of the code location makes any more."""
        if self._location is None:
            return Orphans()
        with self._database.begin() as connection:
            return orphans(connection, self._instance, self._location)

    def close(self) -> None:
        """Free the locks, and ends what was needed to look for values."""
        self._others.close()
        if self._commits is not None:
            self._commits.close()

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
        decided = {k: d for k, d in self._nothing_to_do.items() if k not in self._reused}
        decisions = self.decisions() | decided
        wave: list[str] = []
        reused: list[Decision] = []
        skipped: list[Decision] = []
        running: list[Decision] = []
        for key in self._steps.order:
            if self._is_settled(key, ()) or key in self._failed:
                continue
            steps = self._steps.dependencies
            before = [item for item in steps[key] if item in steps]
            if failed := [item for item in before if item in self._failed]:
                self._failed.add(key)
                self._log.error(f"Not executed: {key}, since {', '.join(failed)} failed")
                continue
            decision = decisions.get(key) or self._of_checks(key, decisions)
            action = decision.action
            if action is Action.WAIT and not step_by_step:
                action = Action.RUN
            if action is Action.REUSE:
                self._reused[key] = decision
                reused.append(decision)
                if self._commits is not None:
                    self._commits.done(key)
            elif action is Action.SKIP:
                self._skip(decision)
                skipped.append(decision)
            elif action is Action.RUN and all(self._is_settled(item, wave) for item in before):
                wave.append(key)
                running.append(decision)
        self._wave = wave
        for what, found in (
            ("Up to date", reused),
            ("Not run", skipped),
            ("To execute", running),
        ):
            if found:
                self._log.info(listed(what, found))
        return wave

    def _restore(self) -> None:
        """Swap earlier versions back in, for all steps whose inputs are settled."""
        if self._validation.mode in ("force_cache_invalid", "force_fresh_input"):
            return
        tried: set[str] = set()
        while ready := [k for k in self._ready() if k not in tried and self._may_restore(k)]:
            tried |= set(ready)
            kept = kept_results(self._database, self._instance)
            steps = [self._computing[key] for key in ready]
            for step in [step for step in steps if can_restore(step, self._known, kept)]:
                if self._commits is None:
                    raise AssertionError  # what has something to do has locked its stage
                if restore(self._commits.session, step, self._known, kept):
                    self._continued.add(step.key)
                    what = "staged by a run that did not commit it"
                else:
                    what = "an earlier version that was kept"
                self._log.info(f"Swapped back in: {step.key}, {what}")
                self._known = self._know()

    def _ready(self) -> list[str]:
        """Name the steps that have something to do, and all inputs to do it."""
        decisions = self.decisions()
        pending = {key for key, item in decisions.items() if item.action is not Action.REUSE}
        return [
            key
            for key, decision in decisions.items()
            if decision.action is Action.RUN and not pending & self._steps.dependencies[key]
        ]

    def _is_settled(self, key: str, wave: Sequence[str]) -> bool:
        return any(key in found for found in (self._done, self._reused, self._skipped, wave))

    def _of_checks(self, key: str, decisions: Mapping[str, Decision]) -> Decision:
        return of_checks(
            key,
            self._steps,
            decisions,
            reused=self._reused.keys(),
            skipped=self._skipped.keys(),
            continued=self._continued,
            absent={
                self._steps.keys[found]
                for found, item in self._known.items()
                if found in self._steps.keys and item.row.is_absent
            },
            unpassed=self._unpassed,
        )

    def _unpassed(self, key: str, *, evaluated: bool = False) -> str | None:
        if self._storage is None:
            return None
        return unpassed(
            self._steps.blocking.get(key, ()),
            self._instance,
            self._known,
            self._storage,
            evaluated=evaluated,
        )

    def settle(self, wave: Sequence[str]) -> None:
        """Take note of what became of a wave: steps that have not succeeded have failed."""
        results = self._steps.results
        ended = self._succeeded | self._passed_over
        failed = {key for key in wave if not ended.issuperset(results[key])}
        self._failed |= failed
        again = {key for key in wave if key in self._steps.checks and self._is_passed_over(key)}
        self._done |= set(wave) - failed - again - self._skipped.keys()
        if again or any(not self._is_settled(key, ()) for key in self._computing):
            self._known = self._know()
        for key in again:
            self._passed_over -= set(results[key])
            if key in self._tried:
                self._skip(Decision(key, Action.SKIP, ["what it checks was not made"]))
        self._tried |= again

    def _is_passed_over(self, key: str) -> bool:
        """Whether Dagster has left out a step.

        Of a step of checks it does so when a single output that it checks was not made.
        """
        return self._passed_over.issuperset(self._steps.results[key])

    def record_reused(self, storage: dg.DagsterInstance) -> None:
        """Record the tables that were reused where this Dagster storage does not know them."""
        items = [
            item
            for key in self._reused
            if key in self._computing
            for item in self._computing[key].computations
        ]
        record_reused(storage, self._instance.name, items, self._known, self._steps.keys)

    def summary(self) -> tuple[str, EngineEventData]:
        """Say what was executed and what was served from the cache, as message and metadata."""
        planned = len(self._steps.order)
        return summary(len(self._done), planned, self._reused, self._computing)
