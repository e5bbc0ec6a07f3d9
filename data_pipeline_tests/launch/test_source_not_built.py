"""An instance that copies from one that was never built."""

from pathlib import Path

import pytest
import sqlalchemy as sa

from data_pipeline_tests.launch.conftest import SHIPPED_JOB_EXECUTE, place
from data_pipeline_tests.launch.processes import execute


@pytest.mark.soak  # `cli` has it from copies of a process
def test_the_error_gives_the_command_that_builds_the_source(
    database_url: sa.URL, tmp_path: Path
) -> None:
    empty = place(database_url, tmp_path)
    ended = execute(*SHIPPED_JOB_EXECUTE, "mini", env=empty.env)
    assert ended.returncode != 0
    assert "has not been built yet in instance `full`" in ended.stdout
    assert "dagster job execute -m data_pipeline.definitions -j full" in ended.stdout
    tables = "SELECT count(*) FROM pg_tables WHERE schemaname LIKE 'mini\\_stage%'"
    assert empty.rows(tables) == [(0,)]
