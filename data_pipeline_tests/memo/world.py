"""A small pipeline whose source and code a test changes, and what its runs do."""

import copy
import json
import uuid
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from data_pipeline_tests.dagster_storages import open_storage, prepare_storage
from data_pipeline_tests.memo import jobs

CHECKOUT = Path(__file__).parents[2]

FIRST_STATE: dict[str, Any] = {
    "source": 1,
    "fingerprint": "stable",
    "allow_fresh_input": False,
    "factor": 2,
    "versions": {"t": "1", "b": "1", "c": "1", "query": "1"},
    "properties": {},
    "sql": "SELECT k, v FROM {b}",
}
"""What a test may change in the pipeline of `World`."""


class Run:
    """A finished run: what it did, and what its log says."""

    def __init__(
        self,
        storage: dg.DagsterInstance,
        builder: str,
        job: str,
        *,
        module: str = jobs.__name__,
        tags: dict[str, str] | None = None,
        selection: list[dg.AssetKey] | None = None,
        run_config: dict[str, Any] | None = None,
        reexecution_options: dg.ReexecutionOptions | None = None,
    ) -> None:
        reconstructable = dg.build_reconstructable_job(
            module,
            builder,
            (job, uuid.uuid4().hex),
            reconstructor_working_directory=str(CHECKOUT),
        )
        result = dg.execute_job(
            reconstructable,
            storage,
            tags=tags,
            asset_selection=selection,
            run_config=run_config,
            reexecution_options=reexecution_options,
        )
        self.success = result.success
        self.run_id = result.run_id
        records = storage.get_records_for_run(self.run_id).records
        entries = [record.event_log_entry for record in records]
        self.events = [entry.dagster_event for entry in entries if entry.dagster_event]
        self.messages = [entry.user_message for entry in entries]
        self.decisions = [
            record.data
            for event in self.events
            if event.event_type is dg.DagsterEventType.ENGINE_EVENT
            and (table := event.engine_event_data.metadata.get("steps")) is not None
            for record in table.records
        ]
        decisions = (f"{d['asset'].replace('/', '__')}: {d['reason']}" for d in self.decisions)
        self.log = "\n".join([*(message for message in self.messages if message), *decisions])
        failures = [
            event.job_failure_data.error.message
            for event in self.events
            if event.event_type is dg.DagsterEventType.RUN_FAILURE and event.job_failure_data.error
        ]
        self.failure = "".join(failures)
        self.steps = {
            event.step_key
            for event in self.events
            if event.event_type is dg.DagsterEventType.STEP_SUCCESS
        }


class World:
    """The pipeline of `jobs.changing_assets`, as it is now."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._file = folder / "state.json"
        self._calls = folder / "state.json.calls"
        self.storage = new_storage()
        self.state = copy.deepcopy(FIRST_STATE)
        monkeypatch.setenv(jobs.STATE, str(self._file))

    def run(
        self,
        name: str = "full",
        *,
        builder: str = "changing",
        storage: dg.DagsterInstance | None = None,
        **settings: Any,
    ) -> Run:
        """Runs the pipeline; `calls` then says which assets' code was called."""
        self.save()
        self.last = Run(storage or self.storage, builder, name, **settings)
        return self.last

    def save(self) -> None:
        """Writes down what the pipeline is now, for runs in other processes too."""
        self._file.write_text(json.dumps(self.state))
        self._calls.write_text("")

    def made(self, things: Callable[[], list[Any]], name: str = "full", **settings: Any) -> Run:
        """Runs assets (with checks and resources) that a test makes; see `jobs.made`."""
        jobs.MADE.append(things)
        return self.run(name, builder="made", **settings)

    @property
    def calls(self) -> Counter[str]:
        """The assets whose code was called in the last run, and how often."""
        return Counter(self._calls.read_text().split())


def new_storage() -> dg.DagsterInstance:
    """Gives a Dagster storage that knows nothing yet, in memory."""
    return dg.DagsterInstance.ephemeral(settings={"telemetry": {"enabled": False}})


def shared_storage(folder: Path) -> dg.DagsterInstance:
    """Gives one in files, that several processes can use."""
    place = folder / f"storage_{len(list(folder.iterdir()))}"
    prepare_storage(place)
    return open_storage(place)
