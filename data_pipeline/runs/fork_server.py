"""The process that steps in processes of their own are copies of.

It has imported what every step needs, which takes a new interpreter seconds. It has loaded the
project of the run if that leaves nothing that must not be copied (see `fork_project`), such as
threads (of polars, say) and connections.
"""

import multiprocessing
import os
import pickle
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import forkserver
from pathlib import Path
from typing import Any

import dagster as dg

from data_pipeline.dagster_internals import Executor, MultiprocessExecutor, ReconstructableJob

# There is no public way to end Python's fork server, nor does it tell whether it runs.
# `data_pipeline_tests/memo/test_fork_server.py` fails when that changes.

IMPORTS = "data_pipeline.runs.fork_imports"
_PROJECT = "data_pipeline.runs.fork_project"
_OFFER = "DATA_PIPELINE_FORKED_PROJECT"
_IF_IMPORTED = ("pandas", "data_pipeline.transfer.pandas_frames")
_ENVIRONMENT = "DAGSTER_MULTIPROCESS_EXECUTOR_START_METHOD"

_started_with: dict[str, str] = {}
_with_project: set[int | None] = set()
"""The servers that were offered a project, by process."""


def starting_fast(context: dg.InitExecutorContext, executor: Executor, create: Any) -> Executor:
    """Return an executor that starts its processes by a fork server, if it starts any.

    How they are to start may be configured, in Dagster's way; then nothing is changed.

    Args:
        context: What the executor was created with.
        executor: The executor.
        create: Creates another one.
    """
    config = context.executor_config
    is_configured = bool(config.get("start_method")) or _ENVIRONMENT in os.environ
    if not isinstance(executor, MultiprocessExecutor) or is_configured or not _is_usable():
        return executor
    method = {"forkserver": {"preload_modules": _preloaded()}}
    fast: Executor = create(context._replace(executor_config={**config, "start_method": method}))
    return fast


def renew() -> None:
    """End a fork server that knows another environment, or the project of an earlier run.

    Steps would have other variables, or other code, than their run.
    """
    if _is_running() and (_pid() in _with_project or not _is_up_to_date()):
        _server()._stop()
    _started_with.clear()
    _started_with.update(os.environ)


@dataclass(frozen=True)
class Offer:
    """What a fork server may load for a run.

    Attributes:
        job: The job of the run; None where copies of its project would not do.
        adbc_uri: The database, where steps move frames.
        path: `sys.path` of the run.
        arguments: `sys.argv` of the run.
    """

    job: ReconstructableJob | None
    adbc_uri: str | None
    path: Sequence[str] = field(default_factory=lambda: sys.path)
    arguments: Sequence[str] = field(default_factory=lambda: sys.argv)


def start(job: object, adbc_uri: str) -> None:
    """Start a fork server that loads the project of a run, if this is the first of this process.

    In one process, later runs may be of other code.

    Args:
        job: The job of the run.
        adbc_uri: The database of the run.
    """
    if _is_running() or _with_project or not isinstance(job, ReconstructableJob):
        return
    multiprocessing.get_context("forkserver").set_forkserver_preload(_preloaded())
    has_threads = sys.modules.get("polars") is not None
    moves_frames = has_threads or "pandas" in sys.modules
    with _offered(Offer(None if has_threads else job, adbc_uri if moves_frames else None)):
        _server().ensure_running()
    _with_project.add(_pid())


@contextmanager
def _offered(offer: Offer) -> Iterator[None]:
    """Offer something to a server that is started in the block.

    It lies in memory, which the server opens by way of this process: an environment variable has
    little room, and others may read it.
    """
    if not hasattr(os, "memfd_create"):
        yield
        return
    file = os.memfd_create("offer")  # open as long as this process, however late the server asks
    with open(file, "wb", closefd=False) as stream:
        pickle.dump(offer, stream)
    os.environ[_OFFER] = f"/proc/{os.getpid()}/fd/{file}"
    try:
        yield
    finally:
        del os.environ[_OFFER]


def taken_offer() -> Offer | None:
    """Return what was offered to this process, the first time that it asks."""
    place = os.environ.pop(_OFFER, None)
    if place is None:
        return None
    try:
        offer: Offer = pickle.loads(Path(place).read_bytes())  # noqa: S301 - this package's own
    except OSError:  # it may not look there, or the run is over
        return None
    return offer


def _preloaded() -> list[str]:
    """Return the modules that the server imports, in their order."""
    numpy = ["numpy.random"] if "numpy" in sys.modules else []
    pandas = [*_IF_IMPORTED] if "pandas" in sys.modules else []
    return [IMPORTS, *numpy, *pandas, _PROJECT]


def _is_usable() -> bool:
    """Whether there is a fork server, which can be started anew where it has to."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return False
    return not _is_running() or _is_up_to_date() or not multiprocessing.active_children()


def _is_up_to_date() -> bool:
    return _started_with == dict(os.environ)


def _is_running() -> bool:
    return _pid() is not None


def _pid() -> int | None:
    pid: int | None = _server()._forkserver_pid
    return pid


def _server() -> Any:
    return forkserver._forkserver
