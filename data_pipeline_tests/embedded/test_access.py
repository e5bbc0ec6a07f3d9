import os
from pathlib import Path

import psutil
import psycopg2
import pytest

from data_pipeline.embedded import EmbeddedServer
from data_pipeline.embedded.home_layout import Layout
from data_pipeline_tests.embedded.processes import postmaster_of
from data_pipeline_tests.embedded.queries import ask


def test_it_listens_on_loopback_only(shared_server: EmbeddedServer) -> None:
    process = postmaster_of(shared_server.data)
    sockets = [c for c in process.net_connections("all") if c.status == psutil.CONN_LISTEN]
    assert [c.laddr.ip for c in sockets] == ["127.0.0.1"]
    assert not [c for c in process.net_connections("unix") if c.laddr]


def test_a_wrong_password_is_refused(shared_server: EmbeddedServer) -> None:
    for wrong in ("wrong", ""):
        with pytest.raises(psycopg2.OperationalError, match="password"):
            ask(shared_server.start().set(password=wrong), "SELECT 1")


def test_the_superusers_database_wants_the_password_too(shared_server: EmbeddedServer) -> None:
    with pytest.raises(psycopg2.OperationalError, match="password"):
        ask(shared_server.start().set(password="wrong", database="postgres"), "SELECT 1")


def test_the_password_is_kept_as_scram_and_readable_by_the_owner_alone(
    shared_server: EmbeddedServer,
) -> None:
    kept = ask(shared_server.start(), "SELECT rolpassword FROM pg_authid WHERE rolcanlogin")
    assert kept.startswith("SCRAM-SHA-256$")
    base = shared_server.data.parent
    assert base.stat().st_mode & 0o777 == 0o700
    for name in ("password", "server.log", "server.lock", "start.lock"):
        assert (base / name).stat().st_mode & 0o777 == 0o600, name


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o177, 0o777])
def test_directories_are_closed_to_others_whatever_the_umask(tmp_path: Path, umask: int) -> None:
    layout = Layout(tmp_path / "home")
    before = os.umask(umask)
    try:
        layout.prepare()
    finally:
        os.umask(before)
    for directory in (layout.home, layout.base):
        assert directory.stat().st_mode & 0o7777 == 0o700, directory


def test_a_server_runs_in_a_home_that_is_closed_to_others(new_server: EmbeddedServer) -> None:
    assert ask(new_server.start(), "SELECT 1") == 1
    assert new_server.data.parents[1].stat().st_mode & 0o777 == 0o700


def test_a_directory_that_was_there_stays_as_open_as_it_was(tmp_path: Path) -> None:
    home = tmp_path / "shared"
    home.mkdir()
    home.chmod(0o2775)
    Layout(home).prepare()
    assert home.stat().st_mode & 0o7777 == 0o2775


def test_each_home_has_a_password_of_its_own(
    shared_server: EmbeddedServer, stopped_home: Path
) -> None:
    passwords = {
        (home / "password").read_text()
        for home in (shared_server.data.parent, stopped_home / "postgres")
    }
    assert len(passwords) == 2
    assert all(len(password) > 30 for password in passwords)


def test_the_password_is_not_in_any_log_or_command_line(shared_server: EmbeddedServer) -> None:
    password = shared_server.start().password
    assert password is not None
    assert password not in (shared_server.data.parent / "server.log").read_text()
    assert password not in " ".join(postmaster_of(shared_server.data).cmdline())
