"""What steps read: which versions of which assets, remembered until their outputs are written."""

from collections import defaultdict
from collections.abc import Mapping
from threading import Lock

from data_pipeline.tables.names import StageTable


class InputVersions:
    """The data versions of the inputs that each running step has loaded."""

    def __init__(self) -> None:
        self._steps: defaultdict[tuple[str, str], dict[str, str | None]] = defaultdict(dict)
        self._lock = Lock()

    def add(
        self, run_id: str, step: str, instance_id: str, table: StageTable, version: str | None
    ) -> None:
        """Notes that a step has loaded a table; a version of None says that it is not known."""
        with self._lock:
            self._steps[run_id, step][f"{instance_id}/{table}"] = version

    def of(self, run_id: str, step: str) -> Mapping[str, str | None]:
        """Gives what a step has loaded so far: the versions, by `instance/stage/table`."""
        with self._lock:
            return dict(self._steps.get((run_id, step), {}))
