"""Who waits says for whom: runs for runs, commits for readers."""

import getpass
import logging
import re
import socket
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from data_pipeline.database.connection import database
from data_pipeline.database.identifiers import StageTable
from data_pipeline.database.lock_waiting import holders_of_all
from data_pipeline.errors import DatabaseError
from data_pipeline.instances import load_configuration
from data_pipeline.memo.deciding import catalog_state
from data_pipeline.runs.run_session import RunSession
from data_pipeline_tests.io_manager.runs import rows
from data_pipeline_tests.memo.settings import table_store
from data_pipeline_tests.memo.stages import asset, constant
from data_pipeline_tests.memo.world import World
from data_pipeline_tests.patience import PATIENCE

A_LOCK_IS_WAITED_FOR = """
SELECT count(*) > 0 FROM pg_locks l JOIN pg_database d ON d.oid = l.database
WHERE NOT granted AND locktype = 'advisory' AND datname = current_database()
"""
SESSIONS = """
SELECT application_name FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid()
"""


def test_a_run_says_for_which_run_it_waits(world: World, pipeline_database: sa.Engine) -> None:
    instance = load_configuration().instance("full")
    other = RunSession(database(instance), instance, "the other run", logging.Logger("silent"))
    other.take([StageTable("s", "a")])
    other.register({})
    thread = threading.Thread(target=world.made, args=[lambda: [constant("s/a", 1)]])
    thread.start()
    while rows(pipeline_database, A_LOCK_IS_WAITED_FOR) == [(False,)]:
        assert thread.is_alive()
        time.sleep(0.01)
    assert not world.calls
    other.close()
    thread.join()
    assert world.last.success
    assert re.search(
        rf"Waiting for run the other run of {getpass.getuser()} on "
        rf"{re.escape(socket.gethostname())} \(since \d{{4}}-.+\), which is at work on stage `s` "
        "of instance `full`: `s/a`",
        world.last.log,
    )


def test_a_run_says_who_has_locked_the_catalog(
    world: World, pipeline_database: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert world.made(lambda: [constant("s/a", 1)]).success
    monkeypatch.setattr(catalog_state, "MILLISECONDS_BETWEEN_MESSAGES", 50)
    asked = threading.Event()

    def ask(*given: Any) -> list[str]:
        found = holders_of_all(*given)
        asked.set()
        return found

    monkeypatch.setattr(catalog_state, "holders_of_all", ask)
    with pipeline_database.connect() as holder:
        holder.exec_driver_sql("SET application_name = 'a restore'")
        holder.exec_driver_sql("LOCK TABLE full_catalog.tables")
        thread = threading.Thread(target=world.made, args=[lambda: [constant("s/a", 1)]])
        thread.start()
        assert asked.wait(PATIENCE)
    thread.join()
    assert world.last.success
    assert re.search(r"Waiting for session \d+ \(`a restore`, .+ of `full`", world.last.log)


def test_a_session_that_has_ended_is_not_replaced(pipeline_database: sa.Engine) -> None:
    """A new one would not have the locks."""
    instance = load_configuration().instance("full")
    session = RunSession(database(instance), instance, "this run", logging.Logger("silent"))
    session.take([StageTable("s", "a")])
    session.register({})
    rows(pipeline_database, "SELECT pg_terminate_backend(backend_pid) FROM full_catalog.runs")
    for _ in range(2):
        with pytest.raises(DatabaseError, match="Lost the connection"), session.begin() as own:
            own.exec_driver_sql("SELECT 1")
    session.close()


def test_sessions_carry_run_and_step(world: World, pipeline_database: sa.Engine) -> None:
    names: set[str] = set()

    def read(a: sa.Table) -> Any:
        names.update(name for (name,) in rows(pipeline_database, SESSIONS))
        return sa.select(a)

    run = world.made(lambda: [constant("s/a", 1), asset("t/b", read, "s/a")])
    assert run.success
    name = f"data_pipeline {run.run_id[:8]}"
    assert {name, f"{name} t__b"} <= names


def test_a_commit_that_waited_too_long_names_the_reader_and_is_made_up_for_by_the_next_run(
    world: World,
    pipeline_database: sa.Engine,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert world.made(lambda: [constant("s/a", 1)]).success
    table_store("commit_wait_seconds: 0.3", tmp_path, monkeypatch)

    def things() -> Any:
        return [constant("s/a", 2), constant("t/b", 2)]

    with pipeline_database.connect() as reader:
        reader.execute(sa.text("SET application_name = 'my report'"))
        pid = reader.scalar(sa.text("SELECT pg_backend_pid() FROM full_s.a"))
        run = world.made(things)
        assert rows(pipeline_database, "SELECT v FROM full_s.a") == [(1,)]
    assert not run.success
    assert "Stage `s` of instance `full` could not be committed and has its earlier" in run.failure
    assert re.search(
        r"For 0\.3 seconds \(`table_store\.commit_wait_seconds`\) it had to wait: "
        rf"session {pid} \(`my report`, database user \w+, idle in transaction since \d{{4}}-",
        run.failure,
    )
    assert rows(pipeline_database, "SELECT v FROM full_s__staging.a") == [(2,)]
    # Other stages have committed.
    assert rows(pipeline_database, "SELECT v FROM full_t.b") == [(2,)]
    assert world.made(things).success
    assert not world.calls
    assert rows(pipeline_database, "SELECT v FROM full_s.a") == [(2,)]
