"""A world for each test: a database, a Dagster storage, and a pipeline that can change."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from data_pipeline_tests.caching.world import World


@pytest.fixture
def world(
    pipeline_database: sa.Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[World]:
    folder = tmp_path / "world"
    folder.mkdir()
    made = World(folder, monkeypatch)
    yield made
    made.storage.dispose()
