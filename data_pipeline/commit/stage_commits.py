"""Who leads a run: its executor, or, where that knows nothing of stages, the run itself.

A run that leads itself (`materialize`, `execute_in_process`) takes the locks of its tables before
its first input or output, and commits a stage with the last of its tables.
"""

import logging
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import dagster as dg

from data_pipeline.commit.commit import commit_stages
from data_pipeline.commit.user_objects import ComesLaterError
from data_pipeline.database.connection import database
from data_pipeline.database.identifiers import StageTable
from data_pipeline.errors import ConfigurationError
from data_pipeline.identity.computation import Identity
from data_pipeline.instances import Instance
from data_pipeline.instances.dagster_resource import PARTITION_TAG
from data_pipeline.results.discard_staged import make_room
from data_pipeline.runs.dagster_plan import CommitOrder, PlannedStep
from data_pipeline.runs.leftovers import collect
from data_pipeline.runs.run_session import RunSession
from data_pipeline.runs.step_reads import close_reads
from data_pipeline.store import catalog, slots, staging
from data_pipeline.store.catalog import CatalogRow
from data_pipeline.store.orphans import CodeLocation
from data_pipeline.transfer.stable_hash import fingerprint

NOT_MADE = fingerprint("not made")
"""The data version of what was not made."""


def unmade_row(table: StageTable, run_id: str, sibling: CatalogRow | None) -> CatalogRow:
    """Return the row of an output that was not made.

    Args:
        table: Stage and name.
        run_id: The run.
        sibling: The row of an output that the same step has made; None where there is none.
    """
    row = CatalogRow(table.stage, table.name, "absent", NOT_MADE, run_id=run_id)
    if sibling is None:
        return row
    key = None
    if sibling.cache_key is not None:
        key = Identity.from_row(sibling).cache_key(str(table), sibling.inputs)
    return replace(
        row,
        cache_key=key,
        code_version=sibling.code_version,
        code_parts=sibling.code_parts,
        identity=sibling.identity,
        inputs=sibling.inputs,
    )


def leaving(
    instance: Instance, step: str, earlier: CatalogRow, row: CatalogRow, readers: Collection[str]
) -> str:
    """Say that a result leaves its stage with the next commit, and who read it.

    Args:
        instance: Whose result.
        step: The step that does not make it any more.
        earlier: The row of the result.
        row: The row that takes its place.
        readers: The assets that read it.
    """
    stays = slots.is_kept(instance, earlier, row)
    fate = "is kept as an earlier version" if stays else "is dropped"
    read = (
        f" It is read by {', '.join(f'`{name}`' for name in readers)}: what was made of it stays "
        "as it is until it is made again."
        if readers
        else ""
    )
    return (
        f"`{row.table}` was not made by step `{step}`, so it leaves stage `{row.stage}` with the "
        f"next commit; what there was {fate}.{read}"
    )


def readers(
    instance_id: str, table: StageTable, known: Mapping[tuple[str, StageTable], CatalogRow]
) -> set[str]:
    """Return the assets that were made of a table, those of other instances with their id.

    Args:
        instance_id: Whose table.
        table: The table.
        known: What the catalogs know, by instance id and table.
    """
    name = f"{instance_id}/{table}"
    return {
        str(other) if of == instance_id else f"{other} ({of})"
        for (of, other), row in known.items()
        if name in row.inputs and not row.is_absent
    }


@dataclass(frozen=True)
class LeadingExecutors:
    """Creates executors that lead the runs of instances.

    Its type tells the steps, in whatever process, that they do not: also when the executor is gone.

    Attributes:
        create: Creates the executor of a run.
        location: The code location of the runs; None where it is not known.
    """

    create: Callable[[dg.InitExecutorContext], dg.Executor]
    location: CodeLocation | None = None

    def __call__(self, context: dg.InitExecutorContext) -> dg.Executor:
        """Creates the executor of a run."""
        return self.create(context)


