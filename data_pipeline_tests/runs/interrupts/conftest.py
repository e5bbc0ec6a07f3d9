"""The pipeline of `project`, built once, and runs of it in processes of their own."""

import itertools
import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
import sqlalchemy as sa

from data_pipeline_tests.plain_roles import drop_database
from data_pipeline_tests.proofs.launched import Launched
from data_pipeline_tests.proofs.launching import launch
from data_pipeline_tests.runs.interrupts import project
from data_pipeline_tests.runs.interrupts.held import Held

CONFIGURATION = Path(__file__).with_name("instances.yaml")


class Runs:
    """Runs of the pipeline in a database that holds them up.

    Attributes:
        held: The database.
        generation: The generation of the sources.
        environment: That of the processes.
    """

    def __init__(self, held: Held, environment: dict[str, str], folder: Path) -> None:
        self.held = held
        self.environment = environment
        self._folder = folder
        self._generations = itertools.count(1)
        self.renew()

    def renew(self) -> int:
        """Let the sources have new data, of the generation that is returned."""
        self.generation = next(self._generations)
        return self.generation

    def start(
        self, module: str, job: str, *, by_command: bool = False, **variables: str
    ) -> Launched:
        """Start a run."""
        environment = {**self.environment, "GENERATION": str(self.generation), **variables}
        folder = self._folder
        return launch(module, job, environment=environment, folder=folder, by_command=by_command)

    def succeed(self, module: str, job: str) -> None:
        """Run a job, which has to succeed."""
        run = self.start(module, job)
        assert run.finish().success, run.log

    @staticmethod
    def status(run: Launched) -> dg.DagsterRunStatus:
        """Return what Dagster shows of a run."""
        with dg.DagsterInstance.local_temp(str(run.storage)) as storage:
            [found] = storage.get_runs()
            return found.status


@pytest.fixture(scope="module")
def runs(
    server_url: sa.URL, superuser_url: sa.URL, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Runs]:
    """The pipeline after a first run of `full`."""
    name = f"interrupts_{uuid.uuid4().hex[:12]}"
    admin = sa.create_engine(server_url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    with admin.connect() as connection:
        connection.execute(sa.text(f'CREATE DATABASE "{name}"'))
    engine = sa.create_engine(server_url.set(database=name), poolclass=sa.NullPool)
    url = engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
    ours = ("DAGSTER_", "DATA_PIPELINE_")
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(ours)},
        "DATA_PIPELINE_CONFIG": str(CONFIGURATION),
        "DATA_PIPELINE_DATABASE_URL": url,
        "DATA_PIPELINE_HOME": str(tmp_path_factory.mktemp("home")),
    }
    found = Runs(Held(engine), environment, tmp_path_factory.mktemp("runs"))
    found.succeed(project.__name__, "full")
    yield found
    drop_database(superuser_url, name)
