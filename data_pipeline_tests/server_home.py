"""Where the embedded server of the tests keeps its data: in memory, if there is enough of it."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from data_pipeline.embedded import EmbeddedServer

_IN_MEMORY = Path("/dev/shm")
_ENOUGH_BYTES = 4 * 1024**3
_PREFIX = "data_pipeline_tests."


@contextmanager
def server_home() -> Iterator[Path]:
    """An empty folder, which is gone at the end.

    A database is several hundred files. To make one takes 85 ms of a processor on ext4 and 10 ms in
    memory, and tests make thousands.
    """
    enough = _IN_MEMORY.is_dir() and shutil.disk_usage(_IN_MEMORY).free > _ENOUGH_BYTES
    if enough:
        _remove_left()
    name = f"{_PREFIX}{os.getpid()}."
    with tempfile.TemporaryDirectory(prefix=name, dir=_IN_MEMORY if enough else None) as folder:
        yield Path(folder)


def _remove_left() -> None:
    """Ends what processes have left that were killed: their servers hold memory."""
    for folder in _IN_MEMORY.glob(f"{_PREFIX}*"):
        pid = int(folder.name.split(".")[1])
        if folder.stat().st_uid == os.getuid() and not psutil.pid_exists(pid):
            EmbeddedServer(folder).stop()
            shutil.rmtree(folder, ignore_errors=True)
