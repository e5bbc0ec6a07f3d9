import os
import socket
import stat
from pathlib import Path

import pytest

from data_pipeline.embedded import EmbeddedServer
from data_pipeline.embedded.server_log import LOG_LIMIT_BYTES
from data_pipeline_tests.embedded.processes import postmaster_of
from data_pipeline_tests.embedded.queries import ask


def test_first_start_makes_a_cluster_with_role_and_database(new_server: EmbeddedServer) -> None:
    assert new_server.status == "absent"
    assert new_server.url() is None
    url = new_server.start()
    assert (url.drivername, url.host, url.username, url.database) == (
        "postgresql",
        "127.0.0.1",
        "data_pipeline",
        "data_pipeline",
    )
    assert new_server.status == "running"
    assert ask(url, "SELECT current_user || current_database()") == "data_pipelinedata_pipeline"


def test_start_of_a_running_server_changes_nothing(shared_server: EmbeddedServer) -> None:
    before = postmaster_of(shared_server.data)
    assert shared_server.start() == shared_server.url()
    assert postmaster_of(shared_server.data) == before


def test_stop_is_idempotent_and_data_and_url_survive(server: EmbeddedServer) -> None:
    assert server.stop() is False
    first = server.start()
    ask(first, "CREATE TABLE t AS SELECT 42 AS n")
    assert server.stop() is True
    assert server.stop() is False
    assert server.status == "stopped"
    assert server.url() is None
    assert server.start() == first
    assert ask(first, "SELECT n FROM t") == 42


def test_a_port_that_is_taken_meanwhile_is_replaced(server: EmbeddedServer) -> None:
    taken = int((server.data.parent / "port").read_text())
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", taken))
        other.listen()
        second = server.start()
    assert second.port != taken
    assert ask(second, "SELECT 1") == 1


def test_a_port_that_is_taken_between_choice_and_start_is_replaced(
    server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if the other process had come a moment later: the look at the port still found it free."""
    taken = int((server.data.parent / "port").read_text())
    answers = iter([True])
    monkeypatch.setattr("data_pipeline.embedded.ports.is_free", lambda port: next(answers, True))
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", taken))
        other.listen()
        second = server.start()
    assert second.port != taken
    assert ask(second, "SELECT 1") == 1


def test_neither_repr_nor_url_shows_the_password(shared_server: EmbeddedServer) -> None:
    password = shared_server.start().password
    shown = f"{shared_server!r} {shared_server} {shared_server.url()!r}"
    assert password not in shown
    assert "running" in shown


def test_a_relative_home_is_one_home_wherever_the_process_goes(
    server: EmbeddedServer, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(home.parent)
    relative = EmbeddedServer(Path(home.name))
    monkeypatch.chdir("/")
    assert relative.data == server.data
    assert relative.start() == server.url()


def test_a_home_may_have_any_name_and_length(home: Path) -> None:
    """A Unix socket would end at 107 bytes, a shell at the first quote."""
    odd = home / "mit Leerzeichen & 'Zeichen' \"äöü\" 数据 $HOME" / "/".join(["x" * 60] * 4)
    server = EmbeddedServer(odd)
    url = server.start()
    assert ask(url, "SELECT 1") == 1
    assert EmbeddedServer(odd).url() == url
    server.stop()


def test_the_server_is_detached_from_who_started_it(shared_server: EmbeddedServer) -> None:
    """No pipe that could block or break it, no terminal whose Ctrl-C would reach it."""
    process = postmaster_of(shared_server.data)
    streams = [os.stat(f"/proc/{process.pid}/fd/{number}").st_mode for number in (0, 1, 2)]
    assert not any(stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) for mode in streams)
    assert process.terminal() is None
    assert os.getsid(process.pid) != os.getsid(0)


def test_a_lost_password_file_is_replaced_at_the_next_start(
    server: EmbeddedServer, home: Path
) -> None:
    first = server.start()
    (home / "postgres" / "password").unlink()
    with pytest.raises(Exception, match=r"password file .* is gone.*data-pipeline db stop"):
        server.start()
    server.stop()
    second = server.start()
    assert second.password != first.password
    assert ask(second, "SELECT 1") == 1


def test_a_large_log_is_cut_below_the_running_server(server: EmbeddedServer, home: Path) -> None:
    url = server.start()
    log = home / "postgres" / "server.log"
    os.truncate(log, LOG_LIMIT_BYTES + 1)
    server.start()
    ask(url, "DO $$ BEGIN RAISE LOG 'after the cut'; END $$")
    assert log.stat().st_size < 10_000
    assert "after the cut" in log.read_text()
    assert (home / "postgres" / "server.log.1").exists()
