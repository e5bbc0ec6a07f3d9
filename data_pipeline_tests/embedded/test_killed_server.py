import os
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg2
import pytest
import sqlalchemy as sa

from data_pipeline.embedded import EmbeddedServer
from data_pipeline_tests.embedded.processes import await_end, is_alive, postmaster_of
from data_pipeline_tests.embedded.queries import ask, connect
from data_pipeline_tests.patience import PATIENCE

# Computes without ever looking whether its postmaster still lives.
ENDLESS = "SELECT sum(i) FROM (SELECT generate_series(1, 100000000000) AS i) AS numbers"


def kill(server: EmbeddedServer) -> list[psutil.Process]:
    """End the postmaster at once; gives the processes that it leaves behind."""
    process = postmaster_of(server.data)
    children = process.children()
    process.kill()
    await_end(process)
    return children


@pytest.fixture
def sleeper(server: EmbeddedServer) -> Iterator[psutil.Process]:
    """A process of the server's own user: PostgreSQL takes such a pid for a running server."""
    owner = server.data.stat().st_uid
    process = subprocess.Popen(["sleep", "1000"], user=owner if os.geteuid() == 0 else None)
    yield psutil.Process(process.pid)
    process.kill()
    process.wait()


def test_killed_with_a_query_running_it_starts_again_with_its_data(server: EmbeddedServer) -> None:
    url = server.start()
    ask(url, "CREATE TABLE t AS SELECT generate_series(1, 1000) AS n")
    backend, query = endless_query(url)
    left_behind = kill(server)
    assert is_alive(backend)

    again = server.start()

    query.join(PATIENCE)
    assert ask(again, "SELECT count(*) FROM t") == 1000
    await_end(*left_behind)
    assert again == url


def test_stop_ends_what_a_killed_server_left_behind(server: EmbeddedServer) -> None:
    backend, query = endless_query(server.start())
    kill(server)
    assert is_alive(backend)
    server.stop()
    query.join(PATIENCE)
    await_end(backend)


def test_a_killed_server_is_not_taken_for_running(server: EmbeddedServer) -> None:
    server.start()
    await_end(*kill(server))
    assert (server.data / "postmaster.pid").exists()
    assert server.url() is None
    assert server.status == "stopped"


def test_a_recycled_pid_is_neither_taken_for_the_server_nor_harmed(
    server: EmbeddedServer, sleeper: psutil.Process
) -> None:
    server.start()
    await_end(*kill(server))
    recycle(server.data, sleeper.pid)
    assert server.url() is None
    assert ask(server.start(), "SELECT 1") == 1
    assert is_alive(sleeper)


def test_stop_does_not_harm_the_process_of_a_recycled_pid(
    server: EmbeddedServer, sleeper: psutil.Process
) -> None:
    server.start()
    await_end(*kill(server))
    recycle(server.data, sleeper.pid)
    assert server.stop() is False
    assert is_alive(sleeper)


def test_a_pid_recycled_by_another_postgres_is_not_taken_for_the_server(
    server: EmbeddedServer, shared_server: EmbeddedServer
) -> None:
    server.start()
    await_end(*kill(server))
    other = postmaster_of(shared_server.data)
    recycle(server.data, other.pid)
    assert server.url() is None
    assert server.start() != shared_server.url()
    assert postmaster_of(shared_server.data) == other


def test_a_killed_backend_is_recovered_from(server: EmbeddedServer) -> None:
    """The server itself goes on, but accepts no connection for a moment."""
    url = server.start()
    ask(url, "CREATE TABLE t AS SELECT 1 AS n")
    backend, query = endless_query(url)
    backend.kill()
    query.join(PATIENCE)
    log = server.data.parent / "server.log"
    while "was terminated by signal 9" not in log.read_text():  # from here on it recovers
        pass
    assert ask(server.start(), "SELECT n FROM t") == 1


def endless_query(url: sa.URL) -> tuple[psutil.Process, threading.Thread]:
    """Start a query that does not end by itself: its backend, and the thread that waits for it."""
    connection = connect(url)

    def run() -> None:
        with connection.cursor() as cursor, pytest.raises(psycopg2.OperationalError):
            cursor.execute(ENDLESS)

    thread = threading.Thread(target=run)
    thread.start()
    backend = connection.info.backend_pid
    active = f"SELECT state = 'active' FROM pg_stat_activity WHERE pid = {backend}"
    while not ask(url, active):
        pass
    return psutil.Process(backend), thread


def recycle(data: Path, pid: int) -> None:
    """Write another process' id into the pid file of a killed server."""
    path = data / "postmaster.pid"
    _, *rest = path.read_text().splitlines(keepends=True)
    path.write_text("".join([f"{pid}\n", *rest]))
