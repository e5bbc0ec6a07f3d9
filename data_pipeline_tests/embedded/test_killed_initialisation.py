import os
import signal
import subprocess
from pathlib import Path

from data_pipeline.embedded import EmbeddedServer
from data_pipeline_tests.embedded.processes import start_in_process
from data_pipeline_tests.embedded.queries import ask


def test_a_first_start_killed_with_all_its_processes_leaves_nothing_half(
    new_server: EmbeddedServer, home: Path
) -> None:
    process = initialising(home)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert new_server.status != "running"
    assert not new_server.data.exists()
    assert ask(new_server.start(), "SELECT current_database()") == "data_pipeline"
    assert not list((home / "postgres").glob("initialising-*"))


def test_an_initdb_that_outlived_its_starter_is_waited_for(
    new_server: EmbeddedServer, home: Path
) -> None:
    process = initialising(home)
    process.kill()
    process.wait()
    assert new_server.status == "busy"
    assert ask(new_server.start(), "SELECT current_database()") == "data_pipeline"
    assert not list((home / "postgres").glob("initialising-*"))


def initialising(home: Path) -> subprocess.Popen:
    """A process whose initdb has begun to write the cluster."""
    process = start_in_process(home, start_new_session=True)
    assert process.stdin is not None
    process.stdin.write("go\n")
    process.stdin.flush()
    while not list((home / "postgres").glob("initialising-*/PG_VERSION")):
        assert process.poll() is None
    return process
