"""Steps in processes of their own start by a fork server, which knows the environment of now."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.definitions.job_base import InMemoryJob

from data_pipeline.runs import fork_server
from data_pipeline_tests.memo.world import World, shared_storage


@pytest.fixture
def own_server() -> Iterator[None]:
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

    first = server(a=1)
    assert first is not None
    assert server(a=2) == first
    monkeypatch.setenv("SOME_NEW_VARIABLE", "1")
    assert server(a=3) not in (None, first)


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
