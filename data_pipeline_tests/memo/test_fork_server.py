"""Steps in processes of their own start by a fork server, which knows the environment of now."""

import os
import random
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pytest
from dagster._core.definitions.job_base import InMemoryJob

from data_pipeline.dagster_internals import ReconstructableRepository
from data_pipeline.runs import fork_project, fork_server
from data_pipeline_tests.memo.world import World, shared_storage

LOADED = "import sys, data_pipeline.runs.fork_project; print('project' in sys.modules)"


@pytest.fixture
def own_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(fork_server, "_with_project", set())
    server: Any = fork_server._server()
    server._stop()
    yield
    server._stop()


@pytest.mark.usefixtures("own_server")
def test_a_changed_environment_gets_another_one(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Jobs of other modules than this one say nothing of how their processes start."""
    storage = shared_storage(tmp_path)

    def server(**names: int) -> int | None:
        world.state["names"] = names
        run = world.run(builder="several_by_processes", storage=storage)
        assert run.success, run.log
        return fork_server._server()._forkserver_pid

    with_project = server(a=1)
    assert with_project is not None
    first = server(a=2)  # the code may be another one by now
    assert first not in (None, with_project)
    assert server(a=3) == first
    monkeypatch.setenv("SOME_NEW_VARIABLE", "1")
    assert server(a=4) not in (None, first)


def loads(folder: Path, code: str) -> tuple[bool, int]:
    """Whether a fork server has the project of a job with some code, and how often it loaded it."""
    file, log = folder / "project.py", folder / "log"
    log.touch()
    note = f"open({str(log)!r}, 'a').write('.')"
    job = "job = dg.GraphDefinition('nothing').to_job()"
    file.write_text(f"import dagster as dg\n{note}\n{code}\n{job}\n")
    made = ReconstructableRepository.for_file(str(file), "job", str(folder))
    offer = fork_server.Offer(made.get_reconstructable_job("nothing"), None)
    with fork_server._offered(offer):
        found = subprocess.run(
            [sys.executable, "-c", LOADED], check=True, capture_output=True, text=True
        )
    return found.stdout == "True\n", len(log.read_text())


def test_a_project_is_loaded_once(tmp_path: Path) -> None:
    assert loads(tmp_path, "import random; random.Random(1).random()") == (True, 1)


@pytest.mark.parametrize("code", ["opened = open(__file__)", "raise ValueError"])
def test_what_is_not_to_be_copied_is_loaded_by_each_step(tmp_path: Path, code: str) -> None:
    assert loads(tmp_path, code) == (False, 1)


def begin_thread() -> threading.Event:
    ended = threading.Event()
    threading.Thread(target=ended.wait, daemon=True).start()
    return ended


@pytest.mark.parametrize(
    "load",
    [
        begin_thread,
        socket.socket,
        Path(__file__).open,
        lambda: random.seed(1),
        lambda: np.random.seed(1),
    ],
    ids=["thread", "connection", "file", "random numbers", "those of NumPy"],
)
def test_what_copies_would_share_or_lack_is_noticed(load: Callable[[], Any]) -> None:
    def found() -> set[str]:
        # What other tests of this process have left may end meanwhile.
        looked: list[Any] = fork_project._not_to_copy()
        threads, files, *numbers = looked
        return {*threads, *files, *map(repr, numbers)}

    before = found()
    assert not found() - before
    left = load()
    try:
        assert found() - before
    finally:
        getattr(left, "close", getattr(left, "set", lambda: None))()


def test_what_is_configured_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    definition = dg.multiprocess_executor
    create = definition.executor_creation_fn
    assert create is not None

    def is_changed(**config: Any) -> bool:
        job = InMemoryJob(dg.GraphDefinition("nothing").to_job())
        config = {"retries": {"enabled": {}}, **config}
        context = dg.InitExecutorContext(job, definition, config, dg.DagsterInstance.ephemeral())
        plain = create(context)
        return fork_server.starting_fast(context, plain, create) is not plain

    assert is_changed()
    assert not is_changed(start_method={"spawn": {}})
    monkeypatch.setenv("DAGSTER_MULTIPROCESS_EXECUTOR_START_METHOD", "spawn")
    assert not is_changed()


def test_what_it_imports_starts_no_threads_of_polars() -> None:
    """They would not be there in the copies, which may wait for them."""
    code = f"import os, {fork_server.IMPORTS}; print(*map(name, os.listdir('/proc/self/task')))"
    name = "name = lambda task: open(f'/proc/self/task/{task}/comm').read()"
    command = [sys.executable, "-c", f"{name}\n{code}"]
    found = subprocess.run(command, check=True, capture_output=True, text=True, env=os.environ)
    # OpenBLAS and jemalloc have handlers for copies, and start theirs anew.
    assert set(found.stdout.split()) <= {"python", "jemalloc_bg_thd"}
