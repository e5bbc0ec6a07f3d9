"""A commit waits for those who would find its tables empty, and for nobody else."""

import logging
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import sqlalchemy as sa

from data_pipeline.commit.commit import commit_stages
from data_pipeline.database.connection import database
from data_pipeline.database.identifiers import StageTable
from data_pipeline.instances import load_configuration
from data_pipeline.results.origin import Origin
from data_pipeline.results.writing import Store
from data_pipeline.runs.run_session import RunSession
from data_pipeline.store.table_properties import Properties, Table
from data_pipeline_tests.io_manager.runs import execute, rows, wait_until, write
from data_pipeline_tests.memo.settings import table_store
from data_pipeline_tests.patience import PATIENCE
from data_pipeline_tests.plain_roles import PlainRoles
from data_pipeline_tests.runs.test_two_runs import Listening

REPEATABLE = "BEGIN ISOLATION LEVEL REPEATABLE READ"
SERIALIZABLE = "BEGIN ISOLATION LEVEL SERIALIZABLE"
SNAPSHOT = "SELECT count(*) FROM pg_class"
CURSOR = "DECLARE c CURSOR FOR SELECT * FROM generate_series(1, 100000)"
GATE = "SELECT pg_advisory_xact_lock(7)"


OWNERS = ["a plain owner", "an owner who sees all statistics"]
with_both_owners = pytest.mark.parametrize("reader", OWNERS, indirect=True)


@pytest.fixture(params=[OWNERS[0], pytest.param(OWNERS[1], marks=pytest.mark.soak)])
def reader(request: pytest.FixtureRequest, roles: PlainRoles) -> str:
    """A role that may read the table `s/t`, beside two kinds of roles that own it."""
    if request.param != OWNERS[0]:
        execute(roles.admin, f"GRANT pg_monitor TO {roles.owner}")
    write("t", pd.DataFrame({"a": [1]}))
    name = roles.new("reader")
    execute(
        roles.engine(roles.owner),
        f"GRANT USAGE ON SCHEMA full_s TO {name}; GRANT SELECT ON full_s.t TO {name}",
    )
    return name


@pytest.fixture
def sees_all(roles: PlainRoles, reader: str) -> bool:
    query = f"SELECT pg_has_role('{roles.owner}', 'pg_read_all_stats', 'USAGE')"
    return bool(rows(roles.admin, query)[0][0])


