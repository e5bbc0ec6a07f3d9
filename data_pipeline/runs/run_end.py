"""What is to be closed when a run ends in this process, whatever became of its steps."""

from collections.abc import Callable

_closing: dict[str, list[Callable[[], None]]] = {}


def at_run_end(run_id: str, close: Callable[[], None]) -> None:
    """Call something when a run ends."""
    _closing.setdefault(run_id, []).append(close)


def run_ended(run_id: str) -> None:
    """Close what is open for a run."""
    for close in _closing.pop(run_id, ()):
        close()
