"""Look at real server processes, and run Python in processes of its own."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

from data_pipeline_tests.patience import PATIENCE

LIBRARIES = [
    "data_pipeline.cli.commands.db",
    "data_pipeline.database.connection",
    "data_pipeline.embedded.cluster",
    "data_pipeline.instances",
    "sqlalchemy.dialects.postgresql.psycopg2",
]
"""What processes import that are copies of one."""

START = """
import sys
from pathlib import Path
from data_pipeline.embedded import EmbeddedServer
import psutil, psycopg2, sqlalchemy
if len(sys.argv) > 2:  # the rest may be unreadable for that user: all imports are done
    import os
    user = int(sys.argv[2])
    os.setgroups([])
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)
print("imported", flush=True)
sys.stdin.readline()
print(EmbeddedServer(Path(sys.argv[1])).start().render_as_string(hide_password=False), flush=True)
"""


def start_in_process(home: Path, *, user: int | None = None, **options: Any) -> subprocess.Popen:
    """A process that has imported everything and starts the server when it gets a line."""
    arguments = [sys.executable, "-c", START, str(home)] + ([] if user is None else [str(user)])
    process = subprocess.Popen(
        arguments,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=options.pop("cwd", "/"),
        **options,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "imported\n", process.communicate()[1]
    return process


def go(process: subprocess.Popen) -> str:
    """Let the process start the server: its URL."""
    output, errors = process.communicate("go\n", timeout=PATIENCE)
    assert process.returncode == 0, errors
    return output.strip()


def postmasters() -> Iterator[tuple[psutil.Process, Path]]:
    """All servers on this machine that these tests may look at, with their data directories."""
    for process in psutil.process_iter():
        try:
            if process.name() == "postgres" and _name(process.parent()) != "postgres":
                yield process, Path(process.cwd())
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue


def postmaster_of(data: Path) -> psutil.Process:
    """The one server of a data directory."""
    real = Path(os.path.realpath(data))
    (found,) = [process for process, directory in postmasters() if directory == real]
    return found


def is_alive(process: psutil.Process) -> bool:
    """Whether a process runs (one that ended may stay for a while as a zombie)."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def await_end(*processes: psutil.Process) -> None:
    """Wait until all have ended."""
    deadline = time.monotonic() + PATIENCE
    while alive := [process for process in processes if is_alive(process)]:
        assert time.monotonic() < deadline, f"still running: {alive}"
        time.sleep(0.005)


def _name(process: psutil.Process | None) -> str:
    return process.name() if process else ""