@pytest.fixture
def impatient(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commits do not wait for long."""
    table_store("snapshot_wait_seconds: 0.3", tmp_path, monkeypatch)


@contextmanager
def session(roles: PlainRoles, role: str, *statements: str) -> Iterator[sa.Connection]:
    """Opens a session that has executed statements, each as it stands."""
    with roles.engine(role).connect() as connection:
        driver: Any = connection.connection.driver_connection
        driver.autocommit = True
        for statement in statements:
            connection.exec_driver_sql(statement)
        yield connection


class Writing:
    """A run that has staged `s/t`, and commits it when it is told to."""

    def __init__(self, value: Any = (2,), name: str = "t") -> None:
        self._log = Listening()
        logger = logging.Logger("run", logging.INFO)
        logger.addHandler(self._log)
        self._logger = logger
        instance = load_configuration().instance("full")
        self._session = RunSession(database(instance), instance, "a run", logger)
        self._session.take([StageTable("s", "t"), StageTable("s", "u")])
        self._session.register({})
        self._thread: threading.Thread | None = None
        self.stage(value, name)

    def stage(self, value: Any, name: str = "t") -> None:
        instance = self._session.instance
        made = value if isinstance(value, dict | Table) else pd.DataFrame({"a": value})
        store = Store(instance, self._logger)
        store.put(StageTable("s", name), made, Properties(), Origin("a run"))

    def commit(self) -> None:
        """Commits in a thread of its own."""
        arguments = [self._session, ["s"], self._logger]
        self._thread = threading.Thread(target=commit_stages, args=arguments)
        self._thread.start()

    def said(self) -> str:
        """Returns what the commit says first, when it does."""
        assert self._log.heard.wait(PATIENCE)
        return self._log.messages[0]

    def ends(self) -> list[str]:
        """Returns what the commit has said of others, when it is done."""
        assert self._thread is not None
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive()
        assert self._log.messages.pop().startswith("Committed stage `s`")
        messages, self._log.messages = self._log.messages, []
        return messages

    def warns(self) -> list[str]:
        """Returns of what the commit has warned: it need not say first that it waits."""
        return [message for message in self.ends() if not message.startswith("Waiting")]

    def close(self) -> None:
        self._session.close()


@pytest.fixture
def writing(reader: str) -> Iterator[Callable[..., Writing]]:
    """Begins runs that write."""
    begun: list[Writing] = []

    def begin(*arguments: Any) -> Writing:
        begun.append(Writing(*arguments))
        return begun[-1]

    yield begin
    for item in begun:
        item.close()


HOLDING = {
    "repeatable read": [REPEATABLE, SNAPSHOT],
    "serializable": [SERIALIZABLE, SNAPSHOT],
    "a cursor": ["BEGIN", CURSOR, "FETCH c"],
}


@with_both_owners
def test_a_commit_waits_for_an_older_snapshot_and_names_who_has_it(
    roles: PlainRoles, reader: str, writing: Callable[..., Writing], sees_all: bool
) -> None:
    for value, (case, statements) in enumerate(HOLDING.items(), start=1):
        with session(roles, reader, *statements) as connection:
            run = writing((value + 1,))
            run.commit()
            said = run.said()
            assert said.startswith("Waiting to commit stage `s`, since some have snapshots th"), (
                case
            )
            assert re.search(rf"session \d+ \(`report of {reader}`, database user {reader}", said)
            assert sees_all == ("idle in transaction since" in said), case
            assert sees_all != ("GRANT pg_read_all_stats" in said), case
            # It has no lock meanwhile: also others read the table.
            assert rows(roles.admin, "SELECT a FROM full_s.t") == [(value,)], case
            if statements[0] != "BEGIN":
                found = connection.exec_driver_sql("SELECT a FROM full_s.t").all()
                assert found == [(value,)], case
            connection.exec_driver_sql("COMMIT")
            assert all(text.startswith("Waiting") for text in run.ends()), case
            run.close()
        assert rows(roles.admin, "SELECT a FROM full_s.t") == [(value + 1,)], case


@pytest.mark.usefixtures("impatient")
def test_who_stays_for_too_long_is_warned_of_and_not_waited_for_again(
    roles: PlainRoles, reader: str, writing: Callable[..., Writing]
) -> None:
    with session(roles, reader, REPEATABLE, SNAPSHOT) as connection:
        run = writing()
        run.commit()
        [warning] = run.warns()
        assert connection.exec_driver_sql("SELECT a FROM full_s.t").all() == []
        connection.exec_driver_sql("ROLLBACK")
        connection.exec_driver_sql(REPEATABLE)
        connection.exec_driver_sql(SNAPSHOT)
        run.stage([3])
        run.commit()
        [_] = run.warns()  # another transaction
        run.stage([4])
        run.commit()
        assert run.ends() == []
    beginning = "Committing stage `s` although some have older snapshots, and now find its tables"
    assert warning.startswith(beginning)
    assert "(`table_store.snapshot_wait_seconds`: 0.3)" in warning
    assert re.search(rf"session \d+ \(`report of {reader}`", warning)
    assert rows(roles.admin, "SELECT a FROM full_s.t") == [(4,)]


@contextmanager
def at_gate(
    roles: PlainRoles, gate: ExitStack, connection: sa.Connection, statement: str = GATE
) -> Iterator[None]:
    """Lets a session execute a statement that lasts until a gate is opened."""
    gate.enter_context(session(roles, roles.owner, "BEGIN", GATE))
    thread = threading.Thread(target=connection.exec_driver_sql, args=[statement])
    thread.start()
    query = "SELECT FROM pg_locks WHERE NOT granted AND locktype = 'advisory' AND objid = 7"
    wait_until(lambda: bool(rows(roles.admin, query)))
    yield
    gate.close()
    thread.join(PATIENCE)


def test_a_snapshot_is_older_than_the_statement_of_its_session(
    roles: PlainRoles, reader: str, writing: Callable[..., Writing]
) -> None:
    with session(roles, reader, REPEATABLE, SNAPSHOT) as connection, ExitStack() as gate:
        run = writing()
        with at_gate(roles, gate, connection):
            run.commit()
            assert f"`report of {reader}`" in run.said()
        connection.exec_driver_sql("COMMIT")
        run.ends()


@with_both_owners
@pytest.mark.usefixtures("impatient")
def test_a_report_is_waited_for_once_at_most(
    roles: PlainRoles, reader: str, writing: Callable[..., Writing], sees_all: bool
) -> None:
    """One statement at READ COMMITTED, which has locked what it reads."""
    with (
        session(roles, reader) as connection,
        ExitStack() as gate,
        at_gate(roles, gate, connection),
    ):
        run = writing()
        run.commit()
        if sees_all:
            assert run.ends() == []
        else:
            assert len(run.warns()) == 1
        run.stage([3])
        run.commit()
        assert run.ends() == []


NOT_IN_THE_WAY = [  # idle in a transaction, a held cursor, a failed transaction, another run
    ["BEGIN", SNAPSHOT],
    ["BEGIN", CURSOR.replace("FOR", "WITH HOLD FOR"), "COMMIT"],
    [REPEATABLE, SNAPSHOT, "ROLLBACK"],
    ["SET application_name = 'data_pipeline 1234'", REPEATABLE, SNAPSHOT],
]


@with_both_owners
def test_nobody_else_is_waited_for(
    roles: PlainRoles, reader: str, writing: Callable[..., Writing]
) -> None:
    with ExitStack() as sessions:
        for statements in NOT_IN_THE_WAY:
            sessions.enter_context(session(roles, reader, *statements))
        run = writing()
        run.commit()
        assert run.ends() == []


def test_a_snapshot_of_another_database_or_of_later_is_not_waited_for(
    roles: PlainRoles, reader: str, writing: Callable[..., Writing]
) -> None:
    elsewhere = sa.create_engine(roles.admin.url.set(database="postgres"), poolclass=sa.NullPool)
    with elsewhere.connect().execution_options(isolation_level="REPEATABLE READ") as other:
        other.exec_driver_sql(SNAPSHOT)
        run = writing()
        with session(roles, reader, REPEATABLE, SNAPSHOT) as connection:
            assert connection.exec_driver_sql("SELECT a FROM full_s.t").all() == [(1,)]
            connection.exec_driver_sql("COMMIT")
            connection.exec_driver_sql(REPEATABLE)
            connection.exec_driver_sql(SNAPSHOT)
            run.commit()
            assert run.ends() == []
            assert connection.exec_driver_sql("SELECT a FROM full_s.t").all() == [(2,)]


def test_a_busy_pool_of_short_statements_holds_nobody_up(
    roles: PlainRoles, reader: str, writing: Callable[..., Writing]
) -> None:
    """Also while a long transaction lets all new snapshots look old."""
    done = threading.Event()

    def work() -> None:
        with session(roles, reader) as connection:
            while not done.is_set():
                connection.exec_driver_sql("SELECT count(*) FROM full_s.t, generate_series(1, 999)")

    pool = [threading.Thread(target=work) for _ in range(3)]
    with session(roles, roles.owner, "BEGIN", "SELECT pg_current_xact_id()"):
        for thread in pool:
            thread.start()
        try:
            run = writing()
            run.commit()
            messages = run.ends()
        finally:
            done.set()
            for thread in pool:
                thread.join(PATIENCE)
    assert not [text for text in messages if text.startswith("Committing")]
    assert rows(roles.admin, "SELECT a FROM full_s.t") == [(2,)]


def test_where_no_rows_take_the_place_of_others_nobody_is_waited_for(
    roles: PlainRoles, reader: str, writing: Callable[..., Writing]
) -> None:
    cases: dict[str, tuple[Any, str]] = {
        "a new table": ([1], "u"),
        "a blob": ({"weight": 1}, "t"),
        "a table without rows": ([], "t"),
    }
    for case, (value, name) in cases.items():
        write("t", pd.DataFrame({"a": [1]}))
        with session(roles, reader, REPEATABLE, SNAPSHOT):
            run = writing(value, name)
            run.commit()
            assert run.ends() == [], case
            run.close()


def test_not_to_wait_can_be_chosen(
    roles: PlainRoles,
    reader: str,
    writing: Callable[..., Writing],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    table_store("snapshot_wait_seconds: 0", tmp_path, monkeypatch)
    with session(roles, reader, REPEATABLE, SNAPSHOT):
        run = writing()
        run.commit()
        assert run.ends() == []


@pytest.mark.usefixtures("reader")
@pytest.mark.parametrize("has_other_columns", [False, True])
def test_who_has_an_older_snapshot_is_not_waited_for_where_rows_are_replaced_in_place(
    roles: PlainRoles, reader: str, writing: Callable[..., Writing], has_other_columns: bool
) -> None:
    def rows_of(*values: int, column: str = "a") -> dict[str, Any] | Any:
        return Table(pd.DataFrame({column: values}), replace="rows")

    first = Writing(rows_of(1, 2))
    first.commit()
    first.ends()
    first.close()
    with session(roles, reader, REPEATABLE, SNAPSHOT) as old:
        new = writing(rows_of(2, 3, column="b" if has_other_columns else "a"))
        new.commit()
        if has_other_columns:
            assert "older than its new tables" in new.said()
            old.exec_driver_sql("COMMIT")
            assert new.ends()
        else:
            assert not [message for message in new.ends() if "Waiting" in message]
            assert old.exec_driver_sql("SELECT a FROM full_s.t ORDER BY a").all() == [(1,), (2,)]


def test_a_table_that_several_runs_have_written_may_be_swapped_back_in(
    pipeline_database: sa.Engine,
) -> None:
    first, second = (pd.DataFrame({"a": values}) for values in ([1, 2], [2, 3]))
    write("t", Table(first, replace="rows"), code_version="1")
    write("t", Table(second, replace="rows"), code_version="2")
    write("t", Table(first, replace="table"), code_version="1")
    assert rows(pipeline_database, "SELECT a FROM full_s.t ORDER BY a") == [(1,), (2,)]


def test_who_sees_rows_of_a_table_that_stays_below_others_is_not_waited_for(
    roles: PlainRoles, reader: str, writing: Callable[..., Writing]
) -> None:
    execute(roles.admin, f"CREATE SCHEMA own AUTHORIZATION {reader}")
    execute(roles.engine(reader), "CREATE VIEW own.v AS SELECT * FROM full_s.t")
    with session(roles, reader, REPEATABLE, SNAPSHOT) as old:
        new = writing((2, 3))
        new.commit()
        assert not [message for message in new.ends() if "older" in message]
        assert old.exec_driver_sql("SELECT a FROM full_s.t").all() == [(1,)]


def test_who_would_find_a_table_empty_that_cannot_change_in_place_is_waited_for(
    roles: PlainRoles, reader: str, writing: Callable[..., Writing]
) -> None:
    for change in ("ADD COLUMN by_hand int", "RENAME COLUMN a TO b", "SET UNLOGGED"):
        execute(roles.engine(roles.owner), f"ALTER TABLE full_s.t {change}")
        with session(roles, reader, REPEATABLE, SNAPSHOT) as old:
            new = writing(Table(pd.DataFrame({"a": [2]}), replace="rows"))
            new.commit()
            said = iter(lambda new=new: new.said(), None)
            assert any("older than its new tables" in message for message in said), change
            old.exec_driver_sql("COMMIT")
            new.ends()
            new.close()
