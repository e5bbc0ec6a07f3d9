"""The reader role reads what is committed, new or replaced, and nothing else."""

import pytest

from data_pipeline.errors import ConfigurationError
from data_pipeline.tables.reader_role import let_read, reader_statements
from data_pipeline_tests.attached.conftest import Stage

_PRIVILEGES = """
SELECT c.relname, a.privilege_type FROM pg_class c, LATERAL aclexplode(relacl) a
WHERE relnamespace = ANY (ARRAY['s', 's__staging', 'aside', 'users']::regnamespace[])
  AND a.grantee <> relowner ORDER BY 1, 2
"""


def commit(stage: Stage, role: str, *statements: str) -> None:
    stage.commit(*statements)
    with stage.engine.begin() as connection:
        let_read(connection, role, ["s", "not there yet"])


def test_it_reads_new_and_replaced_tables_and_views(stage: Stage, role: str) -> None:
    stage.execute("REVOKE USAGE ON SCHEMA s FROM PUBLIC", "CREATE TABLE users.mine (a int)")
    commit(stage, role, "CREATE TABLE t AS SELECT 1 AS a")
    commit(stage, role, "CREATE VIEW v AS SELECT 1 AS a", "CREATE TABLE t AS SELECT 2 AS a")
    stage.execute("CREATE TABLE s__staging.u (a int)", "CREATE TABLE aside.w (a int)")
    stage.execute("TABLE s.t; TABLE s.v", as_role=role)
    assert stage.rows(_PRIVILEGES) == [("t", "SELECT"), ("v", "SELECT")]


def test_nothing_is_done_where_it_can_read_already(stage: Stage, role: str) -> None:
    commit(stage, role, "CREATE TABLE t (a int)")
    stage.commit("CREATE TABLE t (a int)")
    with stage.engine.begin() as connection:
        assert reader_statements(connection, role, ["s"]) == []


def test_a_missing_role_is_named(stage: Stage) -> None:
    with (
        stage.engine.begin() as connection,
        pytest.raises(
            ConfigurationError,
            match=r"table_store\.reader_role names the role `no one`.*CREATE ROLE \"no one\"",
        ),
    ):
        reader_statements(connection, "no one", ["s"])
