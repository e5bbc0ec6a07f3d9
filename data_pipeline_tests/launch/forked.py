"""Programs that run as copies of a process which has imported all that they need.

They meet files, environment and configuration as programs of a shell do, three seconds earlier.
"""

import atexit
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import entry_points
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory

from data_pipeline_tests.memo.step_processes import own_forkserver
from data_pipeline_tests.patience import PATIENCE

PROCESSES = get_context("forkserver")
_PRELOADED = [
    "adbc_driver_postgresql.dbapi",
    "dagster",
    "pandas",
    "polars",
    "psycopg2",
    "pyarrow",
    "pytest",
    "sqlalchemy.dialects.postgresql.psycopg2",
    "sqlglot",
    "data_pipeline.commit.stage_commits",
    "data_pipeline.definition_checks",
    "data_pipeline.drop.dropping",
    "data_pipeline.io_manager.io_manager",
    "data_pipeline.memo.executor",
    "data_pipeline.memo.memoised_run",
    "data_pipeline.transfer.content_hash",
    "data_pipeline.transfer.copy_in",
    "data_pipeline.transfer.pandas_frames",
]
"""What the process that all others are copies of imports.

Not `data_pipeline.assembly`: `INSTANCE_PARTITIONS` is made of the configuration on import.
"""


@contextmanager
def ready(modules: Sequence[str] = _PRELOADED) -> Iterator[None]:
    """Let processes be copies of one that has the libraries."""
    with own_forkserver(modules):
        yield


def execute(
    program: str, *arguments: str, env: Mapping[str, str], cwd: Path, errors_apart: bool = False
) -> subprocess.CompletedProcess[str]:
    """The ended program, with what it printed (errors included, or apart) in `stdout`."""
    words = (program, *arguments)
    with TemporaryDirectory() as folder:
        output, errors = Path(folder) / "output", Path(folder) / "errors"
        said = (str(output), str(errors if errors_apart else output))
        process = PROCESSES.Process(target=_run, args=(words, dict(env), str(cwd), *said))
        process.start()
        process.join(PATIENCE)
        if process.exitcode is None:
            process.kill()
            process.join()
            raise subprocess.TimeoutExpired(words, PATIENCE, output.read_bytes())
        told = errors.read_text() if errors_apart else None
        return subprocess.CompletedProcess(words, process.exitcode, output.read_text(), told)


def enter(environment: Mapping[str, str], folder: str) -> None:
    """Be a process of another environment and folder."""
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)


def _run(
    words: tuple[str, ...], env: Mapping[str, str], folder: str, output: str, errors: str
) -> None:
    assert "data_pipeline.instances.partitions" not in sys.modules, "it is of a configuration"
    enter(env, folder)
    for number, path, flags in (
        (0, os.devnull, os.O_RDONLY),
        (1, output, os.O_WRONLY | os.O_CREAT | os.O_APPEND),
        (2, errors, os.O_WRONLY | os.O_CREAT | os.O_APPEND),
    ):
        opened = os.open(path, flags, 0o600)
        os.dup2(opened, number)
        os.close(opened)
    sys.stdout = open(1, "w", buffering=1, encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", buffering=1, encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.argv = [*words]
    [found] = entry_points(group="console_scripts", name=words[0])
    try:
        sys.exit(found.load()())
    finally:
        atexit._run_exitfuncs()  # a copy would leave them out, and temporary folders where they are
