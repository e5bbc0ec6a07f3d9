"""Servers of their own for these tests, whatever server the other tests use."""

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from data_pipeline.embedded import EmbeddedServer
from data_pipeline_tests.embedded.processes import await_end, postmasters


@pytest.fixture(scope="session")
def shared_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServer]:
    """A running server for tests that only look at it."""
    server = EmbeddedServer(tmp_path_factory.mktemp("shared"))
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def stopped_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home whose server has been started once and stopped; to be copied."""
    home = tmp_path_factory.mktemp("stopped")
    server = EmbeddedServer(home)
    server.start()
    server.stop()
    return home


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A home without a cluster; servers in it are ended afterwards, however they are."""
    home = tmp_path / "home"
    yield home
    _end(home)


@pytest.fixture
def new_server(home: Path) -> EmbeddedServer:
    """A server that has never been started."""
    return EmbeddedServer(home)


@pytest.fixture
def server(home: Path, stopped_home: Path) -> EmbeddedServer:
    """A stopped server with a cluster of its own (a copy, which saves the initialisation)."""
    subprocess.run(["cp", "-a", stopped_home, home], check=True)
    return EmbeddedServer(home)


@pytest.fixture
def open_directory() -> Iterator[Path]:
    """An empty directory that every user can enter (pytest's own are closed to others)."""
    directory = Path(tempfile.mkdtemp(prefix="data_pipeline_test_"))
    directory.chmod(0o755)
    yield directory
    _end(directory)
    shutil.rmtree(directory)


def _end(directory: Path) -> None:
    """End the servers below a directory, at once: their data is not needed any more."""
    real = os.path.realpath(directory)
    for process, data in postmasters():
        if data.is_relative_to(real):
            process.send_signal(signal.SIGQUIT)
            await_end(process)
