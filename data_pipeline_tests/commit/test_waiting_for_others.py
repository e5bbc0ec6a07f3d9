"""Who is waited for is named, also by a role from which the server hides the rest."""

import logging
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pandas as pd
import pytest
import sqlalchemy as sa

from data_pipeline.database import lock_waiting
from data_pipeline.database.connection import Database, database
from data_pipeline.database.identifiers import RelationName, StageTable
from data_pipeline.embedded import EmbeddedServer
from data_pipeline.errors import DatabaseError
from data_pipeline.instances import load_configuration
from data_pipeline.runs.run_session import RunSession
from data_pipeline.store.staging import relation_of
from data_pipeline_tests.drop.commands import refused
from data_pipeline_tests.io_manager.runs import execute, rows, write
from data_pipeline_tests.memo.settings import table_store
from data_pipeline_tests.patience import PATIENCE
from data_pipeline_tests.plain_roles import PlainRoles
from data_pipeline_tests.runs.test_two_runs import Listening

LOCK = "SELECT pg_advisory_lock(hashtextextended('{}', 0))"


@pytest.fixture
def impatient(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commits give up soon."""
    table_store("commit_wait_seconds: 0.3", tmp_path, monkeypatch)


def replace(value: int, log: logging.Handler | None = None) -> None:
    logger = logging.Logger("run", logging.INFO)
    if log is not None:
        logger.addHandler(log)
    write("t", pd.DataFrame({"a": [value]}), logger, run_id=f"run {value}")


@contextmanager
def session_of(roles: PlainRoles, role: str, *statements: str) -> Iterator[str]:
    """Executes statements in a transaction of a role; gives how that session is named."""
    engine = roles.engine(role)
    with engine.connect() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)
        pid = connection.exec_driver_sql("SELECT pg_backend_pid()").scalar()
        yield f"session {pid} (`report of {role}`, database user {role}"


def heard(act: Callable[[Listening], None], until: Callable[[str], None]) -> list[str]:
    """Does something that waits; gives what it says, and goes on when `until` has seen that."""
    log, failures = Listening(), []

    def acting() -> None:
        try:
            act(log)
        except Exception as error:
            failures.append(error)

    thread = threading.Thread(target=acting)
    thread.start()
    assert log.heard.wait(PATIENCE)
    until(log.messages[0])
    thread.join(PATIENCE)
    assert not thread.is_alive()
    assert not failures
    return log.messages


@pytest.mark.usefixtures("impatient")
def test_a_commit_names_a_reader_of_another_role(roles: PlainRoles) -> None:
    replace(1)
    reader = roles.new("reader")
    execute(
        roles.engine(roles.owner),
        f"GRANT USAGE ON SCHEMA full_s TO {reader}; GRANT SELECT ON full_s.t TO {reader}",
    )
    with (
        session_of(roles, reader, "SELECT * FROM full_s.t") as name,
        pytest.raises(DatabaseError, match="it had to wait") as caught,
    ):
        replace(2)
    assert f"it had to wait: {name})\n" in str(caught.value)
    replace(2)
    assert rows(roles.admin, "SELECT a FROM full_s.t") == [(2,)]


@pytest.mark.usefixtures("impatient")
def test_all_readers_are_named_and_of_those_that_are_visible_what_they_do(
    roles: PlainRoles,
) -> None:
    replace(1)
    reader = roles.new("reader")
    execute(
        roles.engine(roles.owner),
        f"GRANT USAGE ON SCHEMA full_s TO {reader}; GRANT SELECT ON full_s.t TO {reader}",
    )
    query = "SELECT * FROM full_s.t"
    with (
        session_of(roles, reader, query) as first,
        session_of(roles, reader, query) as second,
        session_of(roles, roles.owner, query) as own,
        pytest.raises(DatabaseError, match="it had to wait") as caught,
    ):
        replace(2)
    text = str(caught.value)
    assert f"{first})" in text
    assert f"{second})" in text
    assert re.search(
        rf"{re.escape(own)}, idle in transaction since \d{{4}}-.+: SELECT pg_backend_pid\(\)\)",
        text,
    )


@pytest.mark.usefixtures("impatient")
def test_a_commit_names_who_keeps_others_from_committing(roles: PlainRoles) -> None:
    replace(1)
    stranger = roles.new("stranger")
    with (
        session_of(roles, stranger, LOCK.format("data_pipeline:commit:full")) as name,
        pytest.raises(DatabaseError) as caught,
    ):
        replace(2)
    assert f"it had to wait: {name}), which commits as well" in str(caught.value)


@pytest.mark.usefixtures("impatient")
def test_what_was_left_for_inspection_is_dropped_after_those_who_are_named(
    roles: PlainRoles,
) -> None:
    replace(1)
    reader = roles.new("reader")
    owner = roles.engine(roles.owner)
    instance = load_configuration().instance("full")
    staged = relation_of(instance, StageTable("s", "t"))
    execute(
        owner,
        f"CREATE TABLE {staged.quoted} (a int); GRANT SELECT ON {staged.quoted} TO {reader}; "
        f"GRANT USAGE ON SCHEMA {staged.schema} TO {reader}",
    )
    with (
        session_of(roles, reader, f"SELECT * FROM {staged.quoted}") as name,
        pytest.raises(DatabaseError, match="left for inspection") as caught,
    ):
        replace(2)
    assert f"could not be dropped: {name}). End these sessions" in str(caught.value)


@pytest.mark.parametrize(
    ("lock", "what"),
    [
        ("stage:full_s", "which is at work on stage `s` of instance `full`"),
        ("table:full_s.t", "which is at work on stage `s` of instance `full`: `s/t`"),
        ("full_s.t", "which is building full_s.t"),
    ],
)
def test_a_run_names_the_session_of_another_role_that_holds_a_lock(
    roles: PlainRoles, lock: str, what: str
) -> None:
    replace(1)
    stranger = roles.new("stranger")
    with ExitStack() as stack:
        name = stack.enter_context(
            session_of(roles, stranger, LOCK.format(f"data_pipeline:{lock}"))
        )

        def end(message: str) -> None:
            assert message == f"Waiting for {name}), {what}"
            stack.close()

        heard(lambda log: replace(2, log), end)
    assert rows(roles.admin, "SELECT a FROM full_s.t") == [(2,)]


def test_a_run_names_the_session_of_another_roles_run(roles: PlainRoles) -> None:
    replace(1)
    member = roles.new("member")
    execute(roles.admin, f"GRANT {roles.owner} TO {member}")
    instance = load_configuration().instance("full")
    theirs = Database(sa.make_url(roles.url(member)))
    other = RunSession(theirs, instance, "their run", logging.Logger("silent"))
    other.take([StageTable("s", "t")])
    query = "SELECT backend_pid FROM full_catalog.runs WHERE run_id = 'their run'"
    [(pid,)] = rows(roles.admin, query)

    def end(message: str) -> None:
        assert message.startswith("Waiting for run their run of ")
        assert f", session {pid}, `data_pipeline`, database user {member}), which is" in message
        other.close()

    heard(lambda log: replace(2, log), end)


def test_who_builds_a_table_is_named_anew_when_it_is_another(
    roles: PlainRoles, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock_waiting, "MILLISECONDS_BETWEEN_MESSAGES", 20)
    stranger = roles.new("stranger")
    instance = load_configuration().instance("full")
    lock = LOCK.format("data_pipeline:full_s.t")
    log = Listening()
    logger = logging.Logger("run", logging.INFO)
    logger.addHandler(log)

    def build() -> None:
        with lock_waiting.building(database(instance), RelationName("full_s", "t"), logger):
            built.set()

    built = threading.Event()
    with session_of(roles, stranger, lock) as first:
        thread = threading.Thread(target=build)
        thread.start()
        assert log.heard.wait(PATIENCE)
        assert not built.is_set()
    thread.join(PATIENCE)
    assert built.is_set()
    assert set(log.messages) == {f"Waiting for {first}), which is building full_s.t"}
    with database(instance).session() as connection:
        assert connection.scalar(sa.text("SHOW lock_timeout")) == "0"


def test_several_holders_of_a_lock_are_all_named(roles: PlainRoles) -> None:
    stranger = roles.new("stranger")
    shared = "SELECT pg_advisory_lock_shared(hashtextextended('data_pipeline:full_s.t', 0))"
    with (
        session_of(roles, stranger, shared) as first,
        session_of(roles, stranger, shared) as second,
        database(load_configuration().instance("full")).begin() as connection,
    ):
        found = [
            lock_waiting.described(item)
            for item in lock_waiting.holders_of_lock(connection, "data_pipeline:full_s.t")
        ]
        assert sorted(found) == sorted([f"{first})", f"{second})"])


@pytest.mark.usefixtures("impatient")
def test_dropping_names_a_reader_of_another_role(roles: PlainRoles) -> None:
    replace(1)
    reader = roles.new("reader")
    execute(
        roles.engine(roles.owner),
        f"GRANT USAGE ON SCHEMA full_s TO {reader}; GRANT SELECT ON full_s.t TO {reader}",
    )
    with session_of(roles, reader, "SELECT * FROM full_s.t") as name:
        text = refused("full", "--yes")
    assert f"others have been reading it for 0.3 seconds (commit_wait_seconds): {name})" in text


def test_a_session_of_another_role_that_names_itself_nothing_has_its_process_and_user(
    roles: PlainRoles,
) -> None:
    stranger = roles.new("stranger")
    statements = ["SET application_name = ''", LOCK.format("data_pipeline:full_s.t")]
    with (
        session_of(roles, stranger, *statements) as name,
        database(load_configuration().instance("full")).begin() as connection,
    ):
        [item] = lock_waiting.holders_of_lock(connection, "data_pipeline:full_s.t")
        pid = name.split()[1]
        expected = f"session {pid} (`without a name`, database user {stranger})"
        assert lock_waiting.described(item) == expected


@pytest.fixture(scope="module")
def preparing_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sa.URL]:
    """A server on which transactions can be prepared."""
    server = EmbeddedServer(tmp_path_factory.mktemp("home"))
    server.start()
    server.stop()
    with (server.data / "postgresql.conf").open("a") as file:
        file.write("max_prepared_transactions = 5\n")
    yield server.start().set(drivername="postgresql+psycopg2")
    server.stop()


@pytest.mark.parametrize(
    ("statement", "waits"),
    [
        ("SELECT * FROM full_s.t", "it had to wait: {}"),
        (
            "SELECT pg_advisory_xact_lock(hashtextextended('data_pipeline:commit:full', 0))",
            "it had to wait: {}, which commits as well",
        ),
    ],
)
@pytest.mark.usefixtures("impatient")
def test_a_prepared_transaction_is_named(
    preparing_server: sa.URL,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    statement: str,
    waits: str,
) -> None:
    url = preparing_server.set(drivername="postgresql").render_as_string(hide_password=False)
    monkeypatch.setenv("DATA_PIPELINE_DATABASE_URL", url)
    monkeypatch.setenv("DATA_PIPELINE_HOME", str(tmp_path / "home"))
    replace(1)
    engine = sa.create_engine(preparing_server, poolclass=sa.NullPool)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as user:
        user.exec_driver_sql(f"BEGIN; {statement}; PREPARE TRANSACTION 'left over'")
        try:
            with pytest.raises(DatabaseError) as caught:
                replace(2)
        finally:
            user.exec_driver_sql("ROLLBACK PREPARED 'left over'")
    named = rf"prepared transaction `left over` \(database user {preparing_server.username}, since"
    assert re.search(waits.format(rf"{named} \d{{4}}-.+; COMMIT PREPARED .+\)"), str(caught.value))
    replace(2)