def code_location(job: dg.JobDefinition) -> CodeLocation | None:
    """Return the code location of a job's definitions, None where they do not say it."""
    create = job.executor_def.executor_creation_fn
    return create.location if isinstance(create, LeadingExecutors) else None


def has_leading_executor(step: Any) -> bool:
    """Whether the executor of a step's run leads it."""
    create = step.job_def.executor_def.executor_creation_fn
    return PARTITION_TAG in step.run_tags and isinstance(create, LeadingExecutors)


def check_leads_alone(step: Any) -> None:
    """Refuses to lead a run of which this process executes a part only.

    It would commit what it knows of, and so a part of a stage.

    Raises:
        ConfigurationError: Other processes execute the rest, and no executor leads the run.
    """
    plan, run = step.plan_data.execution_plan, step.dagster_run
    planned = run.step_keys_to_execute or [item.key for item in plan.get_all_steps_in_topo_order()]
    if set(plan.step_keys_to_execute) != set(planned):
        name = step.job_def.executor_def.name
        raise ConfigurationError(
            f"Run {step.run_id} executes its steps in several processes (executor `{name}`), and "
            "nobody commits their stages as a whole. Let job and assets come from "
            "instance_definitions(..., executor=...), or wrap the executor: "
            "data_pipeline.memo.executor.memoised(dg.multiprocess_executor); and start the run "
            "with a partition, which is the instance."
        )


class LedRun:
    """A run that this process leads, from its first input or output on.

    Args:
        instance: The instance that it writes.
        run_id: The run.
        steps: Its steps that write tables.
        inputs: Data versions of what it reads and does not compute.
        storage: Where Dagster records which steps have succeeded.
        log: Says what it waits for, and what it commits.
    """

    def __init__(
        self,
        instance: Instance,
        run_id: str,
        steps: Sequence[PlannedStep],
        inputs: Mapping[str, str | None],
        storage: dg.DagsterInstance,
        log: logging.Logger,
    ) -> None:
        self._storage = storage
        self._run_id = run_id
        self._log = log
        self._outputs = {step.key: step.tables for step in steps}
        self._missing = {step.key: set(step.tables) for step in steps}
        self._versions: dict[StageTable, str] = {}
        members: defaultdict[str, set[str]] = defaultdict(set)
        for table in (table for step in steps for table in step.tables):
            members[table.stage].add(str(table))
        self._order = CommitOrder(members, [step.stages for step in steps])
        self._session = RunSession(database(instance), instance, run_id, log)
        try:
            self._session.take(table for step in steps for table in step.tables)
            self._session.register(inputs)
            collect(self._session, self._session.tables)
        except BaseException:
            self.close()
            raise

    def staged(self, step: str, table: StageTable) -> None:
        """Notes that a step has staged a table, and commits what is complete with it.

        Raises:
            DatabaseError: A stage could not be committed.
        """
        self._missing[step].discard(table)
        self._order.done(str(table))
        if not self._missing[step]:
            close_reads(self._run_id)
            self._commit()

    def version_of(self, table: StageTable) -> str | None:
        """Gives the data version of a table as the run committed it; None where it did not."""
        return self._versions.get(table)

    def finish(self) -> None:
        """Commits what is complete without optional tables that were not made.

        Raises:
            DatabaseError: A stage could not be committed.
        """
        incomplete = {key: tables for key, tables in self._missing.items() if tables}
        if not incomplete:
            return
        for step in succeeded_steps(self._storage, self._run_id) & incomplete.keys():
            self._stage_unmade(step, incomplete[step])
            self._order.done(*map(str, incomplete[step]))
        # Dagster leaves out what reads an output that was not made; its tables stay as they are.
        for step in skipped_steps(self._storage, self._run_id) & incomplete.keys():
            self._order.done(*map(str, incomplete[step]))
        self._commit()
        for group in self._order.open:
            self._log.warning(not_committed(self._session, group, self._order))

    def _stage_unmade(self, step: str, tables: Iterable[StageTable]) -> None:
        """Stages rows for optional outputs that a step has not made, like those that it has."""
        instance, session = self._session.instance, self._session
        made = made_outputs(self._storage, self._run_id, step)
        unmade = [table for table in tables if self._outputs[step][table] not in made]
        if not unmade:
            return
        with session.begin() as connection:
            staged = staging.of_run(connection, instance, self._run_id)
            known = catalog.rows(connection, instance.catalog_schema)
        siblings = [staged[table] for table in self._outputs[step] if table in staged]
        example = siblings[0] if siblings else None
        for table in sorted(unmade, key=str):
            row = unmade_row(table, self._run_id, example)
            make_room(session.database, instance, table, self._run_id, self._log)
            with session.begin() as connection:
                staging.put(connection, instance, row, self._run_id)
            before = known.get(table)
            if before is not None and before.kind not in catalog.WITHOUT_VALUE:
                own = instance.instance_id
                others = {(own, t): r for t, r in known.items() if t not in self._outputs[step]}
                read = sorted(readers(own, table, others))
                self._log.warning(leaving(instance, step, before, row, read))

    def close(self) -> None:
        """Frees the locks."""
        self._session.close()

    def _commit(self) -> None:
        while group := self._order.ready():
            try:
                done = commit_stages(self._session, group, self._log)
            except ComesLaterError as error:
                self._order.join(group, error.stage)
                self._log.info(together(group, error))
                continue
            self._versions |= {row.table: row.data_version for row in done.rows} if done else {}
            self._order.committed(group)
            self._session.give_back(t for t in self._session.tables if t.stage in group)


