"""Runs give the same results whatever isolation level the role of the pipeline defaults to."""

import logging
import multiprocessing
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import sqlalchemy as sa

from data_pipeline.database.connection import Database, database
from data_pipeline.database.identifiers import StageTable
from data_pipeline.instances import Instance, load_configuration
from data_pipeline.runs.run_session import RunSession
from data_pipeline.runs.step_reads import StepReads
from data_pipeline.store import catalog
from data_pipeline.store.active_runs import run_registry
from data_pipeline_tests.dagster_storages import open_storage, prepare_storage
from data_pipeline_tests.io_manager.runs import execute, rows, wait_until, write
from data_pipeline_tests.memo.stages import constant
from data_pipeline_tests.memo.world import Run, World
from data_pipeline_tests.patience import PATIENCE

SILENT = logging.Logger("silent")
A_LOCK_IS_WAITED_FOR = """
SELECT FROM pg_locks l JOIN pg_database d ON d.oid = l.database
WHERE NOT granted AND datname = current_database()
"""

pytestmark = pytest.mark.usefixtures("level")


@pytest.fixture(params=["repeatable read", "serializable"])
def level(request: pytest.FixtureRequest, owner: str, superuser: sa.Engine) -> str:
    """Isolation level to which the role of the pipeline defaults."""
    execute(
        superuser,
        f"ALTER ROLE {owner} SET default_transaction_isolation = '{request.param}'",
        f"ALTER ROLE {owner} SET default_transaction_deferrable = on",
    )
    return request.param


def full() -> tuple[Database, Instance]:
    instance = load_configuration().instance("full")
    return database(instance), instance


@contextmanager
def beside(act: Callable[[], object]) -> Iterator[threading.Thread]:
    """Acts in a thread of its own, which has ended well when the block has."""
    failures: list[BaseException] = []

    def acting() -> None:
        try:
            act()
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=acting)
    thread.start()
    try:
        yield thread
    finally:
        thread.join()
    assert not failures


def test_every_session_says_its_level(superuser: sa.Engine) -> None:
    source, instance = full()
    shown = "SELECT current_setting('transaction_isolation')"
    # A connection of the pool is used again after one that commits each statement by itself.
    for _ in range(2):
        with source.begin() as connection:
            assert connection.scalar(sa.text(shown)) == "read committed"
        with source.session() as connection:
            assert connection.scalar(sa.text(shown)) == "read committed"
    session = RunSession(source, instance, "a run", SILENT)
    with session.begin() as connection:
        assert connection.scalar(sa.text(shown)) == "read committed"
    session.close()
    with source.adbc() as bulk, bulk.cursor() as cursor:
        for _ in range(2):
            cursor.execute(shown)
            assert cursor.fetchall() == [("read committed",)]
            bulk.commit()


def test_a_pipeline_runs_and_is_reused(world: World, superuser: sa.Engine) -> None:
    for name in ("full", "mini"):
        assert world.run(name).success
    assert world.run().steps == set()
    world.state["source"] = 5
    assert world.run().success
    assert world.calls == {"t": 1, "b": 1, "c": 1, "query": 1}
    made = "SELECT DISTINCT b.v, q.v FROM full_stage_1.b, full_stage_2.query q"
    assert rows(superuser, made) == [(10, 10)]
    assert world.run().steps == set()


def test_two_runs_that_begin_a_catalog_at_once_get_along() -> None:
    source, instance = full()

    def begin() -> None:
        RunSession(source, instance, "the second", SILENT).close()

    with source.begin() as first:
        catalog.ensure(first, instance.catalog_schema)
        with source.session() as watching, beside(begin):
            wait_until(lambda: watching.execute(sa.text(A_LOCK_IS_WAITED_FOR)).first() is not None)
            first.commit()


def test_runs_that_list_themselves_at_once_get_along() -> None:
    source, instance = full()
    RunSession(source, instance, "before them", SILENT).close()
    with source.begin() as first, source.begin() as second:
        for connection in (first, second):
            run_registry.bury(connection, instance)
        run_registry.register(first, instance, "first", ["a"], {})
        run_registry.register(second, instance, "second", ["b"], {})
    with source.begin() as connection:
        found = {run.run_id for run in run_registry.active(connection, instance)}
        assert found == {"first", "second"}


def test_a_step_that_waits_for_a_commit_knows_what_it_reads(superuser: sa.Engine) -> None:
    """It would take the new rows for those of the version that it saw before it waited."""
    instance = load_configuration().instance("full")
    write("a", pd.DataFrame({"v": [1]}))
    found: list[Any] = []

    def read() -> None:
        reads = StepReads("a run", [(instance, StageTable("s", "a"))])
        found.append(reads[instance, StageTable("s", "a")].row)
        reads.close()

    with superuser.begin() as commit, beside(read):
        commit.exec_driver_sql("LOCK TABLE full_s.a IN ACCESS EXCLUSIVE MODE")
        commit.exec_driver_sql("UPDATE full_catalog.tables SET data_version = 'new'")
        wait_until(lambda: bool(rows(superuser, A_LOCK_IS_WAITED_FOR)))
        commit.commit()
    assert found[0].data_version == "new"


def test_a_commit_waits_for_a_reader(world: World, superuser: sa.Engine) -> None:
    def run() -> None:
        assert world.made(lambda: [constant("s/a", 2), constant("t/b", 2)]).success

    assert world.made(lambda: [constant("s/a", 1), constant("t/b", 1)]).success
    with superuser.connect() as reader:
        assert reader.scalar(sa.text("SELECT v FROM full_s.a")) == 1
        with beside(run) as running:
            wait_until(lambda: rows(superuser, "SELECT v FROM full_t.b") == [(2,)])
            assert reader.scalar(sa.text("SELECT v FROM full_s.a")) == 1
            assert running.is_alive()
            reader.rollback()
    assert rows(superuser, "SELECT v FROM full_s.a") == [(2,)]


def run_changing(name: str, folder: Path) -> None:
    """Runs the pipeline in a process of its own."""
    sys.exit(not Run(open_storage(folder), "changing", name).success)


@pytest.mark.usefixtures("forkserver")
def test_runs_at_once_get_along(world: World, superuser: sa.Engine, tmp_path: Path) -> None:
    """Two of one instance take turns, and one of another copies from it meanwhile."""
    assert world.run().success
    world.state["source"] = 5
    world.save()
    processes = []
    for number, name in enumerate(["full", "full", "mini"]):
        folder = tmp_path / f"storage_{number}"
        prepare_storage(folder)
        context = multiprocessing.get_context("forkserver")
        processes.append(context.Process(target=run_changing, args=(name, folder)))
    for process in processes:
        process.start()
    for process in processes:
        process.join(PATIENCE)
    assert [process.exitcode for process in processes] == [0, 0, 0]
    made = "SELECT DISTINCT b.v, q.v FROM full_stage_1.b, full_stage_2.query q"
    assert rows(superuser, made) == [(10, 10)]
    assert rows(superuser, made.replace("full", "mini")) in ([(2, 2)], [(10, 10)])
    assert world.calls == {"t": 1, "b": 2, "c": 2, "query": 2}
    assert world.run().steps == set()
