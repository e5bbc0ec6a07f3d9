"""Where the embedded server of the tests keeps its data: in memory, if there is enough of it."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from data_pipeline.embedded import EmbeddedServer

_IN_MEMORY = Path("/dev/shm")
_ENOUGH_BYTES = 4 * 1024**3
_PREFIX = f"data_pipeline_tests_{os.getuid()}."


@contextmanager
def server_home() -> Iterator[Path]:
    """An empty folder, which is gone at the end.

    A database is several hundred files. To make one takes 85 ms of a processor on ext4 and 10 ms in
    memory, and tests make thousands.
    """
    if not _IN_MEMORY.is_dir() or shutil.disk_usage(_IN_MEMORY).free < _ENOUGH_BYTES:
        with tempfile.TemporaryDirectory() as name:
            yield Path(name)
        return
    with FileLock(_IN_MEMORY / f"{_PREFIX}lock"):
        _remove_left()
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=_IN_MEMORY))
        in_use = _in_use(folder)
        in_use.acquire()
    try:
        yield folder
    finally:
        shutil.rmtree(folder)
        in_use.release()


def _in_use(folder: Path) -> FileLock:
    """The lock that the tests of a folder hold, until they end in whatever way."""
    return FileLock(folder / "in_use")


def _remove_left() -> None:
    """End what killed tests have left: their servers hold memory."""
    for folder in _IN_MEMORY.glob(f"{_PREFIX}*/"):
        try:
            with _in_use(folder).acquire(timeout=0):
                EmbeddedServer(folder).stop()
                shutil.rmtree(folder)
        except Timeout:
            continue
