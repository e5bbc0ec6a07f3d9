"""What users change at what they built on a table, at the very moment at which it is replaced."""

import logging
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import sqlalchemy as sa

from data_pipeline.tables import attempts
from data_pipeline_tests.caching.settings import table_store
from data_pipeline_tests.io_manager.runs import execute, rows, write

LOG = logging.getLogger("commits")

PARTS = """
CREATE SCHEMA reports;
CREATE TABLE reports.other AS SELECT 1 AS a;
CREATE FUNCTION reports.noted() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE TRIGGER noted BEFORE INSERT ON full_s.t FOR EACH ROW EXECUTE FUNCTION reports.noted();
CREATE POLICY p ON full_s.t USING (a > 0);
CREATE INDEX i ON full_s.t (a);
CREATE STATISTICS reports.st ON a, (a + 1) FROM full_s.t;
ALTER TABLE full_s.t ADD CONSTRAINT c CHECK (a > 0) NOT VALID;
"""
VIEWS = """
CREATE FUNCTION reports.f() RETURNS bigint BEGIN ATOMIC SELECT max(a) FROM full_s.t; END;
CREATE VIEW reports.across AS SELECT t.a FROM full_s.t JOIN reports.other USING (a);
CREATE VIEW reports.v AS SELECT a FROM full_s.t;
"""

READABLE = "SELECT has_table_privilege('pg_monitor', '{}', 'SELECT')"

# What a user does, and a query that finds it done, with what it gives.
CHANGES = {
    "replaces a table behind a view": (
        "DROP VIEW reports.across; DROP TABLE reports.other; CREATE TABLE reports.other (a int); "
        "CREATE VIEW reports.across AS SELECT t.a FROM full_s.t JOIN reports.other USING (a)",
        "SELECT count(*) FROM reports.across",
        0,
    ),
    "drops a view": ("DROP VIEW reports.v", "SELECT to_regclass('reports.v')", None),
    "replaces a view": (
        "CREATE OR REPLACE VIEW reports.v AS SELECT a + 40 AS a FROM full_s.t",
        "SELECT a FROM reports.v",
        42,
    ),
    "builds a view on a view": (
        "CREATE VIEW reports.late AS SELECT a FROM reports.v",
        "SELECT a FROM reports.late",
        2,
    ),
    "builds a view on the table": (
        "CREATE VIEW reports.late AS SELECT a FROM full_s.t",
        "SELECT a FROM reports.late",
        2,
    ),
    "grants the table": (
        "GRANT SELECT ON full_s.t TO pg_monitor", READABLE.format("full_s.t"), True
    ),
    "grants a view": (
        "GRANT SELECT ON reports.v TO pg_monitor", READABLE.format("reports.v"), True
    ),
    "grants a column": (
        "GRANT SELECT (a) ON full_s.t TO pg_monitor",
        "SELECT has_column_privilege('pg_monitor', 'full_s.t', 'a', 'SELECT')",
        True,
    ),
    "comments": (
        "COMMENT ON TABLE full_s.t IS 'new'", "SELECT obj_description('full_s.t'::regclass)", "new"
    ),
    "adapts a policy": (
        "ALTER POLICY p ON full_s.t USING (a > 1)",
        "SELECT pg_get_expr(polqual, polrelid) FROM pg_policy",
        "(a > 1)",
    ),
    "disables a trigger": (
        "ALTER TABLE full_s.t DISABLE TRIGGER noted",
        "SELECT tgenabled::text FROM pg_trigger WHERE tgname = 'noted'",
        "D",
    ),
    "replaces a function": (
        "CREATE OR REPLACE FUNCTION reports.f() RETURNS bigint "
        "BEGIN ATOMIC SELECT 40 + max(a) FROM full_s.t; END",
        "SELECT reports.f()",
        42,
    ),
    "drops a function": ("DROP FUNCTION reports.f()", "SELECT to_regproc('reports.f')", None),
    "adds an index": (
        "CREATE INDEX late ON full_s.t (a)", "SELECT to_regclass('full_s.late') IS NOT NULL", True
    ),
}  # fmt: skip

# A change for which nobody waits.
FREE_CHANGES = {
    "sets default privileges": (
        "ALTER DEFAULT PRIVILEGES IN SCHEMA reports GRANT EXECUTE ON FUNCTIONS TO pg_monitor",
        "SELECT count(*) FROM pg_proc, aclexplode(proacl) WHERE proname = 'f' "
        "AND grantee = 'pg_monitor'::regrole",
        0,
    ),
}

# Changes that views on the table keep out: reading their definitions locks it.
CHANGES_OF_PARTS = {
    "grants the table": CHANGES["grants the table"],
    "adapts a policy": CHANGES["adapts a policy"],
    "disables a trigger": CHANGES["disables a trigger"],
    "renames an index": (
        "ALTER INDEX full_s.i RENAME TO better", "SELECT to_regclass('full_s.better')::text",
        "full_s.better",
    ),
    "sets an option of an index": (
        "ALTER INDEX full_s.i SET (fillfactor = 50)",
        "SELECT array_to_string(reloptions, ' ') FROM pg_class WHERE relname = 'i'",
        "fillfactor=50",
    ),
    "comments on an index": (
        "COMMENT ON INDEX full_s.i IS 'new'",
        "SELECT obj_description('full_s.i'::regclass)",
        "new",
    ),
    "comments on a policy": (
        "COMMENT ON POLICY p ON full_s.t IS 'new'",
        "SELECT obj_description(oid, 'pg_policy') FROM pg_policy",
        "new",
    ),
    "comments on a column": (
        "COMMENT ON COLUMN full_s.t.a IS 'new'",
        "SELECT col_description('full_s.t'::regclass, 1)",
        "new",
    ),
    "validates a constraint": (
        "ALTER TABLE full_s.t VALIDATE CONSTRAINT c",
        "SELECT convalidated FROM pg_constraint WHERE conname = 'c'",
        True,
    ),
    "sets the target of statistics": (
        "ALTER STATISTICS reports.st SET STATISTICS 7",
        "SELECT stxstattarget FROM pg_statistic_ext",
        7,
    ),
    "renames a schema": (
        "ALTER SCHEMA reports RENAME TO papers",
        "SELECT tgfoid::regproc::text FROM pg_trigger WHERE tgname = 'noted'",
        "papers.noted",
    ),
}  # fmt: skip


