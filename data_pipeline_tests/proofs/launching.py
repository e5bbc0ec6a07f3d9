"""Starting runs: in a new process, or from the command line."""

import multiprocessing
import os
import subprocess
import sys
import uuid
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from data_pipeline_tests.dagster_storages import open_storage, prepare_storage
from data_pipeline_tests.memo.step_processes import PRELOADED
from data_pipeline_tests.proofs.launched import Launched, ProcessGroup, storage_of
from data_pipeline_tests.proofs.runs import (
    BY_CELERY,
    BY_PROCESSES,
    CHECKOUT,
    IN_PROCESS,
    SHORT,
    SHORT_BY_CELERY,
    execute,
)

# New processes are copies of one that has imported the project: they start at once.
_CONTEXT = multiprocessing.get_context("forkserver")
_PRELOADED = [__name__, *PRELOADED, IN_PROCESS, BY_PROCESSES, SHORT]
_PRELOADED += [BY_CELERY, SHORT_BY_CELERY] if find_spec("dagster_celery") else []

_Arguments = tuple[str, str, Sequence[str] | None, Path | None]
"""Module, job, selection, and the storage of the failed run that is resumed."""


def copied(target: Callable[..., None], arguments: tuple[Any, ...]) -> BaseProcess:
    """Start a process that is a copy of one that has imported the project."""
    _CONTEXT.set_forkserver_preload(_PRELOADED)
    process = _CONTEXT.Process(target=target, args=arguments)
    process.start()
    return process


class _Copy:
    """A process that has imported the project already."""

    def __init__(
        self, environment: Mapping[str, str], output: Path, group: int, command: _Arguments
    ) -> None:
        arguments = (dict(environment), str(output), group, *command)
        self._process = copied(_in_copy, arguments)
        self.pid = self._process.pid

    def end(self, timeout: float) -> int | None:
        self._process.join(timeout)
        return self._process.exitcode


class _Command:
    """`dagster job execute`, as users start it."""

    def __init__(
        self, environment: Mapping[str, str], output: Path, group: int, command: _Arguments
    ) -> None:
        module, name, *_ = command
        home = storage_of(output)
        (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
        program = Path(sys.executable).parent / "dagster"
        with output.open("wb") as log:
            self._process = subprocess.Popen(
                [program, "job", "execute", "-m", module, "-j", name],
                env={**environment, "PYTHONPATH": str(CHECKOUT), "DAGSTER_HOME": str(home)},
                cwd=CHECKOUT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                process_group=group,
            )
        self.pid = self._process.pid

    def end(self, timeout: float) -> int | None:
        try:
            return self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            return None


def launch(
    module: str,
    name: str,
    *,
    environment: Mapping[str, str],
    folder: Path,
    selection: Sequence[str] | None = None,
    by_command: bool = False,
    resumes: Launched | None = None,
) -> Launched:
    """Starts a run in a new process.

    Args:
        module: Whose definitions.
        name: The job, which is the instance.
        environment: The whole environment of the process.
        folder: Where the logs and Dagster's storage go.
        selection: The assets; None: all.
        by_command: Whether `dagster job execute` starts it, which takes some seconds more.
        resumes: The failed run that is executed again from its failure on.
    """
    output = folder / f"{uuid.uuid4().hex}.log"
    output.touch()
    prepare_storage(storage_of(output))
    starts = _Command if by_command else _Copy
    storage = resumes.storage if resumes else None
    group = ProcessGroup()
    process = starts(environment, output, group.number, (module, name, selection, storage))
    return Launched(process, output, group)


def _in_copy(
    environment: dict[str, str],
    output: str,
    group: int,
    module: str,
    name: str,
    selection: list[str] | None,
    resumed: Path | None,
) -> None:
    os.setpgid(0, group)
    os.environ.clear()
    os.environ.update(environment)
    log = os.open(output, os.O_WRONLY | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    with open_storage(resumed or storage_of(Path(output))) as storage:
        resumes = storage.get_runs(limit=1)[0].run_id if resumed else None
        ended = execute(module, name, storage=storage, selection=selection, resumes=resumes)
    sys.exit(0 if ended.success else 1)
