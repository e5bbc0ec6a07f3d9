"""The reader role reads what is committed, new or replaced, and nothing else."""

import uuid

import pytest

from data_pipeline.commit.reader_role import reader_statements
from data_pipeline.database.connection import run
from data_pipeline.database.identifiers import RelationName, quoted
from data_pipeline.errors import ConfigurationError
from data_pipeline_tests.commit.user_objects.conftest import Stage

_PRIVILEGES = """
SELECT c.relname, a.privilege_type FROM pg_class c, LATERAL aclexplode(relacl) a
WHERE relnamespace = ANY (ARRAY['s', 's__staging', 'aside', 'users']::regnamespace[])
  AND a.grantee <> relowner ORDER BY 1, 2
"""
COMMITTED = [RelationName("s", "t"), RelationName("s", "v"), RelationName("not there yet", "t")]


def commit(stage: Stage, role: str, *statements: str) -> None:
    stage.commit(*statements)
    with stage.engine.begin() as connection:
        for statement in reader_statements(connection, role, COMMITTED):
            run(connection, statement)


def test_it_reads_new_and_replaced_tables_and_views(stage: Stage, role: str) -> None:
    stage.execute("REVOKE USAGE ON SCHEMA s FROM PUBLIC", "CREATE TABLE users.mine (a int)")
    commit(stage, role, "CREATE TABLE t AS SELECT 1 AS a")
    commit(stage, role, "CREATE VIEW v AS SELECT 1 AS a", "CREATE TABLE t AS SELECT 2 AS a")
    stage.execute("CREATE TABLE s__staging.u (a int)", "CREATE TABLE aside.w (a int)")
    stage.execute("TABLE s.t; TABLE s.v", as_role=role)
    assert stage.rows(_PRIVILEGES) == [("t", "SELECT"), ("v", "SELECT")]


def test_tables_of_others_are_left_to_them(stage: Stage, role: str) -> None:
    """Also by a superuser, who could grant on all of them."""
    owner = f"owner_{uuid.uuid4().hex}"
    stage.execute(f"CREATE ROLE {owner}", "CREATE TABLE s.salaries (a int)")
    stage.execute(f"ALTER TABLE s.salaries OWNER TO {owner}")
    try:
        commit(stage, role, "CREATE TABLE t (a int)", "CREATE TABLE v (a int)")
        stage.execute(f"ALTER TABLE s.v OWNER TO {owner}", f"REVOKE ALL ON s.v FROM {quoted(role)}")
        commit(stage, role)
        assert stage.rows(_PRIVILEGES) == [("t", "SELECT"), ("v", "SELECT")]
    finally:
        stage.execute(f"DROP OWNED BY {owner} CASCADE", f"DROP ROLE {owner}")


def test_nothing_is_done_where_it_can_read_already(stage: Stage, role: str) -> None:
    commit(stage, role, "CREATE TABLE t (a int)")
    stage.commit("CREATE TABLE t (a int)")
    with stage.engine.begin() as connection:
        assert reader_statements(connection, role, COMMITTED) == []


def test_a_missing_role_is_named(stage: Stage) -> None:
    with (
        stage.engine.begin() as connection,
        pytest.raises(
            ConfigurationError,
            match=r"table_store\.reader_role names the role `no one`.*CREATE ROLE \"no one\"",
        ),
    ):
        reader_statements(connection, "no one", COMMITTED)