def all_of(changes: dict[str, tuple[str, str, Any]]) -> pytest.MarkDecorator:
    cases = [pytest.param(*case, id=name) for name, case in changes.items()]
    return pytest.mark.parametrize(("change", "query", "expected"), cases)


@pytest.fixture
def users(pipeline_database: sa.Engine) -> sa.Engine:
    """Connections to a database in which users have built something on a table."""
    write("t", pd.DataFrame({"a": [1]}))
    execute(pipeline_database, PARTS)
    return pipeline_database


def replace() -> None:
    write("t", pd.DataFrame({"a": [2]}), LOG, run_id="second")


@pytest.fixture
def long_attempts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every attempt of a commit waits long enough for the test to see it waiting."""
    monkeypatch.setattr(attempts, "_QUICK_TRIES", 0)
    monkeypatch.setattr(attempts, "_SLOW_MS", (800,))


@all_of(CHANGES)
@pytest.mark.usefixtures("long_attempts")
def test_what_was_changed_while_the_commit_waited_for_it_stays(
    users: sa.Engine, change: str, query: str, expected: Any
) -> None:
    execute(users, VIEWS)
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
        wait_until_somebody_waits_for(users, pid)
        user.commit()
        run.join()
    assert not failures
    assert rows(users, "SELECT a FROM full_s.t") == [(2,)]
    assert rows(users, query) == [(expected,)]


def replace_while(users: sa.Engine, moment: str, change: str) -> bool:
    """Replaces the table; gives whether the change succeeded before a statement of the commit."""
    todo, done = [change], []

    def act(_c: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if moment in statement and "lock_timeout" not in statement and todo:
            try:
                execute(users, "SET LOCAL lock_timeout = 200", todo.pop())
                done.append(change)
            except sa.exc.OperationalError:  # what was read is locked for some changes
                pass

    sa.event.listen(sa.Engine, "before_cursor_execute", act)
    try:
        replace()
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", act)
    assert not todo
    assert rows(users, "SELECT a FROM full_s.t") == [(2,)]
    return bool(done)


@all_of(CHANGES | FREE_CHANGES)
@pytest.mark.parametrize("moment", ["DROP VIEW", "SAVEPOINT moved"])
def test_what_was_changed_after_the_commit_has_read_it_stays(
    users: sa.Engine, moment: str, change: str, query: str, expected: Any
) -> None:
    execute(users, VIEWS)
    if replace_while(users, moment, change):
        assert rows(users, query) == [(expected,)]


@all_of(CHANGES_OF_PARTS)
def test_what_was_changed_at_a_table_without_views_stays(
    users: sa.Engine, change: str, query: str, expected: Any
) -> None:
    assert replace_while(users, "DROP POLICY p", change)
    assert rows(users, query) == [(expected,)]


def wait_until_somebody_waits_for(engine: sa.Engine, pid: int) -> None:
    query = f"SELECT count(*) FROM pg_stat_activity WHERE {pid} = ANY (pg_blocking_pids(pid))"
    for _ in patience():
        if rows(engine, query)[0][0]:
            return


def patience(seconds: float = 30) -> Iterator[None]:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        yield
        time.sleep(0.01)
    raise AssertionError("the commit does not wait")


@pytest.mark.parametrize("policy", ["fail", "drop"])
def test_a_role_that_is_renamed_meanwhile_costs_no_view(
    users: sa.Engine, policy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = (f"{word}_{users.url.database}" for word in ("before", "after"))
    table_store(f"on_broken_view: {policy}", tmp_path, monkeypatch)
    execute(users, VIEWS, f"CREATE ROLE {first}", f"GRANT SELECT ON reports.v TO {first}")
    try:
        assert replace_while(users, "SAVEPOINT moved", f"ALTER ROLE {first} RENAME TO {second}")
        assert rows(users, f"SELECT has_table_privilege('{second}', 'reports.v', 'SELECT')") == [
            (True,)
        ]
    finally:
        execute(users, f"DROP OWNED BY {second}", f"DROP ROLE {second}")


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


def test_who_locks_a_catalog_does_not_wait_for_ever(users: sa.Engine) -> None:
    """`VACUUM FULL pg_class` waits for the commit, and whoever looks into it waits behind it."""
    locked: list[bool] = []

    def lock() -> None:
        execute(users, "SET LOCAL lock_timeout = '20s'; LOCK TABLE pg_class")
        locked.append(True)

    locking = threading.Thread(target=lock)

    def act(_c: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if "WITH published" in statement and not locking.ident:
            locking.start()
            time.sleep(0.5)  # nobody can look whether it waits

    sa.event.listen(sa.Engine, "before_cursor_execute", act)
    try:
        replace()
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", act)
    locking.join()
    assert locked
