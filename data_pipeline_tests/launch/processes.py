"""Commands and long-running services of a deployment, as real processes."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from data_pipeline.embedded.binaries import find_psql
from data_pipeline_tests.patience import PATIENCE

CHECKOUT = Path(__file__).parents[2]
PROGRAMS = Path(sys.executable).parent
T = TypeVar("T")


def environment(**variables: str) -> dict[str, str]:
    """This process's environment without settings of Dagster or the pipeline, and `variables`."""
    ours = ("DAGSTER_", "DATA_PIPELINE_", "POSTGRES_", "PG")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    directories = [str(PROGRAMS), kept.get("PATH", os.defpath), str(find_psql().parent)]
    path = os.pathsep.join(directories)
    return {**kept, "PATH": path, "NO_COLOR": "1", **variables}


def execute(
    *command: str, env: Mapping[str, str], cwd: Path = CHECKOUT
) -> subprocess.CompletedProcess[str]:
    """The ended process, with what it printed (errors included) in `stdout`."""
    return subprocess.run(
        command,
        env=env,
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


def succeed(*command: str, env: Mapping[str, str], cwd: Path = CHECKOUT) -> str:
    """What a command printed that must succeed."""
    ended = execute(*command, env=env, cwd=cwd)
    assert ended.returncode == 0, ended.stdout
    return ended.stdout


def free_port() -> int:
    """A port of loopback that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Services:
    """Services that run side by side; the end of one of them ends every wait, with its log."""

    def __init__(self, logs: Path) -> None:
        self._logs = logs
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(
        self, name: str, command: Sequence[str], *, env: Mapping[str, str], cwd: Path
    ) -> None:
        """Start a service in a process group of its own; what it prints goes to its log."""
        with self._log(name).open("wb") as log:
            self._processes[name] = subprocess.Popen(
                command,
                env=env,
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def wait_for(self, what: str, check: Callable[[], T | None]) -> T:
        """The first result of `check` that is true."""
        deadline = time.monotonic() + PATIENCE
        while not (found := check()):
            ended = [
                name for name, process in self._processes.items() if process.poll() is not None
            ]
            assert not ended, f"waiting for {what}: {ended} ended\n{self.output()}"
            assert time.monotonic() < deadline, f"waiting for {what} in vain\n{self.output()}"
            time.sleep(0.1)
        return found

    def wait_for_port(self, port: int) -> None:
        """Wait until something listens on a port of loopback."""

        def listening() -> bool:
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", port)) == 0

        self.wait_for(f"port {port}", listening)

    def output(self) -> str:
        """The end of every log."""
        logs = {name: self._log(name).read_text(errors="replace") for name in self._processes}
        return "\n".join(f"---- {name}\n{text[-6000:]}" for name, text in logs.items())

    def stop(self) -> None:
        """End all services and whatever they have started."""
        for process in reversed(self._processes.values()):
            process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + 3  # their databases are dropped anyway
        for process in self._processes.values():
            try:
                process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        for process in self._processes.values():
            try:
                os.killpg(process.pid, signal.SIGKILL)  # what outlived its parent
            except ProcessLookupError:
                continue

    def _log(self, name: str) -> Path:
        return self._logs / f"{name}.log"


@contextmanager
def services(logs: Path) -> Iterator[Services]:
    """Services that are stopped at the end, whatever happens."""
    logs.mkdir(parents=True, exist_ok=True)
    group = Services(logs)
    try:
        yield group
    finally:
        group.stop()
