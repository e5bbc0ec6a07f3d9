"""ADBC sessions are kept for the next caller, as long as they work."""

import pytest
import sqlalchemy as sa
from adbc_driver_manager import ProgrammingError

from data_pipeline.database.adbc_sessions import commit_adbc
from data_pipeline.database.connection import Database


def pid(database: Database) -> int:
    with database.adbc() as connection, connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        [(found,)] = cursor.fetchall()
        return int(found)


@pytest.fixture
def database(database_url: sa.URL) -> Database:
    made = Database(database_url)
    with made.begin():
        pass
    if not made.keeps_sessions:
        pytest.skip("before PostgreSQL 15 a session ends with its use")
    return made


def test_the_next_caller_has_the_same_session(database: Database) -> None:
    assert pid(database) == pid(database)


def test_callers_at_once_have_one_each(database: Database) -> None:
    with database.adbc() as first, first.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        [(found,)] = cursor.fetchall()
        assert pid(database) != found


def test_a_session_that_has_ended_is_replaced(database: Database, superuser: sa.Engine) -> None:
    ended = pid(database)
    with superuser.begin() as connection:
        connection.execute(sa.text("SELECT pg_terminate_backend(:pid, 10000)"), {"pid": ended})
    assert pid(database) != ended


def fail(database: Database) -> None:
    with database.adbc() as connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE never (a int)")
        cursor.execute("SELECT FROM nowhere")


def test_what_fails_leaves_nothing_behind(database: Database) -> None:
    with pytest.raises(ProgrammingError):
        fail(database)
    with database.adbc() as connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE made (a int)")
        commit_adbc(connection)
    with database.begin() as session:
        names = session.execute(sa.text("SELECT relname FROM pg_class WHERE relkind = 'r'"))
        assert {"made"} == {name for (name,) in names} & {"made", "never"}


def test_an_idle_session_is_in_no_transaction(database: Database) -> None:
    idle = pid(database)
    query = sa.text("SELECT state FROM pg_stat_activity WHERE pid = :pid")
    with database.begin() as session:
        assert session.scalar(query, {"pid": idle}) == "idle"
