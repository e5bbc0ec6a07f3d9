"""A run in a process of its own: waiting for it, and killing it."""

import os
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Protocol

import psutil

from data_pipeline_tests.patience import PATIENCE
from data_pipeline_tests.proofs.runs import Outcome

SHOW_STACKS = signal.SIGUSR1
"""Lets a process of the project write the stacks of its threads into the log of its run."""


class Process(Protocol):
    @property
    def pid(self) -> int | None: ...

    def end(self, timeout: float) -> int | None:
        """Waits; gives the exit code, or None when it still runs."""


class ProcessGroup:
    """A number for all processes of a run, which no stranger gets before the end.

    Its first member does nothing: as long as it lives, the system does not give the number away.
    """

    def __init__(self) -> None:
        # Ends with this process at the latest, since its input then does.
        self._first = subprocess.Popen(["cat"], stdin=subprocess.PIPE, process_group=0)
        self.number = self._first.pid

    def members(self) -> list[psutil.Process]:
        """Gives the living processes in it, besides its first one."""
        found = []
        for process in psutil.process_iter():
            try:
                alive = process.status() != psutil.STATUS_ZOMBIE
                if alive and process.pid != self.number and os.getpgid(process.pid) == self.number:
                    found.append(process)
            except (ProcessLookupError, psutil.NoSuchProcess):
                continue
        return found

    def end(self) -> None:
        """Gives the number away."""
        self._first.communicate()


class Launched:
    """A run in a process group of its own.

    Args:
        process: The process of the run.
        output: The file that gets its log.
        group: Its processes.
    """

    def __init__(self, process: Process, output: Path, group: ProcessGroup) -> None:
        self.storage = storage_of(output)
        self._process = process
        self._output = output
        self._group = group
        assert process.pid is not None
        self.pid = process.pid

    @property
    def log(self) -> str:
        return self._output.read_text(errors="replace")

    @property
    def is_running(self) -> bool:
        return self._process.end(0) is None

    def wait_until(self, what: str, check: Callable[[], bool]) -> None:
        """Waits until something is true while the run goes on."""
        deadline = time.monotonic() + PATIENCE
        while not check():
            assert self.is_running, f"run {self.pid} ended before {what}:\n{self.log[-4000:]}"
            assert time.monotonic() < deadline, f"waiting in vain until {what}"
            time.sleep(0.01)

    def finish(self) -> Outcome:
        """Waits for the end of the run, and of all that it has started."""
        code = self.await_end()
        self.await_others()
        return Outcome(success=code == 0, killed=code == -signal.SIGKILL, log=self.log)

    def await_end(self) -> int:
        """Waits for the end of the process of the run; gives its exit code."""
        code = self._process.end(PATIENCE)
        assert code is not None, f"run {self.pid} does not end:\n{self.log[-4000:]}"
        return code

    def kill(self) -> None:
        """Ends the process of the run by signal 9; steps in processes of their own live on."""
        os.kill(self.pid, signal.SIGKILL)
        self._process.end(PATIENCE)

    def others(self) -> list[psutil.Process]:
        """Gives the living processes that the run has started, whoever is their parent now.

        Left out is the `tail` by which Dagster shows the output of steps. It lives on for ever when
        its parent is killed before it has started the watcher of the `tail`.
        """
        others = (item for item in self._group.members() if item.pid != self.pid)
        return [item for item in others if not _shows_output(item)]

    def await_others(self) -> None:
        """Waits until all processes that the run has started have ended."""
        deadline = time.monotonic() + PATIENCE
        while self.others():
            assert time.monotonic() < deadline, f"processes do not end:\n{self._what_they_do()}"
            time.sleep(0.05)

    def _what_they_do(self) -> str:
        """Lets the processes that are left write into the log where they are."""
        left = []
        for process in self.others():
            with suppress(psutil.NoSuchProcess):
                left.append(f"{process.pid}, child of {process.ppid()}: {process.cmdline()}")
                process.send_signal(SHOW_STACKS)
        time.sleep(1)
        return "\n".join([*left, self.log[-20_000:]])

    def kill_all(self) -> None:
        """Ends the run and all that it has started, at once."""
        ended = False
        while not ended:  # it may not have joined its group at first, or have started another one
            for process in self._group.members():
                with suppress(psutil.NoSuchProcess):
                    process.kill()
            ended = self._process.end(0.05) is not None and not self._group.members()

    def end(self) -> None:
        """Ends all that it has started; afterwards, it can only be asked for its log."""
        self.kill_all()
        self._group.end()


def _shows_output(process: psutil.Process) -> bool:
    try:
        return process.name() == "tail"
    except psutil.NoSuchProcess:
        return True


def storage_of(output: Path) -> Path:
    """Names the folder of Dagster's storage for the run with a log."""
    return output.with_suffix(".storage")
