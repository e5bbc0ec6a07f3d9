"""What steps have made that our IO manager has not staged: nothing, or values kept elsewhere."""

import logging
from collections.abc import Collection, Mapping, Sequence

import dagster as dg

from data_pipeline.commit.optional_outputs import NOT_MADE, leaving, readers
from data_pipeline.memo.deciding.decisions import Action, Computation, Key, Step, not_made
from data_pipeline.memo.other_io_managers import (
    OtherIOManagers,
    StepEvents,
    Unstored,
    stage_unstored,
)
from data_pipeline.memo.run_knowledge import RunKnowledge
from data_pipeline.memo.run_steps import node_name
from data_pipeline.runs.dagster_plan import CODE_VERSION_TAG
from data_pipeline.runs.run_session import RunSession
from data_pipeline.store.active_runs import run_registry
from data_pipeline.store.catalog import WITHOUT_VALUE, CatalogRow


class MadeResults:
    """Follows the events of a run, and stages rows for results that are not stored here.

    Args:
        knowledge: What the run knows.
        computing: The steps that compute something, by name.
        others: The other IO managers of the run.
        skipped: The steps that were left out so far; it grows.
        log: The run's log.

    Attributes:
        wave: The steps that are being executed.
        misfits: Why results of steps do not count, by step of the plan.
    """

    def __init__(
        self,
        knowledge: RunKnowledge,
        computing: Mapping[str, Step],
        others: OtherIOManagers,
        skipped: Collection[str],
        log: logging.Logger,
    ) -> None:
        self._knowledge = knowledge
        self._steps = knowledge.steps
        self._instance = knowledge.instance
        self._computing = computing
        self._others = others
        self._skipped = skipped
        self._log = log
        self._events = StepEvents()
        self._versions = {
            self._steps.keys[item.key]: item.identity.code_version
            for step in self._steps.computing
            for item in step.computations
        }
        self.wave: Sequence[str] = ()
        self.misfits: dict[str, str] = {}

    def by(self, step: str) -> Sequence[Computation]:
        """Return what a step computes."""
        return self._computing[step].computations if step in self._computing else ()

    def note(self, event: dg.DagsterEvent) -> None:
        """Take note of an event of the run."""
        self._events.add(event)
        if event.step_key is not None:
            self._note_misfit(event)

    def lacks(self, step: str) -> list[str]:
        """Say which inputs of a step were not made, as far as the run has come."""
        return self._not_made(step, self.by(step))

    def _note_misfit(self, event: dg.DagsterEvent) -> None:
        """Take no result of another version of the code than this process has loaded.

        Steps refuse to begin where our IO manager takes part; other IO managers know nothing of it.
        """
        if event.event_type is not dg.DagsterEventType.ASSET_MATERIALIZATION:
            return
        made = event.step_materialization_data.materialization
        wanted, found = self._versions.get(made.asset_key), (made.tags or {}).get(CODE_VERSION_TAG)
        if wanted is not None and found is not None and wanted != found:
            self.misfits[str(event.step_key)] = (
                f"`{made.asset_key.to_user_string()}` was computed by a process whose code has "
                f"version {found}; the run was started with version {wanted}. Restart that worker, "
                "or deploy the image of the run to it, and run again. The result does not count."
            )

    def _not_made(self, step: str, computations: Sequence[Computation]) -> list[str]:
        """Say which inputs of assets of a step were not made, as far as this run has come."""
        own = {item.key for item in self.by(step)}
        inputs = {key for item in computations for key in item.inputs} - own
        computed = {item.key for step in self.wave for item in self.by(step)}
        skipped = {item.key for step in self._skipped for item in self.by(step)}
        known = self._knowledge.look() if inputs & computed else self._knowledge.known
        return not_made(inputs, known, dict.fromkeys(skipped, Action.SKIP))

    def stage(self, session: RunSession, name: str) -> None:
        """Stage rows for what a step has made and not stored here, or not made."""
        step = self._computing.get(name)
        if step is None:
            return
        found = {}
        for item in step.computations:
            planned = self._steps.outputs[item.key]
            output = self._events.output(planned.step, planned.name, self._steps.keys[item.key])
            before = self._knowledge.known.get(item.key)
            if not output.is_made:
                if not self._not_made(name, [item]):
                    found[item.key] = Unstored("absent", NOT_MADE)
            elif not output.is_recorded:
                continue
            elif output.io_manager is None or not item.key[1].stage:
                found[item.key] = Unstored("none", output.version)
            elif not self._others.is_ours(output.io_manager):
                state = self._others.state(item.key)
                earlier = before.row if before and before.row.kind == "elsewhere" else None
                found[item.key] = Unstored("elsewhere", output.version, state, earlier)
        if found:
            rows = stage_unstored(
                session, step, found, self._version_read, self._read_by_code_of(session, name)
            )
            self._tell_readers(name, [row for row in rows if row.is_absent])

    def _read_by_code_of(self, session: RunSession, name: str) -> dict[str, str | None]:
        """Return the data versions of what the code of a step, in whatever process, has read."""
        with session.begin() as connection:
            read = run_registry.reads_by_code(connection, self._instance, session.run_id)
        return {
            k: v for key, item in read.items() if node_name(key) == name for k, v in item.items()
        }

    def _tell_readers(self, step: str, rows: Sequence[CatalogRow]) -> None:
        """Say which results leave their stages with the next commit, and who read them."""
        own = self._instance.instance_id
        others = [item for item in self._steps.computing if item.key != step]
        made_here = {item.key for item in self.by(step)}
        everything = self._knowledge.known
        known = {key: found.row for key, found in everything.items() if key not in made_here}
        for row in rows:
            before = everything.get((own, row.table))
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
        computed = {item.key for step in self.wave for item in self.by(step)}
        found = (self._knowledge.look() if key in computed else self._knowledge.known).get(key)
        return found.row.data_version if found else None
