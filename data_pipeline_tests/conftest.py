"""Shared fixtures: a real PostgreSQL server for the session, a fresh database for each test.

The pipelines connect as a role that owns its databases and may do nothing else.

By default the tests start the embedded server in a temporary directory, in memory where there is
enough. `--test-url` or the environment variable DATA_PIPELINE_TEST_URL names another server, on
which the tests create and drop databases of their own.
"""

import gc
import os
import signal
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa
from alembic.config import Config
from alembic.script import ScriptDirectory
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    import dagster as dg

    from data_pipeline_tests.beginnings import Beginnings, BeginWith
    from data_pipeline_tests.plain_roles import PlainRoles

# What a shared machine is busy with is no failure, and the same code has the same result each time.
settings.register_profile(
    "unhurried",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize=True,
)
# `make soak` looks for more.
settings.register_profile("random", settings.get_profile("unhurried"), derandomize=False)
settings.load_profile("unhurried")

# A shell's jobs in the background begin with SIGINT ignored, and Dagster puts its handler of SIGINT
# back for SIGTERM as well: programs that it starts would not end, and it waits 30 s for each.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

_OF_THE_USER = (
    "DAGSTER_HOME",
    "DATA_PIPELINE_CACHE_VALIDATION",
    "DATA_PIPELINE_CONFIG",
    "DATA_PIPELINE_DATABASE_URL",
    "DATA_PIPELINE_HOME",
    "DATA_PIPELINE_IGNORE_CODE_VERSION",
    "DATA_PIPELINE_PER_USER",
    "DATA_PIPELINE_TEMPORARY_STORAGE",
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
    parser.addoption(
        "--screenshots", action="store_true", help="Take the pictures in docs/img anew"
    )


def pytest_report_header(config: pytest.Config) -> str:
    url = config.getoption("--test-url")
    return f"PostgreSQL: {sa.make_url(url)!r}" if url else "PostgreSQL: embedded, temporary"


def pytest_sessionstart() -> None:
    """Let messages name the module of pyproject.toml, whichever test is the first to run."""
    from data_pipeline.instances import project

    project._in_use.caller = None  # a conftest of a folder may have been the first
    project.note_caller()


def pytest_collection_finish() -> None:
    """Keeps the collector of garbage from looking at every module again and again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 50)


_WITH_PROGRAMS = {"cli", "docs", "embedded", "launch", "proofs"}
"""Folders of tests that start program after program."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Gives programs more time: they take minutes on a busy machine."""
    here = Path(__file__).parent
    for item in items:
        folder = item.path.relative_to(here).parts[0] if item.path.is_relative_to(here) else ""
        if folder in _WITH_PROGRAMS and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(1800))


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keeps tests away from the data and the Dagster storage of whoever runs them."""
    for name in _OF_THE_USER:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session", autouse=True)
def _storages_made_once() -> Iterator[None]:
    """Reads migrations and makes tables of Dagster's storages once, not again for each storage."""
    from data_pipeline_tests.ephemeral_storages import make_cheap

    patch = pytest.MonkeyPatch()
    make_cheap(patch)
    known: dict[str | None, ScriptDirectory] = {}
    read = ScriptDirectory.from_config

    def once(config: Config) -> ScriptDirectory:
        place = config.get_main_option("script_location")
        return known[place] if place in known else known.setdefault(place, read(config))

    patch.setattr(ScriptDirectory, "from_config", once)
    yield
    patch.undo()


@pytest.fixture
def define(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[["dg.Definitions"], None]]:
    """Gives the command line other definitions than the shipped ones, for one test."""
    from data_pipeline import definitions
    from data_pipeline.dagster_internals import ReconstructableJob

    def forget() -> None:  # Dagster remembers the job that a process has asked for last
        ReconstructableJob.get_definition.cache_clear()
        ReconstructableJob.get_repository_definition.cache_clear()

    def define(made: "dg.Definitions") -> None:
        monkeypatch.setattr(definitions, "defs", made)
        forget()

    yield define
    forget()


@pytest.fixture(scope="session")
def superuser_url(request: pytest.FixtureRequest) -> Iterator[sa.URL]:
    """URL of the maintenance database of a running server, for its superuser."""
    url = request.config.getoption("--test-url")
    if url:
        yield sa.make_url(url).set(drivername="postgresql+psycopg2")
        return
    from data_pipeline.embedded import EmbeddedServer
    from data_pipeline_tests.server_home import server_home

    with server_home() as home:
        server = EmbeddedServer(home)
        try:
            _make_cheap(server.start().set(drivername="postgresql+psycopg2"))
            server.stop()  # to begin with the new settings
            yield server.start().set(drivername="postgresql+psycopg2")
        finally:
            server.stop()


def _make_cheap(url: sa.URL) -> None:
    """Wait for no disk, make passwords cheap to check, keep few pages, and clean up nothing.

    What is written survives all but the end of the operating system. A password takes two thirds of
    the time of a connection, and tests open a hundred thousand. Whenever a table or a database is
    dropped, the server looks through all its pages. No database lives long enough to need VACUUM,
    and one that is being vacuumed cannot be copied.
    """
    admin = sa.create_engine(url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    with admin.connect() as connection:
        settings = ["fsync = off", "full_page_writes = off", "shared_buffers = '64MB'"]
        settings.append("autovacuum = off")
        if (connection.dialect.server_version_info or ()) >= (16,):
            settings.append("scram_iterations = 1")
            connection.exec_driver_sql("SET scram_iterations = 1")
        for setting in settings:
            connection.exec_driver_sql(f"ALTER SYSTEM SET {setting}")
        connection.exec_driver_sql("SELECT pg_reload_conf()")
        connection.exec_driver_sql(f"ALTER ROLE CURRENT_USER PASSWORD '{url.password}'")


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


def cheaply(connection: sa.Connection) -> str:
    """Return what lets a database be created for half the work, where the server has a choice.

    Its files are copied; else every page of them goes through the log.
    """
    version = connection.dialect.server_version_info
    return "STRATEGY file_copy" if version and version >= (15,) else ""


@pytest.fixture
def database_url(server_url: sa.URL, superuser_url: sa.URL) -> Iterator[sa.URL]:
    """URL of an empty database that this test alone uses (driver psycopg2)."""
    from data_pipeline.database.connection import close_databases
    from data_pipeline_tests.plain_roles import drop_database, maintenance

    name = f"test_{uuid.uuid4().hex[:12]}"
    with maintenance(server_url).connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name} {cheaply(connection)}")
    yield server_url.set(database=name)
    close_databases(name)  # a process has a thousand files at most
    drop_database(superuser_url, name)


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


@pytest.fixture(scope="session")
def beginnings(
    server_url: sa.URL, superuser_url: sa.URL, tmp_path_factory: pytest.TempPathFactory
) -> Iterator["Beginnings"]:
    """Patterns of databases, for `begin_with`."""
    from data_pipeline_tests.beginnings import Beginnings

    with sa.create_engine(server_url, poolclass=sa.NullPool).connect() as connection:
        how = cheaply(connection)
    made = Beginnings(server_url, superuser_url, tmp_path_factory.mktemp("beginnings"), how)
    yield made
    made.drop()


@pytest.fixture
def begin_with(
    beginnings: "Beginnings", pipeline_database: sa.Engine, tmp_path: Path
) -> "BeginWith":
    """Lets the database of this test be as a function leaves it, which is called once for each key.

    Dagster's storage then knows nothing of what was built.
    """
    name = pipeline_database.url.database or ""
    return lambda key, build: beginnings.copy(key, build, name, tmp_path / "home")


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
