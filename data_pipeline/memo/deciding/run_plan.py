"""What a run would do, and why: the decision for each of its steps, without running them."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial

import dagster as dg

from data_pipeline.dagster_internals import ExecutionPlan, ResolvedRunConfig
from data_pipeline.database.connection import database
from data_pipeline.database.identifiers import StageTable
from data_pipeline.identity.run_resources import RunResources
from data_pipeline.instances import Configuration
from data_pipeline.instances.names_of_instances_and_users import PIPELINE_JOB
from data_pipeline.instances.settings.caching_and_kept_versions import validation
from data_pipeline.memo.deciding.catalog_state import observed
from data_pipeline.memo.deciding.cut_tables import cut_otherwise
from data_pipeline.memo.deciding.decisions import (
    Action,
    Computation,
    Decision,
    Decisions,
    Step,
    not_taken,
)
from data_pipeline.memo.deciding.fresh_input import kept_out, refusal
from data_pipeline.memo.deciding.source_fingerprints import (
    declared_sources,
    with_fingerprints,
)
from data_pipeline.memo.other_io_managers import OtherIOManagers
from data_pipeline.memo.restoring import KeptResults, can_restore, kept_results
from data_pipeline.memo.run_knowledge import RunKnowledge
from data_pipeline.memo.run_messages import left_to_slices, made_elsewhere, without_identity
from data_pipeline.memo.run_steps import run_steps
from data_pipeline.memo.step_outcomes import StepOutcomes
from data_pipeline.runs.dagster_plan import code_location
from data_pipeline.store.orphans import Orphans, orphans


class RunPlan:
    """What is to be done in a run, as far as is known by now.

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

    Attributes:
        configuration: All instances.
        instance: The instance of the run.
        database: Its database.
        validation: Which results may be reused.
        steps: The steps of the run.
        computing: Those that compute assets, with what is known of their sources.
        others: The values that other IO managers keep.
        knowledge: What the catalogs say.
        outcomes: What has become of the steps so far.
        location: The code location of the job, if it has one.
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
        self.configuration = configuration
        self.instance = configuration.instance(name)
        self.database = database(self.instance)
        self.validation = validation(self.instance, tags)
        self.steps = run_steps(plan, job, run_config, configuration, self.instance, resources)
        for warning in without_identity(self.steps.computing, resources.problems):
            log.warning(warning)
        self.location = code_location(job)
        self._is_whole = job.name in (*configuration.instances, PIPELINE_JOB)
        self.others = OtherIOManagers(
            job,
            (run_config.original_config_dict or {}).get("resources") or {},
            name,
            self.steps.outputs,
            self.steps.keys,
        )
        self.others.storage = storage
        fingerprinted = self._fingerprinted(job, log)
        self.computing = {step.key: self._located(step) for step in fingerprinted}
        self.knowledge = RunKnowledge(
            self.database,
            configuration,
            self.instance,
            self.steps,
            observed(storage(), job.asset_layer.asset_graph, self.steps),
            log,
        )
        self.outcomes = StepOutcomes(self.steps)
        self._decisions: Decisions | None = None
        self._kept: KeptResults | None = None

    def _fingerprinted(self, job: dg.JobDefinition, log: logging.Logger) -> list[Step]:
        sources = declared_sources(job.asset_layer.asset_graph)
        asked = {
            name: sources[name]
            for step in self.steps.computing
            for item in step.computations
            if (name := str(item.key[1].whole)) in sources
            and (self.validation.asks_sources or item.identity.allow_fresh_input)
        }
        return with_fingerprints(self.steps.computing, asked, self.instance, log.warning)

    def _located(self, step: Step) -> Step:
        """Return a step whose assets know whether their values are to be found."""
        found = [
            replace(item, lost=partial(self.others.problem, item.key)) for item in step.computations
        ]
        return replace(step, computations=found)

    def decisions(self) -> Mapping[str, Decision]:
        """Return the decision for every step that is not settled yet, from what is known now."""
        if self._decisions is None:
            self._decisions = Decisions(self.computing.values(), self.validation)
        return self._decisions.update(self.knowledge.known, self.outcomes.decided)

    def decisions_on_tables(self) -> Mapping[StageTable, Decision]:
        """Return the same by the tables and blobs that the steps make."""
        decided = self.decisions()
        return {
            item.key[1]: decided[step.key]
            for step in self.computing.values()
            for item in step.computations
        }

    def computations(self, key: str) -> Sequence[Computation]:
        """Return the assets that a step computes; none where it only checks some."""
        return self.computing[key].computations if key in self.computing else ()

    def let_run(self, key: str, reason: str | None) -> None:
        """Let a step run for a reason of its own, if there is one, whatever is kept of it."""
        self.computing[key] = replace(self.computing[key], reason=reason)
        self._decisions = None

    def look_anew(self) -> None:
        """Ask the catalogs, and decide from what they say, whatever was decided before."""
        self.knowledge.look_anew()
        self._decisions = self._kept = None

    def kept_results(self) -> KeptResults:
        """Return the results that are kept beside the committed ones."""
        if self._kept is None:
            self._kept = kept_results(self.database, self.instance)
        return self._kept

    def restorable(self) -> set[str]:
        """Name the steps whose results would be swapped back in instead of being computed."""
        may_be = [key for key in self._ready() if self._may_restore(key)]
        if not may_be:
            return set()
        kept, known = self.kept_results(), self.knowledge.known
        return {key for key in may_be if can_restore(self.computing[key], known, kept)}

    def _may_restore(self, key: str) -> bool:
        """Whether a step may be swapped for an earlier result.

        Not if it must check the result, nor if what is kept may have been made of new data that the
        mode keeps out.
        """
        untaken = (
            not_taken(item, self.knowledge.known, self.validation)
            for item in self.computing[key].computations
            if item.key in self.knowledge.known
        )
        return key not in self.steps.blocking and not any(untaken)

    def _ready(self) -> list[str]:
        """Name the steps that have something to do, and all inputs to do it."""
        decisions = self.decisions()
        pending = {key for key, item in decisions.items() if item.action is not Action.REUSE}
        return [
            key
            for key, decision in decisions.items()
            if decision.action is Action.RUN and not pending & self.steps.dependencies[key]
        ]

    @property
    def left_out(self) -> Sequence[str]:
        """The steps that would load raw tables although the instance copies its inputs."""
        return list(self.steps.raw_loads)

    @property
    def left_to_slices(self) -> str | None:
        """Say which tables the job of an instance leaves to the jobs of their slices, if any."""
        jobs = self.location.sliced if self.location else {}
        if self.instance.slice is not None or not self._is_whole or not jobs:
            return None
        return left_to_slices(jobs)

    @property
    def refused(self) -> str | None:
        """Why nothing of the run may be executed, from what is known now; None where it may."""
        steps, name, known = self.computing.values(), self.instance.name, self.knowledge.known
        if why := refusal(name, self.decisions(), steps, known, self.validation):
            return why
        return cut_otherwise(self.database, self.instance, self.to_make(), known)

    @property
    def not_taken(self) -> str | None:
        """Which new data of other instances stay where they are; None where none do."""
        steps = self.computing.values()
        return kept_out(self.decisions(), steps, self.knowledge.known, self.validation)

    @property
    def made_elsewhere(self) -> str | None:
        """Which tables of other code locations the run replaces; None where it replaces none."""
        if self.location is None:
            return None
        due = [item.key for item in self.to_make()]
        return made_elsewhere(due, self.knowledge.known, self.instance, self.location)

    def to_make(self) -> list[Computation]:
        """Return the assets that the run may make anew, from what is known now."""
        return [
            item
            for key, decision in self.decisions().items()
            if decision.action not in (Action.REUSE, Action.SKIP)
            for item in self.computing[key].computations
        ]

    def orphans(self) -> Orphans:
        """Return the results of the instance that no asset of the code location makes any more."""
        if self.location is None:
            return Orphans()
        with self.database.begin() as connection:
            return orphans(connection, self.instance, self.location)

    def close(self) -> None:
        """End what was needed to look for values."""
        self.others.close()
