"""Shared fixtures: a real PostgreSQL server for the session, a fresh database for each test.

The pipelines connect as a role that owns its databases and may do nothing else.

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
    parser.addoption(
        "--as-superuser",
        action="store_true",
        help="Let the pipelines connect as the superuser, not as a plain owner of their database",
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
def superuser_url(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[sa.URL]:
    """URL of the maintenance database of a running server, for its superuser."""
    url = request.config.getoption("--test-url")
    if url:
        yield sa.make_url(url).set(drivername="postgresql+psycopg2")
        return
    from data_pipeline.embedded import EmbeddedServer

    server = EmbeddedServer(Path(tmp_path_factory.mktemp("home")))
    yield server.start().set(drivername="postgresql+psycopg2")
    server.stop()


@pytest.fixture(scope="session")
def server_url(request: pytest.FixtureRequest, superuser_url: sa.URL) -> Iterator[sa.URL]:
    """URL of the same for a role that may do no more than create databases of its own.

    Hosted databases give no more than that: so the pipelines of all tests are plain owners.
    """
    if request.config.getoption("--as-superuser"):
        yield superuser_url
        return
    name, password = f"plain_{uuid.uuid4().hex[:8]}", uuid.uuid4().hex
    admin = sa.create_engine(superuser_url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    with admin.connect() as connection:
        connection.exec_driver_sql(f"CREATE ROLE {name} LOGIN CREATEDB PASSWORD '{password}'")
    yield superuser_url.set(username=name, password=password)
    with admin.connect() as connection:
        connection.exec_driver_sql(f"DROP ROLE {name}")


@pytest.fixture
def database_url(server_url: sa.URL, superuser_url: sa.URL) -> Iterator[sa.URL]:
    """URL of an empty database that this test alone uses (driver psycopg2)."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    admin = sa.create_engine(server_url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    with admin.connect() as connection:
        connection.execute(sa.text(f'CREATE DATABASE "{name}"'))
    yield server_url.set(database=name)
    admin = sa.create_engine(superuser_url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
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
    url = database_url.render_as_string(hide_password=False).replace("+psycopg2", "")
    monkeypatch.setenv("DATA_PIPELINE_DATABASE_URL", url)
    monkeypatch.setenv("DATA_PIPELINE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("DATA_PIPELINE_TEST_URL", url)  # for samples of frames
    engine = sa.create_engine(database_url, poolclass=sa.NullPool)
    yield engine
    engine.dispose()


@pytest.fixture
def superuser(superuser_url: sa.URL, database_url: sa.URL) -> Iterator[sa.Engine]:
    """Connections of the superuser to the database of this test."""
    url = superuser_url.set(database=database_url.database)
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    yield engine
    engine.dispose()


@pytest.fixture
def owner(
    monkeypatch: pytest.MonkeyPatch, pipeline_database: sa.Engine, superuser: sa.Engine
) -> Iterator[str]:
    """Role as which the pipeline connects, which a test may change: the owner of the database."""
    name = f"owner_{uuid.uuid4().hex[:12]}"
    with superuser.begin() as connection:
        connection.exec_driver_sql(f"CREATE ROLE {name} LOGIN PASSWORD 'of_the_owner'")
        connection.exec_driver_sql(f'ALTER DATABASE "{superuser.url.database}" OWNER TO {name}')
    url = superuser.url.set(drivername="postgresql", username=name, password="of_the_owner")
    monkeypatch.setenv("DATA_PIPELINE_DATABASE_URL", url.render_as_string(hide_password=False))
    yield name
    with superuser.begin() as connection:
        connection.exec_driver_sql(f"REASSIGN OWNED BY {name} TO CURRENT_USER")
        connection.exec_driver_sql(f"DROP OWNED BY {name} CASCADE")
        connection.exec_driver_sql(f"DROP ROLE {name}")


@pytest.fixture
def roles(
    pipeline_database: sa.Engine, superuser: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> Iterator["PlainRoles"]:
    """Lets the pipeline be a role without any attribute, beside other roles."""
    from data_pipeline_tests.plain_roles import plain_roles

    with plain_roles(superuser) as roles:
        monkeypatch.setenv("DATA_PIPELINE_DATABASE_URL", roles.url(roles.owner))
        yield roles
