"""What a run knows of the results that it reads, keeps and makes, as it goes on."""

import logging
from collections.abc import Mapping

from data_pipeline.database.connection import Database
from data_pipeline.instances import Configuration, Instance
from data_pipeline.memo.deciding.catalog_state import known, known_to_run
from data_pipeline.memo.deciding.decisions import Key, Known, key_of
from data_pipeline.memo.run_steps import RunSteps


class RunKnowledge:
    """What the catalogs say, with what the run has staged.

    Args:
        database: The database of the instances.
        configuration: All instances.
        instance: The instance of the run.
        steps: The steps of the run.
        outside: What was observed of assets that other code locations or jobs make.
        log: Says who keeps the catalogs from being read.

    Attributes:
        run_id: The run whose staged results count; None until it has locked what it writes.
        known: All that is known now.
        steps: The steps of the run.
        instance: The instance of the run.
    """

    def __init__(
        self,
        database: Database,
        configuration: Configuration,
        instance: Instance,
        steps: RunSteps,
        outside: Mapping[Key, Known],
        log: logging.Logger,
    ) -> None:
        self._database = database
        self._configuration = configuration
        self.instance = instance
        self.steps = steps
        self._outside = outside
        self._log = log
        self.run_id: str | None = None
        self.known: Mapping[Key, Known] = self.look()

    def look_anew(self) -> None:
        """Ask the catalogs again."""
        self.known = self.look()

    def learn(self, made: Mapping[Key, Known]) -> None:
        """Add what the run has made itself."""
        self.known = {**self.known, **made}

    def versions_read(self) -> dict[str, str | None]:
        """Return the data versions of what the run reads and does not compute."""
        computed = {item.key for step in self.steps.computing for item in step.computations}
        read = {key for s in self.steps.computing for c in s.computations for key in c.inputs}
        return {
            f"{instance}/{table}": found.row.data_version
            for instance, table in read - computed
            if (found := self.known.get((instance, table))) is not None
        }

    def look(self) -> dict[Key, Known]:
        """Return what the catalogs say now."""
        instances = self.steps.instances.values()
        if self.run_id is None:
            found = known(self._database, instances, self._log)
        else:
            found = known_to_run(self._database, instances, self.instance, self.run_id, self._log)
        return {**self._outside, **found, **self._read_by_code(found)}

    def _read_by_code(self, found: Mapping[Key, Known]) -> dict[Key, Known]:
        """Return what the catalogs of instances know that only the code of a step has read."""
        rows = [
            found[i.key].row for s in self.steps.computing for i in s.computations if i.key in found
        ]
        read = {key_of(name)[0] for row in rows for name in row.inputs}
        if not read - self.steps.instances.keys():
            return {}
        every = [
            self._configuration.read_by(self.instance, n) for n in self._configuration.instances
        ]
        others = {item.instance_id: item for item in every if item.instance_id in read}
        own = self.steps.instances.keys()
        read_too = [item for key, item in others.items() if key not in own]
        return known(self._database, read_too, self._log)
