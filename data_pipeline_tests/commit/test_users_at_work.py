"""What users change at what they built on a table, at the very moment at which it is replaced."""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import sqlalchemy as sa

from data_pipeline.database import lock_waiting
from data_pipeline_tests.commit.changes_of_users import (
    CHANGES,
    CHANGES_OF_PARTS,
    FREE_CHANGES,
    PARTS,
    VIEWS,
)
from data_pipeline_tests.io_manager.runs import execute, rows, wait_until, write
from data_pipeline_tests.memo.settings import table_store

LOG = logging.getLogger("commits")


BEGINNING = [
    "DROP SCHEMA IF EXISTS reports CASCADE",
    "DROP SCHEMA IF EXISTS papers CASCADE",
    "DROP TABLE IF EXISTS full_s.t CASCADE",
]


def begin_anew(users: sa.Engine) -> None:
    """Let users have built something on a table, and nothing else."""
    execute(users, *BEGINNING)
    write("t", pd.DataFrame({"a": [1]}))
    execute(users, PARTS)


@pytest.fixture
def users(pipeline_database: sa.Engine) -> sa.Engine:
    """Connections to a database in which users have built something on a table."""
    begin_anew(pipeline_database)
    return pipeline_database


def replace() -> None:
    write("t", pd.DataFrame({"a": [2]}), LOG, run_id="second")


