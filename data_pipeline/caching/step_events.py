"""What the steps of a run have made, as their events say: of each output, who keeps it."""

from dataclasses import dataclass
from typing import Any

import dagster as dg

DATA_VERSION_TAG = "dagster/data_version"
_IS_GIVEN_TAG = "dagster/data_version_is_user_provided"

# Data versions are told in tags of materializations, and who keeps a value in the events of its
# output, which Dagster does not document. `data_pipeline_tests/caching/test_storing_nothing.py`
# fails when they change.


@dataclass(frozen=True)
class MadeOutput:
    """What became of an output of a step.

    Attributes:
        is_made: Whether the step has made it.
        is_recorded: Whether Dagster has recorded a materialization of its asset.
        version: The data version that the asset's code, or an IO manager, gave it.
        io_manager: The key of the IO manager that has stored it; None where none was called.
    """

    is_made: bool = False
    is_recorded: bool = False
    version: str | None = None
    io_manager: str | None = None


class StepEvents:
    """Takes note of the events of steps, of the last attempt of each."""

    def __init__(self) -> None:
        self._keys: dict[str, dict[dg.AssetKey, str | None]] = {}
        self._handled: dict[str, dict[str, str]] = {}
        self._made: dict[str, set[str]] = {}

    def add(self, event: dg.DagsterEvent) -> None:
        """Takes note of an event of a step."""
        step, kind = event.step_key, event.event_type
        if step is None:
            return
        if kind in (dg.DagsterEventType.STEP_START, dg.DagsterEventType.STEP_RESTARTED):
            self._keys[step], self._handled[step], self._made[step] = {}, {}, set()
        elif kind is dg.DagsterEventType.STEP_OUTPUT:
            self._made.setdefault(step, set()).add(event.step_output_data.output_name)
        elif kind is dg.DagsterEventType.ASSET_MATERIALIZATION:
            tags = event.step_materialization_data.materialization.tags or {}
            # What the code of an asset logs by itself has no data version.
            if event.asset_key is not None and DATA_VERSION_TAG in tags:
                given = tags[DATA_VERSION_TAG] if _IS_GIVEN_TAG in tags else None
                self._keys.setdefault(step, {})[event.asset_key] = given
        elif kind is dg.DagsterEventType.HANDLED_OUTPUT:
            handled: Any = event.event_specific_data
            self._handled.setdefault(step, {})[handled.output_name] = handled.manager_key

    def output(self, step: str, name: str, key: dg.AssetKey) -> MadeOutput:
        """Return what became of an output.

        Args:
            step: The step.
            name: The output.
            key: Its asset.
        """
        recorded = self._keys.get(step, {})
        handled = self._handled.get(step, {})
        is_made = name in self._made.get(step, ())
        return MadeOutput(is_made, key in recorded, recorded.get(key), handled.get(name))
