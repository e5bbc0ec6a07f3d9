"""Databases that several tests of a file share, and what one complete run leaves in one."""

import re
import uuid
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pytest
import sqlalchemy as sa

from data_pipeline_tests.launch.processes import environment, succeed
from data_pipeline_tests.plain_roles import drop_database

_JOB_EXECUTE = ("dagster", "job", "execute", "-m")
JOB_EXECUTE = (*_JOB_EXECUTE, "data_pipeline_tests.launch.quickstart", "-j")
SHIPPED_JOB_EXECUTE = (*_JOB_EXECUTE, "data_pipeline.definitions", "-j")
NOTHING_EXECUTED = re.compile(r"\b0 of \d+ steps executed")


class Databases(Protocol):
    """Makes empty databases."""

    def __call__(self) -> AbstractContextManager[sa.URL]: ...


@pytest.fixture(scope="session")
def databases(server_url: sa.URL, superuser_url: sa.URL) -> Databases:
    """A factory of empty databases, each of which is dropped at its end."""
    admin = sa.create_engine(server_url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)

    @contextmanager
    def database() -> Iterator[sa.URL]:
        name = f"launch_{uuid.uuid4().hex[:12]}"
        with admin.connect() as connection:
            connection.execute(sa.text(f'CREATE DATABASE "{name}"'))
        try:
            yield server_url.set(database=name)
        finally:
            drop_database(superuser_url, name)

    return database


@dataclass(frozen=True)
class Place:
    """Where commands run the pipeline: a database and a home, named by the environment."""

    url: sa.URL
    env: dict[str, str]

    def rows(self, query: str) -> list[tuple[object, ...]]:
        """What the database answers."""
        engine = sa.create_engine(self.url, poolclass=sa.NullPool)
        with engine.connect() as connection:
            return [tuple(row) for row in connection.execute(sa.text(query))]

    @contextmanager
    def transaction(self, statement: str) -> Iterator[None]:
        """A transaction that a statement has begun and that stays open meanwhile."""
        engine = sa.create_engine(self.url, poolclass=sa.NullPool)
        with engine.begin() as connection:
            connection.execute(sa.text(statement))
            yield


def place(url: sa.URL, home: Path) -> Place:
    """A place that uses a database, with `home` for all else."""
    address = url.set(drivername="postgresql").render_as_string(hide_password=False)
    env = environment(DATA_PIPELINE_DATABASE_URL=address, DATA_PIPELINE_HOME=str(home))
    return Place(url, env)


@pytest.fixture(scope="session")
def full(databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """A place in which `dagster job execute -j full` has run, whole."""
    with databases() as url:
        built = place(url, tmp_path_factory.mktemp("full"))
        succeed(*JOB_EXECUTE, "full", env=built.env)
        yield built