def together(group: frozenset[str], error: ComesLaterError) -> str:
    """Say that stages commit later than they could, and why."""
    stages = ", ".join(f"`{stage}`" for stage in sorted(group))
    return (
        f"Stage {stages} will be committed together with stage `{error.stage}`: {error.subject} "
        "does not fit its new tables, and is to be replaced as well"
    )


def not_committed(session: RunSession, group: frozenset[str], order: CommitOrder) -> str:
    """Says that stages keep their earlier content, why, and where the new tables are."""
    stages = sorted(group)
    with session.begin() as connection:
        staged = staging.of_run(connection, session.instance, session.run_id)
    there = [
        f"  {staging.relation_of(session.instance, table)}"
        for table, row in staged.items()
        if table.stage in stages and row.is_relation
    ]
    where = "\n".join(["What was made for it stays for inspection:", *there]) if there else ""
    missing = [f"`{name}`" for name in sorted(order.missing(group))]
    before = [f"stage `{stage}`" for stage in sorted(order.waits_for(group))]
    why = f"{', '.join(missing)} did not succeed" if missing else f"{', '.join(before)} did not"
    return (
        f"Not committed: stage {', '.join(f'`{stage}`' for stage in stages)} of instance "
        f"`{session.instance.name}` keeps its earlier content as a whole, since {why}. {where}"
    ).strip()


def succeeded_steps(storage: dg.DagsterInstance, run_id: str) -> set[str]:
    """Names the steps of a run that have succeeded."""
    return {event.step_key for event in _events(storage, run_id, "STEP_SUCCESS") if event.step_key}


def skipped_steps(storage: dg.DagsterInstance, run_id: str) -> set[str]:
    """Names the steps of a run that Dagster has left out."""
    return {event.step_key for event in _events(storage, run_id, "STEP_SKIPPED") if event.step_key}


def made_outputs(storage: dg.DagsterInstance, run_id: str, step: str) -> set[str]:
    """Names the outputs that a step of a run has made."""
    events = _events(storage, run_id, "STEP_OUTPUT")
    return {event.step_output_data.output_name for event in events if event.step_key == step}


def _events(storage: dg.DagsterInstance, run_id: str, kind: str) -> list[dg.DagsterEvent]:
    records = storage.get_records_for_run(run_id, of_type=dg.DagsterEventType(kind)).records
    events = [record.event_log_entry.dagster_event for record in records]
    return [event for event in events if event]
