"""Runs of the project: in this process, in a new process, or from the command line."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

import dagster as dg
import psutil

from data_pipeline_tests.caching.world import new_storage
from data_pipeline_tests.proofs.project.by_processes import PRELOADED

CHECKOUT = Path(__file__).parents[2]
PROJECT = "data_pipeline_tests.proofs.project"
IN_PROCESS, BY_PROCESSES, SHORT = (
    f"{PROJECT}.{name}" for name in ("definitions", "by_processes", "short")
)
PATIENCE = 300
"""Seconds after which a wait is given up; no test expects anything to take so long."""

# New processes are copies of one that has imported the project: they start at once.
_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload([__name__, *PRELOADED, IN_PROCESS, SHORT])


def job(module: str, name: str) -> dg.JobDefinition:
    """Gives a job of a module's definitions, for Dagster to find by name."""
    definitions: dg.Definitions = import_module(module).defs
    return definitions.resolve_job_def(name)


class Outcome:
    """What a run came to: whether it succeeded or was killed, and what its log says."""

    def __init__(self, *, success: bool, log: str, killed: bool = False) -> None:
        self.success = success
        self.killed = killed
        self.log = log


def execute(
    module: str,
    name: str,
    *,
    storage: dg.DagsterInstance | None = None,
    selection: Sequence[str] | None = None,
    resumes: str | None = None,
) -> Outcome:
    """Runs a job in this process, memoised.

    Args:
        module: Whose definitions.
        name: The job.
        storage: Of Dagster; None: a new one, in memory.
        selection: The assets as `stage/table`; None: all.
        resumes: The failed run that is executed again from its failure on.
    """
    storage = storage or new_storage()
    # Dagster remembers a job by its arguments, so there is only one of each.
    arguments: Any = (module, name)  # declared as a tuple of one
    reconstructable = dg.build_reconstructable_job(
        __name__, "job", arguments, reconstructor_working_directory=str(CHECKOUT)
    )
    keys = None if selection is None else [dg.AssetKey(item.split("/")) for item in selection]
    failure = dg.ReexecutionOptions.from_failure(resumes, storage) if resumes else None
    result = dg.execute_job(
        reconstructable, storage, asset_selection=keys, reexecution_options=failure
    )
    records = storage.get_records_for_run(result.run_id).records
    entries = [record.event_log_entry for record in records]
    return Outcome(success=result.success, log="\n".join(_text(entry) for entry in entries))


def _text(entry: dg.EventLogEntry) -> str:
    event = entry.dagster_event
    error = getattr(event.event_specific_data, "error", None) if event else None
    return "\n".join(filter(None, [entry.user_message, error.to_string() if error else None]))


_Arguments = tuple[str, str, Sequence[str] | None, Path | None]
"""Module, job, selection, and the storage of the failed run that is resumed."""


class _Process(Protocol):
    @property
    def pid(self) -> int | None: ...

    def end(self, timeout: float) -> int | None:
        """Waits; gives the exit code, or None when it still runs."""


class Launched:
    """A run in a process group of its own.

    Args:
        process: The process of the run.
        output: The file that gets its log.
    """

    def __init__(self, process: _Process, output: Path) -> None:
        self.storage = _storage(output)
        self._process = process
        self._output = output
        self._is_gone = False
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
            time.sleep(0.002)

    def finish(self) -> Outcome:
        """Waits for the end of the run."""
        code = self._process.end(PATIENCE)
        assert code is not None, f"run {self.pid} does not end:\n{self.log[-4000:]}"
        self.await_others()
        return Outcome(success=code == 0, killed=code == -signal.SIGKILL, log=self.log)

    def kill(self) -> None:
        """Ends the process of the run by signal 9; steps in processes of their own live on."""
        os.kill(self.pid, signal.SIGKILL)
        self._process.end(PATIENCE)

    def others(self) -> list[psutil.Process]:
        """Gives the living processes that the run has started, whoever is their parent now."""
        return [item for item in self._group() if item.pid != self.pid]

    def await_others(self) -> None:
        """Waits until all processes that the run has started have ended."""
        deadline = time.monotonic() + PATIENCE
        while self.others():
            assert time.monotonic() < deadline, f"processes of run {self.pid} do not end"
            time.sleep(0.05)

    def kill_all(self) -> None:
        """Ends the run and all that it has started, at once."""
        for process in self._group():
            try:
                process.kill()
            except psutil.NoSuchProcess:
                continue
        self._process.end(PATIENCE)

    def _group(self) -> list[psutil.Process]:
        if self._is_gone:
            return []
        ended = not self.is_running
        found = _of_group(self.pid)
        # From now on, the system may give its number to others.
        self._is_gone = ended and not found
        return found


def _of_group(group: int) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            if os.getpgid(process.pid) == group and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (ProcessLookupError, psutil.NoSuchProcess):
            continue
    return found


class _Copy:
    """A process that has imported the project already."""

    def __init__(self, environment: Mapping[str, str], output: Path, command: _Arguments) -> None:
        arguments = (dict(environment), str(output), *command)
        self._process = _CONTEXT.Process(target=_in_copy, args=arguments)
        self._process.start()
        self.pid = self._process.pid

    def end(self, timeout: float) -> int | None:
        self._process.join(timeout)
        return self._process.exitcode


class _Command:
    """`dagster job execute`, as users start it."""

    def __init__(self, environment: Mapping[str, str], output: Path, command: _Arguments) -> None:
        module, name, *_ = command
        home = _storage(output)
        home.mkdir()
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
                start_new_session=True,
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
    starts = _Command if by_command else _Copy
    storage = resumes.storage if resumes else None
    return Launched(starts(environment, output, (module, name, selection, storage)), output)


def _storage(output: Path) -> Path:
    return output.with_suffix(".storage")


def _in_copy(
    environment: dict[str, str],
    output: str,
    module: str,
    name: str,
    selection: list[str] | None,
    resumed: Path | None,
) -> None:
    os.setpgrp()
    os.environ.clear()
    os.environ.update(environment)
    log = os.open(output, os.O_WRONLY | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    folder = resumed or _storage(Path(output))
    folder.mkdir(exist_ok=True)
    settings = {"telemetry": {"enabled": False}}
    with dg.DagsterInstance.local_temp(str(folder), overrides=settings) as storage:
        resumes = storage.get_runs(limit=1)[0].run_id if resumed else None
        ended = execute(module, name, storage=storage, selection=selection, resumes=resumes)
    sys.exit(0 if ended.success else 1)
