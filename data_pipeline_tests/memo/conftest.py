"""A world for each test: a database, a Dagster storage, and a pipeline that can change."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from data_pipeline_tests.io_manager.runs import execute
from data_pipeline_tests.memo.step_processes import SharedForkserver
from data_pipeline_tests.memo.world import World


@pytest.fixture
def world(
    pipeline_database: sa.Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[World]:
    folder = tmp_path / "world"
    folder.mkdir()
    made = World(folder, monkeypatch)
    yield made
    made.storage.dispose()


@pytest.fixture
def counters_may_begin_anew(superuser: sa.Engine) -> None:
    """Lets the owner of the database do what only a superuser may: `pg_stat_reset`."""
    execute(superuser, "GRANT EXECUTE ON FUNCTION pg_stat_reset() TO PUBLIC")


_FORKSERVER = SharedForkserver()


@pytest.fixture
def forkserver(world: World) -> Iterator[None]:
    """Lets processes of steps be copies of one that has imported what they need."""
    with _FORKSERVER.in_use():
        yield
