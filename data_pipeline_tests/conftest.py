"""Shared fixtures: a real PostgreSQL server for the session, a fresh database for each test.

By default the tests start the embedded server in a temporary directory. `--test-url` or the
environment variable DATA_PIPELINE_TEST_URL names another server, on which the tests create and
drop databases of their own.
"""

import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from data_pipeline_tests.plain_roles import PlainRoles

# What a shared machine is busy with is no failure.
settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unhurried")

_OF_THE_USER = (
    "DAGSTER_HOME",
    "DATA_PIPELINE_CACHE_VALIDATION",
    "DATA_PIPELINE_CONFIG",
    "DATA_PIPELINE_DATABASE_URL",
    "DATA_PIPELINE_HOME",
    "DATA_PIPELINE_IGNORE_CODE_VERSION",
    "DATA_PIPELINE_PER_USER",
)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--test-url",
        default=os.environ.get("DATA_PIPELINE_TEST_URL"),
        help="URL of a PostgreSQL server to test on (default: start an embedded one)",
    )


def pytest_report_header(config: pytest.Config) -> str:
    url = config.getoption("--test-url")
    return f"PostgreSQL: {sa.make_url(url)!r}" if url else "PostgreSQL: embedded, temporary"


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keeps tests away from the data and the Dagster storage of whoever runs them."""
    for name in _OF_THE_USER:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session")
def server_url(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[sa.URL]:
    """URL of the maintenance database of a running server."""
    url = request.config.getoption("--test-url")
    if url:
        yield sa.make_url(url).set(drivername="postgresql+psycopg2")
        return
    from data_pipeline.tables.embedded import EmbeddedServer

    server = EmbeddedServer(Path(tmp_path_factory.mktemp("home")))
    yield server.start().set(drivername="postgresql+psycopg2")
    server.stop()


@pytest.fixture
def database_url(server_url: sa.URL) -> Iterator[sa.URL]:
    """URL of an empty database that this test alone uses (driver psycopg2)."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    admin = sa.create_engine(server_url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    with admin.connect() as connection:
        connection.execute(sa.text(f'CREATE DATABASE "{name}"'))
    yield server_url.set(database=name)
    with admin.connect() as connection:
        connection.execute(sa.text(f'DROP DATABASE "{name}" WITH (FORCE)'))


@pytest.fixture
def database_dsn(database_url: sa.URL) -> str:
    """The same database as a libpq URL, for ADBC."""
    return database_url.set(drivername="postgresql").render_as_string(hide_password=False)


@pytest.fixture
def pipeline_database(
    monkeypatch: pytest.MonkeyPatch, database_url: sa.URL, tmp_path: Path
) -> Iterator[sa.Engine]:
    """Lets all instances of the shipped configuration live in a database of this test."""
    url = database_url.render_as_string(hide_password=False)
    monkeypatch.setenv("DATA_PIPELINE_DATABASE_URL", url.replace("+psycopg2", ""))
    monkeypatch.setenv("DATA_PIPELINE_HOME", str(tmp_path / "home"))
    engine = sa.create_engine(database_url, poolclass=sa.NullPool)
    yield engine
    engine.dispose()


@pytest.fixture
def owner(monkeypatch: pytest.MonkeyPatch, pipeline_database: sa.Engine) -> Iterator[str]:
    """Role as which the pipeline connects to `pipeline_database`: its owner, and nothing more."""
    name, database = f"owner_{uuid.uuid4().hex[:12]}", pipeline_database.url.database
    with pipeline_database.begin() as connection:
        connection.exec_driver_sql(f"CREATE ROLE {name} LOGIN PASSWORD 'of_the_owner'")
        connection.exec_driver_sql(f'ALTER DATABASE "{database}" OWNER TO {name}')
    url = pipeline_database.url.set(drivername="postgresql", username=name, password="of_the_owner")
    monkeypatch.setenv("DATA_PIPELINE_DATABASE_URL", url.render_as_string(hide_password=False))
    yield name
    with pipeline_database.begin() as connection:
        connection.exec_driver_sql(f"REASSIGN OWNED BY {name} TO CURRENT_USER")
        connection.exec_driver_sql(f"DROP OWNED BY {name} CASCADE")
        connection.exec_driver_sql(f"DROP ROLE {name}")


@pytest.fixture
def roles(pipeline_database: sa.Engine, monkeypatch: pytest.MonkeyPatch) -> Iterator["PlainRoles"]:
    """Lets the pipeline be a plain role that owns its database, beside other roles."""
    from data_pipeline_tests.plain_roles import plain_roles

    with plain_roles(pipeline_database) as roles:
        monkeypatch.setenv("DATA_PIPELINE_DATABASE_URL", roles.url(roles.owner))
        yield roles
