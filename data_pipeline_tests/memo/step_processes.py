"""Steps in processes of their own, which are copies of one that has imported all they need."""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from multiprocessing import forkserver, spawn
from typing import Any

import pytest

PRELOADED = [
    "adbc_driver_postgresql.dbapi",
    "pandas",
    "psycopg2.extras",
    "pyarrow",
    "sqlalchemy.dialects.postgresql.psycopg2",
    "upath.implementations.local",
    "data_pipeline.commit.commit",
    "data_pipeline.dagster_storage",
    "data_pipeline.results.writing",
    "data_pipeline.transfer.content_hash",
    "data_pipeline.transfer.frames",
    "data_pipeline.transfer.copy_in",
    "data_pipeline.transfer.pandas_frames",
]
"""What every run imports, which takes seconds."""

_MODULES = [*PRELOADED, "data_pipeline_tests.memo.graphs", "data_pipeline_tests.memo.jobs"]
_START = {"forkserver": {"preload_modules": _MODULES}}
BY_PROCESSES: dict[str, Any] = {
    "execution": {"config": {"start_method": _START, "max_concurrent": 2}}
}
"""The configuration of runs, for jobs with the multiprocess executor."""


_server: Any = forkserver._forkserver  # there is no public way to end it


class _Name:
    """The name of a process, which sets the environment of the process that reads it."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __reduce__(self) -> Any:
        return _enter, (dict(os.environ), self._name)


def _enter(environment: Mapping[str, str], name: str) -> str:
    os.environ.clear()
    os.environ.update(environment)
    return name


class SharedForkserver:
    """A process that has imported what steps need, once for the tests of a session.

    Each copy of it has the environment of the moment in which it is made.
    """

    def __init__(self) -> None:
        self._pid: int | None = None

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Let processes be copies of it."""
        with pytest.MonkeyPatch.context() as patch:
            if self._pid is None or self._pid != _server._forkserver_pid:
                self._start()
            prepared = spawn.get_preparation_data
            patch.setattr(
                spawn, "get_preparation_data", lambda name: {**prepared(name), "name": _Name(name)}
            )
            yield

    def _start(self) -> None:
        _server._stop()
        _server.set_forkserver_preload([*_MODULES])
        with pytest.MonkeyPatch.context() as patch:
            patch.delenv("DATA_PIPELINE_CONFIG", raising=False)  # instances are those of a module
            _server.ensure_running()
        self._pid = _server._forkserver_pid


_KEPT: dict[tuple[str, ...], dict[str, Any]] = {}
"""What is known of processes that others are copies of, by the modules that they import."""


@contextmanager
def own_forkserver(modules: Sequence[str]) -> Iterator[None]:
    """Let processes be copies of one that imports modules, and is there again the next time.

    Args:
        modules: What it imports, in the environment of the first time.
    """
    key, before = tuple(modules), vars(_server).copy()
    vars(_server).update(_KEPT.get(key) or vars(forkserver.ForkServer()))
    _server.set_forkserver_preload([*modules])
    try:
        yield
    finally:
        _KEPT[key] = vars(_server).copy()
        vars(_server).update(before)
