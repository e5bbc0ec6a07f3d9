"""Steps in processes of their own, which are copies of one that has imported all they need."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing import forkserver
from typing import Any

PRELOADED = [
    "adbc_driver_postgresql.dbapi",
    "pandas",
    "psycopg2",
    "pyarrow",
    "sqlalchemy.dialects.postgresql.psycopg2",
    "data_pipeline.transfer.content_hash",
    "data_pipeline.transfer.frames",
    "data_pipeline.transfer.copy_in",
    "data_pipeline.transfer.pandas_frames",
]
"""What every run imports, which takes seconds."""

_MODULES = [*PRELOADED, "data_pipeline_tests.memo.jobs"]
_START = {"forkserver": {"preload_modules": _MODULES}}
BY_PROCESSES: dict[str, Any] = {
    "execution": {"config": {"start_method": _START, "max_concurrent": 2}}
}
"""The configuration of runs, for jobs with the multiprocess executor."""


@contextmanager
def fresh_forkserver(modules: Sequence[str] = _MODULES) -> Iterator[None]:
    """Let the next process be a copy of one that knows the environment of that moment.

    Args:
        modules: What it imports, for all processes that follow.
    """
    server: Any = forkserver._forkserver  # there is no public way to end it
    server._stop()
    server.set_forkserver_preload([*modules])
    try:
        yield
    finally:
        server._stop()
