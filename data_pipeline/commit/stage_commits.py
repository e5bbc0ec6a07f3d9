"""Leading a run: the locks of what it writes, what dead runs left of it, the commits of stages.

One class leads every run: the memoised executor has it where it leads, and `LedRun` where a run
leads itself (`materialize`, `execute_in_process`) since its executor knows nothing of stages. Such
a run takes the locks of its tables before its first input or output, and commits a stage with the
last of its tables.
"""

import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import TYPE_CHECKING

import dagster as dg

from data_pipeline.commit.optional_outputs import leaving, readers, unmade_row
from data_pipeline.database.connection import Database, database
from data_pipeline.database.identifiers import StageTable
from data_pipeline.errors import DatabaseError, DataPipelineError
from data_pipeline.instances import Instance
from data_pipeline.results.discard_staged import make_room
from data_pipeline.runs.commit_order import CommitOrder
from data_pipeline.runs.dagster_plan import (
    PlannedStep,
    made_outputs,
    skipped_steps,
    succeeded_steps,
)
from data_pipeline.runs.leftovers import adopt, collect
from data_pipeline.runs.run_session import RunSession
from data_pipeline.runs.step_reads import close_reads
from data_pipeline.store import catalog, staging
from data_pipeline.store.catalog import CatalogRow
from data_pipeline.store.orphans import CodeLocation

if TYPE_CHECKING:
    from data_pipeline.commit.user_objects import ComesLaterError

SECONDS_BETWEEN_STEPS = 0.1
"""How long a commit may wait for readers while steps of the run still have something to do."""


@dataclass(frozen=True)
class Work:
    """What there is to do for a run.

    Attributes:
        tables: The tables and blobs that it may write.
        stages: Further stages in which dead or failed runs left something of its tables.
    """

    tables: frozenset[StageTable]
    stages: frozenset[str] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.tables or self.stages)


