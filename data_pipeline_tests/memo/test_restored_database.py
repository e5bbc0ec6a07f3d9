"""After a restore, or in a copy of the database, nothing is computed again without need."""

import subprocess
import uuid
from collections.abc import Callable, Iterator

import pytest
import sqlalchemy as sa

from data_pipeline.embedded.binaries import find_psql
from data_pipeline_tests.io_manager.runs import by_hand, rows
from data_pipeline_tests.memo.world import World
from data_pipeline_tests.plain_roles import drop_database

Restore = Callable[..., sa.Engine]


@pytest.fixture
def restored(
    pipeline_database: sa.Engine,
    server_url: sa.URL,
    superuser_url: sa.URL,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Restore]:
    """Dumps and restores the database of the test; runs then go to the new one."""
    made: list[str] = []
    admin = sa.create_engine(server_url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)

    def restore(*options: str) -> sa.Engine:
        url = server_url.set(database=f"restored_{uuid.uuid4().hex[:8]}")
        made.append(str(url.database))
        by_hand(admin, f'CREATE DATABASE "{url.database}"')
        with admin.connect() as connection:
            major = connection.dialect.server_version_info[0]  # type: ignore[index]
        programs = find_psql(major).parent
        before = _dsn(pipeline_database.url)
        dump = subprocess.run(
            [programs / "pg_dump", "-Fc", *options, before], check=True, capture_output=True
        )
        subprocess.run([programs / "pg_restore", "-d", _dsn(url)], input=dump.stdout, check=True)
        monkeypatch.setenv("DATA_PIPELINE_DATABASE_URL", _dsn(url))
        return sa.create_engine(url, poolclass=sa.NullPool)

    yield restore
    for name in made:
        drop_database(superuser_url, name)


def _dsn(url: sa.URL) -> str:
    return url.set(drivername="postgresql").render_as_string(hide_password=False)


@pytest.mark.parametrize("options", [(), ("--inserts",)], ids=["copied", "row by row"])
def test_nothing_is_computed_again(
    world: World, restored: Restore, options: tuple[str, ...]
) -> None:
    for name in ("full", "midi"):
        assert world.run(name).success
    engine = restored(*options)
    for _ in range(2):
        for name in ("full", "midi"):
            assert world.run(name).success
            assert not world.calls
            assert not world.last.steps
    by_hand(engine, "UPDATE full_stage_1.b SET v = 7 WHERE k = 1")
    assert world.run().success
    assert "stage_1__b: rows of `stage_1/b` were changed by hand" in world.last.log
    assert rows(engine, "SELECT v FROM full_stage_1.b WHERE k = 1") == [(2,)]


def test_a_change_between_the_restore_and_the_first_run_is_noticed(
    world: World, restored: Restore
) -> None:
    assert world.run().success
    engine = restored()
    by_hand(engine, "UPDATE full_stage_1.b SET v = 7 WHERE k = 1")
    assert world.run().success
    assert "stage_1__b: rows of `stage_1/b` were changed by hand" in world.last.log
    assert set(world.calls) == {"b"}
    assert rows(engine, "SELECT v FROM full_stage_1.b WHERE k = 1") == [(2,)]


def test_what_was_not_restored_is_computed_again(world: World, restored: Restore) -> None:
    assert world.run().success
    restored("--exclude-table-data=full_stage_1.b", "--exclude-table=full_stage_2.query")
    assert world.run().success
    assert "stage_1__b: `stage_1/b` was emptied by hand" in world.last.log
    assert "stage_2__query: table `stage_2/query` was dropped" in world.last.log
    assert set(world.calls) == {"b", "query"}


def test_nothing_is_computed_again_in_a_copy_of_the_database(
    world: World,
    pipeline_database: sa.Engine,
    server_url: sa.URL,
    superuser_url: sa.URL,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from data_pipeline.database.connection import database
    from data_pipeline.instances import load_configuration

    assert world.run().success
    database(load_configuration().instance("full")).engine.dispose()
    copy = pipeline_database.url.set(database=f"copy_{uuid.uuid4().hex[:8]}")
    admin = sa.create_engine(server_url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    source = pipeline_database.url.database
    others = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{source}'"
    by_hand(admin, others, f'CREATE DATABASE "{copy.database}" TEMPLATE "{source}"')
    monkeypatch.setenv("DATA_PIPELINE_DATABASE_URL", _dsn(copy))
    try:
        for _ in range(2):
            assert world.run().success
            assert not world.calls
    finally:
        drop_database(superuser_url, str(copy.database))
