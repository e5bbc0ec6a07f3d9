"""File locks that die with their holders, whatever kills them.

`flock` belongs to the open file: it is inherited by child processes and ends when the last of them
has closed it. So a lock that a server inherits says exactly whether any of its processes still
lives, where a process id can be stale, recycled or a zombie. (filelock, which takes the same kind
of lock, does not let a child inherit it.)
"""

import errno
import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from data_pipeline.errors import EmbeddedServerError
from data_pipeline.tables.embedded.layout import Layout

POLL_SECONDS = 0.01


@contextmanager
def starting(layout: Layout, timeout: float) -> Iterator[None]:
    """Hold the right to start, initialise or stop the server.

    Raises:
        EmbeddedServerError: Another process has held it for `timeout` seconds.
    """
    deadline = time.monotonic() + timeout
    while (descriptor := claim(layout, layout.start_lock)) is None:
        if time.monotonic() > deadline:
            raise EmbeddedServerError(
                f"Another process has been starting or stopping the embedded PostgreSQL in "
                f"{layout.base} for over {timeout:.0f} seconds. Look into {layout.log}, or see "
                f"with `fuser {layout.start_lock}` which process it is."
            )
        time.sleep(POLL_SECONDS)
    try:
        yield
    finally:
        os.close(descriptor)


def claim(layout: Layout, path: Path) -> int | None:
    """Take a lock without waiting: the descriptor that holds it, or None when it is taken.

    End it with `os.close`. Never unlock it: that would take the lock away from child processes
    that have inherited the descriptor too.
    """
    descriptor = layout.open_private(path, os.O_RDWR)
    held = False
    try:
        held = _flock(descriptor, fcntl.LOCK_EX, path)
    finally:
        if not held:
            os.close(descriptor)
    return descriptor if held else None


def is_held(path: Path) -> bool:
    """Whether some process holds the lock (a missing file is held by none)."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        # Shared: two processes that look at the same moment do not see each other.
        return not _flock(descriptor, fcntl.LOCK_SH, path)
    finally:
        os.close(descriptor)


def _flock(descriptor: int, kind: int, path: Path) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            return False
        raise EmbeddedServerError(
            f"The file {path} cannot be locked: {error.strerror}. Set DATA_PIPELINE_HOME to a "
            "directory on a local file system."
        ) from error
    return True
