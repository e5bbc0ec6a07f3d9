"""Real workers, started once for the tests of a module, on a database that these share."""

import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
import sqlalchemy as sa

from data_pipeline_tests.dagster_storages import open_storage, prepare_storage
from data_pipeline_tests.io_manager.runs import wait_until
from data_pipeline_tests.plain_roles import drop_database
from data_pipeline_tests.runs.workers import project
from data_pipeline_tests.runs.workers.broker import Broker

CHECKOUT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def place(
    server_url: sa.URL, superuser_url: sa.URL, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, str]]:
    """What leader and workers know of the world: the database of the module, its folder."""
    name, folder = f"test_{uuid.uuid4().hex[:12]}", tmp_path_factory.mktemp("workers")
    admin = sa.create_engine(server_url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    with admin.connect() as connection:
        connection.exec_driver_sql(f'CREATE DATABASE "{name}"')
    url = server_url.set(database=name, drivername="postgresql")
    yield {
        "DATA_PIPELINE_DATABASE_URL": url.render_as_string(hide_password=False),
        "DATA_PIPELINE_HOME": str(folder / "home"),
        "PYTHONPATH": os.pathsep.join([str(CHECKOUT), os.environ.get("PYTHONPATH", "")]),
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]),
    }
    from data_pipeline.database.connection import close_databases

    close_databases(name)
    drop_database(superuser_url, name)


@pytest.fixture
def engine(place: dict[str, str]) -> Iterator[sa.Engine]:
    """The database of the module, without what the test before left."""
    url = sa.make_url(place["DATA_PIPELINE_DATABASE_URL"]).set(drivername="postgresql+psycopg2")
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    found = "SELECT nspname FROM pg_namespace WHERE nspname ~ '^(full|midi|mini)_'"
    with engine.begin() as connection:
        for schema in connection.scalars(sa.text(found)).all():
            connection.exec_driver_sql(f'DROP SCHEMA "{schema}" CASCADE')
    yield engine
    engine.dispose()


@pytest.fixture
def storage(
    place: dict[str, str], engine: sa.Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[dg.DagsterInstance]:
    """Dagster's storage, which workers reach by the run that they are handed."""
    for name, value in place.items():
        monkeypatch.setenv(name, value)
    prepare_storage(tmp_path)
    with open_storage(tmp_path) as storage:
        yield storage


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    broker = Broker(tmp_path_factory.mktemp("redis"))
    yield broker.url
    broker.kill()


class Workers:
    """Two Celery workers, each with a process that executes one step at a time."""

    def __init__(self, folder: Path, broker: str, environment: dict[str, str]) -> None:
        self._folder = folder
        self._environment = os.environ | environment | {project.BROKER: broker}
        self._settings = folder / "celery.yaml"
        self._settings.write_text(
            f"execution: {{config: {{broker: '{broker}/0', backend: '{broker}/1'}}}}"
        )
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._number = 0

    def start(self) -> None:
        """Starts those that are not there, and returns when they take steps."""
        for name in ("one", "two"):
            if name not in self._processes:
                self._number += 1
                self._processes[name] = self._started(f"{name}{self._number}")
        wait_until(self._are_ready)

    def _are_ready(self) -> bool:
        assert all(process.poll() is None for process in self._processes.values()), self.logs
        return self.logs.count(" ready.") >= self._number

    def _started(self, name: str) -> "subprocess.Popen[bytes]":
        command = [
            *(str(Path(sys.executable).with_name("dagster-celery")), "worker", "start"),
            *("-A", "dagster_celery.app", "-y", str(self._settings), "-n", name),
            *("--", "--concurrency", "1"),
        ]
        home = self._folder / name
        home.mkdir()
        with (self._folder / f"{name}.log").open("wb") as log:
            return subprocess.Popen(
                command,
                env=self._environment | {"DAGSTER_HOME": str(home)},
                cwd=self._folder,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    @property
    def logs(self) -> str:
        return "".join(file.read_text() for file in self._folder.glob("*.log"))

    def kill(self) -> None:
        for process in self._processes.values():
            if process.poll() is None:
                os.killpg(process.pid, 9)
            process.wait()
        self._processes.clear()


@pytest.fixture(scope="module")
def _workers(
    redis: str, place: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Workers]:
    workers = Workers(tmp_path_factory.mktemp("celery"), redis, place)
    yield workers
    workers.kill()


@pytest.fixture
def workers(_workers: Workers, redis: str, monkeypatch: pytest.MonkeyPatch) -> Workers:
    monkeypatch.setenv(project.BROKER, redis)
    monkeypatch.setattr("dagster_celery.core_execution_loop.TICK_SECONDS", 0.05)
    _workers.start()
    return _workers
