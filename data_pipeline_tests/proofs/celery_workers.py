"""Two Celery workers, started as copies of a process that has imported the project."""

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from data_pipeline_tests.io_manager.runs import wait_until
from data_pipeline_tests.proofs.launching import copied

if TYPE_CHECKING:
    from multiprocessing.process import BaseProcess


class CeleryWorkers:
    """Workers that are started again when they have been killed, as a service would.

    Args:
        folder: For their logs.
        environment: Theirs; each step has that of its run besides.
    """

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self._folder = folder
        self._environment = dict(environment)
        self._processes: dict[str, BaseProcess] = {}
        self._number = 0

    def start(self) -> None:
        """Start those that are not there; return when they take steps."""
        for name in ("one", "two"):
            found = self._processes.get(name)
            if found is None or not found.is_alive():
                self._number += 1
                log = self._folder / f"worker_{self._number}.log"
                log.touch()
                arguments = (self._environment, str(log), f"{name}{self._number}")
                self._processes[name] = copied(_work, arguments)
                wait_until(lambda log=log: " ready." in log.read_text(errors="replace"))

    def kill(self, name: str) -> None:
        """End a worker with its child by signal 9, as if its machine were gone."""
        found = self._processes[name]
        with suppress(ProcessLookupError):
            os.killpg(found.pid or 0, 9)
        found.join()

    def children(self) -> list[psutil.Process]:
        """Return the processes that execute steps."""
        pids = [process.pid for process in self._processes.values() if process.is_alive()]
        return [child for pid in pids if pid for child in psutil.Process(pid).children()]

    def end(self) -> None:
        """End all of them."""
        for name in self._processes:
            self.kill(name)


def _work(environment: dict[str, str], log: str, name: str) -> None:
    os.setpgid(0, 0)
    os.environ.clear()
    os.environ.update(environment)
    file = os.open(log, os.O_WRONLY | os.O_APPEND)
    os.dup2(file, 1)
    os.dup2(file, 2)
    from data_pipeline_tests.proofs.project import celery_worker

    celery_worker.work(name)
