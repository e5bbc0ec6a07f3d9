"""Fixtures for tests of asset checks: a database that the shipped configuration uses."""

from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa

Execute = Callable[[str], None]


@pytest.fixture
def execute(database_url: sa.URL, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Execute:
    """Executes statements by hand in an empty database, which the shipped configuration uses."""
    url = database_url.set(drivername="postgresql").render_as_string(hide_password=False)
    monkeypatch.setenv("DATA_PIPELINE_DATABASE_URL", url)
    monkeypatch.setenv("DATA_PIPELINE_HOME", str(tmp_path))
    monkeypatch.delenv("DATA_PIPELINE_CONFIG", raising=False)
    monkeypatch.delenv("DATA_PIPELINE_PER_USER", raising=False)
    engine = sa.create_engine(database_url, poolclass=sa.NullPool)

    def execute(statements: str) -> None:
        with engine.begin() as connection:
            connection.exec_driver_sql(statements)

    return execute