class StageCommits:
    """The part of a run that writes: from the locks of its tables to the commits of its stages.

    Args:
        database: The database of the instance.
        instance: The instance of the run.
        run_id: The run.
        log: The run's log.
        location: The code location of the run; None where it is not known.

    Attributes:
        session: The database session of the run.
        order: What is still to be committed, and what that waits for.
        versions: Data versions of what the run has committed.
    """

    def __init__(
        self,
        database: Database,
        instance: Instance,
        run_id: str,
        log: logging.Logger,
        location: CodeLocation | None = None,
    ) -> None:
        name = None if location is None else location.name
        self.session = RunSession(database, instance, run_id, log, name)
        self.order = CommitOrder({})
        self.versions: dict[StageTable, str] = {}
        self._log = log
        self._errors: list[DataPipelineError] = []

    def lock(self, work: Callable[[], Work]) -> None:
        """Take the locks of all that the run may write, and of nothing else.

        Args:
            work: Says what that is, from what is known now; other runs may change that until it is
                locked.
        """
        while not self.covers(needed := work()):
            self.session.take(needed.tables, needed.stages)
        # While it waited, the run before it may have done some of it.
        self.session.give_back(self.session.tables - needed.tables)

    def covers(self, work: Work) -> bool:
        """Whether the run has locked what there is to do."""
        return work.tables <= self.session.tables and work.stages <= self.session.stages

    def begin(
        self,
        order: CommitOrder,
        inputs: Mapping[str, str | None],
        inherited: Iterable[CatalogRow] = (),
    ) -> None:
        """List the run as being at work, and take over what the run before it has staged.

        Args:
            order: What is to be committed.
            inputs: Data versions of what the run reads and does not compute.
            inherited: What the run that is re-executed has staged, of steps that do not run again.
        """
        self.session.register(inputs)
        adopt(self.session, list(inherited))
        self.order = order

    def done(self, *members: str, seconds: float | None = SECONDS_BETWEEN_STEPS) -> None:
        """Note that members of stages are complete; commit what is complete with them.

        Args:
            members: As the order names them.
            seconds: How long to wait for readers; None: as configured. What is late comes again.
        """
        # A run that commits nothing does not wait for what commits need.
        from data_pipeline.commit.commit import commit_stages
        from data_pipeline.commit.user_objects import ComesLaterError

        self.order.done(*members)
        late: list[frozenset[str]] = []
        while group := self.order.ready(late):
            try:
                done = commit_stages(self.session, group, self._log, seconds=seconds)
            except ComesLaterError as error:
                self.order.join(group, error.stage)
                self._log.info(_together(group, error))
                continue
            except DataPipelineError as error:
                self._errors.append(error)
                self.order.given_up(group)
                continue
            if done is None:
                late.append(group)
            else:
                self.versions |= {row.table: row.data_version for row in done.rows}
                self.order.committed(group)
                # The run is done with these, and others need not wait until it is done with all.
                self.session.give_back(t for t in self.session.tables if t.stage in group)

    def finish(self, planned: Set[StageTable], *, success: bool) -> None:
        """Commit what is complete, and say what is not.

        Args:
            planned: All tables and blobs of the run, of which leftovers are collected.
            success: Whether all steps have succeeded; if not, what is staged stays.

        Raises:
            DatabaseError: A stage could not be committed.
        """
        # Nobody waits behind a stage that readers hold up, but for those that read from it.
        self.done()
        self.done(seconds=None)
        try:
            self.report_open()
            collect(self.session, planned, unlisted_only=not success or bool(self.order.open))
        except DatabaseError as error:
            self._errors.append(error)
        self.raise_errors()

    def report_open(self) -> None:
        """Say in the log which stages are not committed, and why."""
        for group in self.order.open:
            self._log.warning(_not_committed(self.session, group, self.order))

    def raise_errors(self) -> None:
        """Raise what has kept stages from being committed.

        Raises:
            DatabaseError: There was something.
        """
        errors, self._errors = self._errors, []
        if errors:
            raise DatabaseError("\n\n".join(dict.fromkeys(map(str, errors))))

    def close(self) -> None:
        """Free the locks."""
        self.session.close()


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
        members: defaultdict[str, set[str]] = defaultdict(set)
        for table in (table for step in steps for table in step.tables):
            members[table.stage].add(str(table))
        self._commits = StageCommits(database(instance), instance, run_id, log)
        try:
            self._commits.session.take(table for step in steps for table in step.tables)
            self._commits.begin(CommitOrder(members, [step.stages for step in steps]), inputs)
            collect(self._commits.session, self._commits.session.tables)
        except BaseException:
            self.close()
            raise

    def staged(self, step: str, table: StageTable) -> None:
        """Note that a step has staged a table, and commit what is complete with it.

        Raises:
            DatabaseError: A stage could not be committed.
        """
        self._missing[step].discard(table)
        self._commits.order.done(str(table))
        if not self._missing[step]:
            close_reads(self._run_id)
            self._commit()

    def version_of(self, table: StageTable) -> str | None:
        """Return the data version of a table as the run committed it; None where it did not."""
        return self._commits.versions.get(table)

    def finish(self) -> None:
        """Commit what is complete without optional tables that were not made.

        Raises:
            DatabaseError: A stage could not be committed.
        """
        incomplete = {key: tables for key, tables in self._missing.items() if tables}
        if not incomplete:
            return
        for step in succeeded_steps(self._storage, self._run_id) & incomplete.keys():
            self._stage_unmade(step, incomplete[step])
            self._commits.order.done(*map(str, incomplete[step]))
        # Dagster leaves out what reads an output that was not made; its tables stay as they are.
        for step in skipped_steps(self._storage, self._run_id) & incomplete.keys():
            self._commits.order.done(*map(str, incomplete[step]))
        self._commit()
        self._commits.report_open()

    def _stage_unmade(self, step: str, tables: Iterable[StageTable]) -> None:
        """Stage rows for optional outputs that a step has not made, like those that it has."""
        session = self._commits.session
        instance = session.instance
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
        """Free the locks."""
        self._commits.close()

    def _commit(self) -> None:
        self._commits.done(seconds=None)
        self._commits.raise_errors()


def _together(group: frozenset[str], error: "ComesLaterError") -> str:
    """Say that stages commit later than they could, and why."""
    stages = ", ".join(f"`{stage}`" for stage in sorted(group))
    return (
        f"Stage {stages} will be committed together with stage `{error.stage}`: {error.subject} "
        "does not fit its new tables, and is to be replaced as well"
    )


def _not_committed(session: RunSession, group: frozenset[str], order: CommitOrder) -> str:
    """Say that stages keep their earlier content, why, and where the new tables are."""
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
    names = ", ".join(f"`{stage}`" for stage in stages)
    named, keeps = (
        (f"stage {names}", "keeps its earlier content as a whole")
        if len(stages) == 1
        else (f"stages {names}", "keep their earlier content as a whole")
    )
    return (
        f"Not committed: {named} of instance `{session.instance.name}` {keeps}, since {why}. "
        f"{where}"
    ).strip()
