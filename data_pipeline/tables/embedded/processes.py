"""Which processes belong to a cluster: its postmaster, and backends that outlived one.

A process id in `postmaster.pid` proves nothing: the process may be gone, a zombie, or another one
that got the same number. What counts is that it is a `postgres` whose working directory is the
data directory.
"""

import hashlib
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

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
