import os
import pwd
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from data_pipeline.embedded import EmbeddedServer
from data_pipeline.embedded.account import Account
from data_pipeline.embedded.binaries import (
    BINDIR_VARIABLE,
    CACHE,
    PACKAGE,
    executable_copy,
    find_binaries,
    wheel_directories,
)
from data_pipeline.errors import EmbeddedServerError
from data_pipeline_tests.embedded.processes import go, postmaster_of, start_in_process
from data_pipeline_tests.embedded.queries import ask

needs_root = pytest.mark.skipif(
    os.geteuid() != 0, reason="NOT TESTED: changing the user needs root; run the tests as root too"
)
needs_wheel = pytest.mark.skipif(
    not wheel_directories(), reason="NOT TESTED: the extra `embedded` is not installed"
)
SOMEBODY = 12345  # no such user


@pytest.fixture
def normal_user(monkeypatch: pytest.MonkeyPatch) -> Account:
    """A user who is not root, who finds binaries that this user can execute."""
    if os.geteuid() != 0:
        return Account(os.geteuid(), os.getegid())
    entry = pwd.getpwnam("nobody")
    account = Account(entry.pw_uid, entry.pw_uid)
    monkeypatch.setenv(BINDIR_VARIABLE, str(find_binaries(account).directory))
    return account


@needs_root
def test_root_runs_it_as_an_unprivileged_user_without_roots_groups(
    server: EmbeddedServer, home: Path
) -> None:
    go(start_in_process(home, extra_groups=[0, 4]))
    process = postmaster_of(server.data)
    assert process.username() in ("postgres", "nobody")
    assert set(process.uids()) == {server.data.stat().st_uid}
    assert 0 not in process.gids()
    status = Path(f"/proc/{process.pid}/status").read_text()
    assert "Groups:" in [line.strip() for line in status.splitlines()]


@needs_root
def test_data_may_lie_below_a_directory_that_others_cannot_enter(home: Path) -> None:
    closed = home / "closed"
    closed.mkdir(parents=True, mode=0o700)
    closed.chmod(0o700)
    server = EmbeddedServer(closed / "home")
    url = server.start()
    ask(url, "CREATE TABLE t AS SELECT 1 AS n")
    server.stop()
    assert ask(server.start(), "SELECT n FROM t") == 1
    assert server.data.is_relative_to(closed)
    assert closed.stat().st_mode & 0o777 == 0o700
    assert closed.stat().st_uid == 0
    server.stop()


@needs_root
@needs_wheel
def test_binaries_may_lie_below_a_directory_that_others_cannot_enter(home: Path) -> None:
    site_packages = closed_wheel(home)
    path = os.pathsep.join(filter(None, [str(site_packages), os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "PYTHONPATH": path}
    environment.pop(BINDIR_VARIABLE, None)
    url = go(start_in_process(home, env=environment))
    assert ask(url, "SELECT 1") == 1
    assert Path(postmaster_of(home / "postgres" / "data").exe()).is_relative_to(CACHE)


@needs_root
@needs_wheel
def test_a_copy_of_the_binaries_is_made_once_and_whole(home: Path, open_directory: Path) -> None:
    source = closed_wheel(home) / PACKAGE / wheel_directories()[0].parent.name / "bin"
    leftover = open_directory / "postgres" / "copying-killed"
    leftover.mkdir(parents=True)
    before = os.umask(0o077)
    try:
        copy = executable_copy(source, open_directory)
    finally:
        os.umask(before)
    made = (copy / "postgres").stat()
    assert executable_copy(source, open_directory) == copy
    assert (copy / "postgres").stat() == made
    assert not leftover.exists()
    for program in ("postgres", "initdb", "psql"):
        subprocess.run([copy / program, "--version"], user="nobody", check=True, env={})


def test_a_normal_user_runs_it_as_that_user(open_directory: Path, normal_user: Account) -> None:
    home = owned_by(normal_user, open_directory)
    url = go(start_in_process(home, user=normal_user.uid))
    assert ask(url, "SELECT 1") == 1
    assert postmaster_of(home / "postgres" / "data").uids().real == normal_user.uid


@needs_root
def test_root_and_the_owner_take_turns_with_the_owners_home(
    open_directory: Path, normal_user: Account
) -> None:
    home = owned_by(normal_user, open_directory)
    url = go(start_in_process(home, user=normal_user.uid))
    server = EmbeddedServer(home)
    assert server.start().render_as_string(hide_password=False) == url
    server.stop()
    (home / "postgres" / "start.lock").unlink()
    server.start()
    assert postmaster_of(server.data).uids().real == normal_user.uid
    assert go(start_in_process(home, user=normal_user.uid)) == url
    assert {path.stat().st_uid for path in (home / "postgres").iterdir()} == {normal_user.uid}


@needs_root
def test_another_users_home_is_refused_by_name(open_directory: Path, normal_user: Account) -> None:
    home = owned_by(normal_user, open_directory)
    (home / "postgres").mkdir(mode=0o700)
    os.chown(home / "postgres", normal_user.uid, normal_user.uid)
    process = start_in_process(home, user=SOMEBODY)
    _, errors = process.communicate("go\n")
    assert f"belongs to the user nobody, not to {SOMEBODY}" in errors
    assert "DATA_PIPELINE_HOME" in errors


@needs_root
def test_data_that_belongs_to_root_is_refused_with_the_remedy(home: Path) -> None:
    data = home / "postgres" / "data"
    data.mkdir(parents=True)
    (data / "PG_VERSION").write_text("18\n")
    with pytest.raises(EmbeddedServerError, match=r"belongs to root.*chown -R nobody"):
        EmbeddedServer(home).start()


@needs_root
def test_root_without_the_right_to_trace_processes_manages_it_too(home: Path) -> None:
    """In containers root may not see other users' working directories."""
    url = go(start_in_process(home))
    code = (
        "import sys; from pathlib import Path; import psutil\n"
        "from data_pipeline.embedded import EmbeddedServer, processes\n"
        "server = EmbeddedServer(Path(sys.argv[1]))\n"
        "found = processes.postmaster(server.data)\n"
        "try: found.cwd(); print('can trace')\n"
        "except psutil.AccessDenied: print('denied')\n"
        "print(server.status, server.stop(), server.status)\n"
        "print(server.start().render_as_string(hide_password=False))\n"
    )
    tool = shutil.which("setpriv")
    if tool is None:
        pytest.skip("NOT TESTED: the program setpriv, which gives up the right, is missing")
    command = [tool, "--bounding-set", "-sys_ptrace", sys.executable, "-c", code, str(home)]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert output.splitlines() == ["denied", "running True stopped", url]


def closed_wheel(home: Path) -> Path:
    """A copy of the wheel as root's own virtual environment would have it."""
    site_packages = home / "closed"
    site_packages.mkdir(parents=True, mode=0o700)
    installation = wheel_directories()[0].parent
    package = installation.parent
    target = site_packages / PACKAGE
    shutil.copytree(installation, target / installation.name, symlinks=True)
    (target / "__init__.py").write_text("raise AssertionError('never to be imported')")
    libraries = f"{PACKAGE}.libs"
    shutil.copytree(package.parent / libraries, site_packages / libraries)
    return site_packages


def owned_by(account: Account, parent: Path) -> Path:
    home = parent / "home"
    home.mkdir()
    os.chown(home, account.uid, account.gid)
    return home
