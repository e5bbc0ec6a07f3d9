"""Worlds for the proofs, and the line that says what they have done."""

import shutil
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import sqlalchemy as sa

from data_pipeline.embedded.binaries import BINDIR_VARIABLE
from data_pipeline_tests.plain_roles import drop_database
from data_pipeline_tests.proofs.tally import TALLY
from data_pipeline_tests.proofs.world import World

READER = "proof_reader"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    failed = terminalreporter.getreports("failed") + terminalreporter.getreports("error")
    TALLY.errors = sum("/proofs/" in report.nodeid for report in failed)
    if TALLY.runs:
        terminalreporter.write_line(f"Proofs: {TALLY}")


@dataclass(frozen=True)
class Pattern:
    """A database and a home in which nothing happens any more, to make copies of."""

    database: str
    home: Path


@pytest.fixture(scope="session")
def pattern(
    server_url: sa.URL, superuser_url: sa.URL, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Pattern]:
    """Where `full` and `midi` have run and users have built on their tables."""
    name = f"pattern_{uuid.uuid4().hex[:12]}"
    reader = f"reader_{uuid.uuid4().hex[:12]}"
    admin = sa.create_engine(server_url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    superuser = sa.create_engine(superuser_url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    with admin.connect() as connection, superuser.connect() as roles:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
        roles.exec_driver_sql(f"CREATE ROLE {reader}")
    made = World(tmp_path_factory.mktemp("pattern") / "world", server_url.set(database=name))
    try:
        made.succeed(1)
        made.succeed(1, "midi")
        made.build_on_tables(reader)
        made.end()
        yield Pattern(name, made.home)
    finally:
        with superuser.connect() as connection:
            connection.exec_driver_sql(f"DROP DATABASE {name} WITH (FORCE)")
            connection.exec_driver_sql(f"DROP ROLE {reader}")


@pytest.fixture
def built_on(
    server_url: sa.URL, superuser_url: sa.URL, pattern: Pattern, tmp_path: Path
) -> Iterator[World]:
    """A world in which `full` and `midi` have run and users have built on their tables."""
    name = f"proof_{uuid.uuid4().hex[:12]}"
    admin = sa.create_engine(server_url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    with admin.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name} TEMPLATE {pattern.database}")
    made = World(tmp_path / "world", server_url.set(database=name))
    made.superuser_url = superuser_url.set(database=name)
    shutil.copytree(pattern.home, made.home, dirs_exist_ok=True)
    yield made
    made.end()
    drop_database(superuser_url, name)


def use_binaries(origin: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Chooses the programs of the embedded server: those it finds first, or the system's."""
    if origin == "system":
        found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
        if not found:
            pytest.skip("NOT TESTED: there is no PostgreSQL in /usr/lib/postgresql")
        monkeypatch.setenv(BINDIR_VARIABLE, str(found[-1].parent))


@pytest.fixture
def own_server(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[World]:
    """A world with a server of its own, in which users have built on tables."""
    use_binaries(getattr(request, "param", "wheel"), monkeypatch)
    made = World(tmp_path / "world", None)
    try:
        made.succeed(1)
        made.succeed(1, "midi")
        made.execute(f"CREATE ROLE {READER}")
        made.build_on_tables(READER)
        yield made
    finally:
        made.end()
