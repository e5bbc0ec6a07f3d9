"""The process that steps in processes of their own are copies of.

It has imported what every step needs, which takes a new interpreter seconds. It has no part of a
project: what that starts when it is imported, threads (of polars, say) and connections, must not be
copied.
"""

import multiprocessing
import os
import sys
from multiprocessing import forkserver
from typing import Any

import dagster as dg

from data_pipeline.dagster_internals import Executor, MultiprocessExecutor

# There is no public way to end Python's fork server, nor does it tell whether it runs.
# `data_pipeline_tests/memo/test_fork_server.py` fails when that changes.

IMPORTS = "data_pipeline.runs.fork_imports"
_IF_IMPORTED = ("pandas", "data_pipeline.transfer.pandas_frames")
_ENVIRONMENT = "DAGSTER_MULTIPROCESS_EXECUTOR_START_METHOD"

_started_with: dict[str, str] = {}


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
    method = {"forkserver": {"preload_modules": [IMPORTS, *_imported()]}}
    fast: Executor = create(context._replace(executor_config={**config, "start_method": method}))
    return fast


def renew() -> None:
    """End a fork server that knows another environment than this process has now.

    Steps would have other variables than their run.
    """
    if _is_running() and not _is_up_to_date():
        _server()._stop()
    _started_with.clear()
    _started_with.update(os.environ)


def _imported() -> list[str]:
    return [*_IF_IMPORTED] if "pandas" in sys.modules else []


def _is_usable() -> bool:
    """Whether there is a fork server, which can be started anew where it has to."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return False
    return not _is_running() or _is_up_to_date() or not multiprocessing.active_children()


def _is_up_to_date() -> bool:
    return _started_with == dict(os.environ)


def _is_running() -> bool:
    return _server()._forkserver_pid is not None


def _server() -> Any:
    return forkserver._forkserver
