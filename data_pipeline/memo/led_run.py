"""What a memoised run writes: its locks, what dead runs left of it, and the commits of stages."""

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from data_pipeline.commit.commit import commit_stages
from data_pipeline.commit.stage_commits import not_committed, together
from data_pipeline.commit.user_objects import ComesLaterError
from data_pipeline.database.connection import Database
from data_pipeline.database.identifiers import StageTable
from data_pipeline.errors import DatabaseError, DataPipelineError
from data_pipeline.instances import Instance
from data_pipeline.memo.run_steps import RunSteps
from data_pipeline.runs.dagster_plan import CommitOrder, StepStages
from data_pipeline.runs.leftovers import adopt, collect, leftovers
from data_pipeline.runs.run_session import RunSession
from data_pipeline.store.catalog import CatalogRow
from data_pipeline.store.orphans import CodeLocation

_SECONDS_BETWEEN_STEPS = 0.1
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
        steps: Its steps.
        log: The run's log.
        location: The code location of the run; None where it is not known.
    """

    def __init__(
        self,
        database: Database,
        instance: Instance,
        run_id: str,
        steps: RunSteps,
        log: logging.Logger,
        location: CodeLocation | None = None,
    ) -> None:
        name = None if location is None else location.name
        self.session = RunSession(database, instance, run_id, log, name)
        self._instance = instance
        self._steps = steps
        self._log = log
        self._errors: list[DataPipelineError] = []
        self._order = CommitOrder({})

    def lock(self, work: Callable[[], Work]) -> None:
        """Takes the locks of all that the run may write, and of nothing else.

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

    def begin(self, inputs: Mapping[str, str | None], inherited: Iterable[CatalogRow]) -> None:
        """Lists the run as being at work, and takes over what the run before it has staged.

        Args:
            inputs: Data versions of what the run reads and does not compute.
            inherited: What the run that is re-executed has staged, of steps that do not run again.
        """
        self.session.register(inputs)
        rows = list(inherited)
        adopt(self.session, rows)
        self._order = _order(self._steps, self._instance, [row.table for row in rows])

    def done(self, *steps: str) -> None:
        """Notes that steps have succeeded or need not run; commits what is complete with them."""
        self._order.done(*steps)
        self._commit(_SECONDS_BETWEEN_STEPS)

    def finish(self, *, success: bool) -> None:
        """Commits what is complete, and says what is not.

        Args:
            success: Whether all steps have succeeded; if not, what is staged stays.

        Raises:
            DatabaseError: A stage could not be committed.
        """
        # Nobody waits behind a stage that readers hold up, but for those that read from it.
        self._commit(_SECONDS_BETWEEN_STEPS)
        self._commit(None)
        try:
            for group in self._order.open:
                self._log.warning(not_committed(self.session, group, self._order))
            tables = {item.key[1] for step in self._steps.computing for item in step.computations}
            collect(self.session, tables, unlisted_only=not success or bool(self._order.open))
        except DatabaseError as error:
            self._errors.append(error)
        if self._errors:
            raise DatabaseError("\n\n".join(dict.fromkeys(map(str, self._errors))))

    def close(self) -> None:
        """Frees the locks."""
        self.session.close()

    def _commit(self, seconds: float | None) -> None:
        late: list[frozenset[str]] = []
        while group := self._order.ready(late):
            try:
                done = commit_stages(self.session, group, self._log, seconds=seconds)
            except ComesLaterError as error:
                self._order.join(group, error.stage)
                self._log.info(together(group, error))
                continue
            except DataPipelineError as error:
                self._errors.append(error)
                self._order.given_up(group)
                continue
            if done is None:
                late.append(group)
            else:
                self._order.committed(group)
                # The run is done with these, and others need not wait until it is done with all.
                self.session.give_back(t for t in self.session.tables if t.stage in group)


def inherited(
    database: Database, instance: Instance, steps: RunSteps, runs: set[str]
) -> list[CatalogRow]:
    """Gives what earlier runs have staged of steps that are not part of this run."""
    computed = {item.key[1] for step in steps.computing for item in step.computations}
    with database.begin() as connection:
        left = leftovers(connection, instance) if runs else []
    return [
        item.row
        for item in left
        if item.is_there and item.owner in runs and item.table not in computed
    ]


def _order(steps: RunSteps, instance: Instance, staged: Iterable[StageTable]) -> CommitOrder:
    members: dict[str, set[str]] = {table.stage: set() for table in staged}
    found = []
    for step in steps.computing:
        written = {item.key[1].stage for item in step.computations}
        read = {
            table.stage
            for item in step.computations
            for source, table in item.inputs
            if source == instance.instance_id
        }
        found.append(StepStages(frozenset(written), frozenset(read)))
        for stage in written:
            members.setdefault(stage, set()).add(step.key)
    for name, checks in steps.blocking.items():
        for check in checks:
            members.setdefault(check.asset_key.path[0], set()).add(name)
    return CommitOrder(members, found)