@pytest.fixture
def long_attempts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every attempt of a commit waits long enough for the test to see it waiting."""
    monkeypatch.setattr(lock_waiting, "_QUICK_TRIES", 0)
    monkeypatch.setattr(lock_waiting, "_SLOW_MS", (800,))


@pytest.mark.usefixtures("long_attempts")
def test_what_was_changed_while_the_commit_waited_for_it_stays(
    pipeline_database: sa.Engine,
) -> None:
    for name, (change, query, expected) in CHANGES.items():
        begin_anew(pipeline_database)
        execute(pipeline_database, VIEWS)
        assert not replace_behind(pipeline_database, change), name
        assert rows(pipeline_database, "SELECT a FROM full_s.t") == [(2,)], name
        assert rows(pipeline_database, query) == [(expected,)], name


def replace_behind(users: sa.Engine, change: str) -> list[Exception]:
    """Replace the table while a change is not committed; return what fails."""
    failures: list[Exception] = []

    def commit() -> None:
        try:
            replace()
        except Exception as error:
            failures.append(error)

    with users.connect() as user:
        pid = user.exec_driver_sql("SELECT pg_backend_pid()").scalar()
        user.exec_driver_sql(change)
        run = threading.Thread(target=commit)
        run.start()
        waiting = f"SELECT FROM pg_stat_activity WHERE {pid} = ANY (pg_blocking_pids(pid))"
        wait_until(lambda: bool(rows(users, waiting)))
        user.commit()
        run.join()
    return failures


@contextmanager
def before_statements(act: Callable[[str], None]) -> Iterator[None]:
    """Lets something happen before each statement of the commit, which is given."""

    def listener(_c: Any, _cursor: Any, statement: str, *_: Any) -> None:
        act(statement)

    sa.event.listen(sa.Engine, "before_cursor_execute", listener)
    try:
        yield
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", listener)


def replace_while(users: sa.Engine, moment: str, change: str) -> bool:
    """Replaces the table; gives whether the change succeeded before a statement of the commit."""
    todo, done = [change], []

    def act(statement: str) -> None:
        if moment in statement and "lock_timeout" not in statement and todo:
            try:
                execute(users, "SET LOCAL lock_timeout = 200", todo.pop())
                done.append(change)
            except sa.exc.OperationalError:  # what was read is locked for some changes
                pass

    with before_statements(act):
        replace()
    assert not todo, change
    assert rows(users, "SELECT a FROM full_s.t") == [(2,)], change
    return bool(done)


@pytest.mark.parametrize("moment", ["DROP VIEW", "SAVEPOINT moved"])
def test_what_was_changed_after_the_commit_has_read_it_stays(
    pipeline_database: sa.Engine, moment: str
) -> None:
    for name, (change, query, expected) in {**CHANGES, **FREE_CHANGES}.items():
        begin_anew(pipeline_database)
        execute(pipeline_database, VIEWS)
        if replace_while(pipeline_database, moment, change):
            assert rows(pipeline_database, query) == [(expected,)], name


def test_what_was_changed_at_a_table_without_views_stays(pipeline_database: sa.Engine) -> None:
    for name, (change, query, expected) in CHANGES_OF_PARTS.items():
        begin_anew(pipeline_database)
        assert replace_while(pipeline_database, "DROP POLICY p", change), name
        assert rows(pipeline_database, query) == [(expected,)], name


@pytest.mark.parametrize("policy", ["fail", "drop"])
def test_a_role_that_is_renamed_meanwhile_costs_no_view(
    users: sa.Engine,
    superuser: sa.Engine,
    policy: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first, second = (f"{word}_{users.url.database}" for word in ("before", "after"))
    table_store(f"on_broken_view: {policy}", tmp_path, monkeypatch)
    execute(superuser, f"CREATE ROLE {first}")
    execute(users, VIEWS, f"GRANT SELECT ON reports.v TO {first}")
    try:
        assert replace_while(superuser, "SAVEPOINT moved", f"ALTER ROLE {first} RENAME TO {second}")
        assert rows(users, f"SELECT has_table_privilege('{second}', 'reports.v', 'SELECT')") == [
            (True,)
        ]
    finally:
        execute(superuser, f"DROP OWNED BY {second}", f"DROP ROLE {second}")


def test_what_cannot_be_carried_and_is_dropped_meanwhile_is_no_obstacle(users: sa.Engine) -> None:
    execute(users, "CREATE TABLE reports.rows_of (r full_s.t)")
    assert replace_while(users, "AS o(class, oid", "DROP TABLE reports.rows_of")


def test_a_column_granted_while_its_table_is_kept_is_granted(users: sa.Engine) -> None:
    write("t", pd.DataFrame({"a": [5]}), code_version="of the table that is kept")
    # By now it has been put aside.
    change = "GRANT SELECT (a) ON full_s.t TO pg_monitor"
    is_granted = replace_while(users, "WITH published", change)  # by PostgreSQL 18, it waits
    assert rows(users, "SELECT count(*) FROM full_catalog.slots") == [(1,)]
    readable = "SELECT has_column_privilege('pg_monitor', 'full_s.t', 'a', 'SELECT')"
    assert rows(users, readable) == [(is_granted,)]


@pytest.mark.usefixtures("users")
def test_who_locks_a_catalog_does_not_wait_for_ever(superuser: sa.Engine) -> None:
    """`VACUUM FULL pg_class` waits for the commit, and whoever looks into it waits behind it."""
    locked: list[bool] = []

    def lock() -> None:
        execute(superuser, "SET LOCAL lock_timeout = '10min'; LOCK TABLE pg_class")
        locked.append(True)

    locking = threading.Thread(target=lock)

    def act(statement: str) -> None:
        if "WITH published" in statement and not locking.ident:
            locking.start()
            time.sleep(0.5)  # nobody can look whether it waits

    with before_statements(act):
        replace()
    locking.join()
    assert locked


def test_internal_errors_of_catalogs_that_change_are_tried_again(users: sa.Engine) -> None:
    """As of `pg_get_viewdef` when a view that somebody makes anew again and again is gone."""
    execute(
        users,
        "CREATE SEQUENCE reports.tries",
        """
        CREATE FUNCTION reports.meets_users(a bigint) RETURNS boolean LANGUAGE plpgsql AS $$
        BEGIN
            IF nextval('reports.tries') BETWEEN 2 AND 12 THEN
                RAISE 'could not open relation with OID 4711' USING ERRCODE = 'XX000';
            END IF;
            RETURN true;
        END $$
        """,
        "ALTER TABLE full_s.t ADD CHECK (reports.meets_users(a))",
    )
    replace()
    assert rows(users, "SELECT a FROM full_s.t") == [(2,)]
    assert rows(users, "SELECT last_value > 12 FROM reports.tries") == [(True,)]
