"""The configured reader role reads every committed stage, and nothing else."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from data_pipeline_tests.io_manager.runs import execute, rows
from data_pipeline_tests.memo.settings import table_store
from data_pipeline_tests.memo.stages import constant, failing
from data_pipeline_tests.memo.world import World

READABLE = """
SELECT n.nspname || '.' || c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
WHERE n.nspname LIKE 'full%' AND c.relkind IN ('r', 'v')
  AND has_schema_privilege('{role}', n.oid, 'USAGE')
  AND has_table_privilege('{role}', c.oid, 'SELECT') ORDER BY 1
"""


@pytest.fixture
def role(superuser: sa.Engine) -> Iterator[str]:
    """Name of a role that has no rights."""
    name = f"reader_{superuser.url.database}"
    execute(superuser, f"CREATE ROLE {name}")
    yield name
    execute(superuser, f"DROP OWNED BY {name} CASCADE", f"DROP ROLE {name}")


def readable(engine: sa.Engine, role: str) -> list[str]:
    return [name for (name,) in rows(engine, READABLE.format(role=role))]


def test_it_reads_what_is_committed_and_not_what_is_staged(
    world: World,
    pipeline_database: sa.Engine,
    role: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    table_store(f"reader_role: {role}", tmp_path, monkeypatch)
    world.made(lambda: [constant("s/a", 1), constant("t/b", 1), failing("t/c")])
    assert readable(pipeline_database, role) == ["full_s.a"]
    assert world.made(lambda: [constant("s/a", 2), constant("t/b", 1)]).success
    assert readable(pipeline_database, role) == ["full_s.a", "full_t.b"]


def test_it_reads_what_was_committed_before_it_was_configured(
    world: World,
    pipeline_database: sa.Engine,
    role: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert world.made(lambda: [constant("s/a", 1), constant("t/b", 1)]).success
    assert readable(pipeline_database, role) == []
    table_store(f"reader_role: {role}", tmp_path, monkeypatch)
    run = world.made(lambda: [constant("s/a", 1), constant("t/b", 1)])
    assert run.success
    assert run.steps == set()
    assert readable(pipeline_database, role) == ["full_s.a", "full_t.b"]


def test_a_role_that_does_not_exist_is_named_before_anything_is_computed(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table_store("reader_role: nobody_at_all", tmp_path, monkeypatch)
    run = world.made(lambda: [constant("s/a", 1)])
    assert not run.success
    assert not world.calls
    assert "table_store.reader_role names the role `nobody_at_all`" in run.failure
