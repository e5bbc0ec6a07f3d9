"""SQL functions and procedures that depend on a table, and what is built on them, come back."""

import pytest

from data_pipeline.errors import CannotCarryError
from data_pipeline_tests.commit.user_objects.conftest import Stage

_FUNCTIONS = """
SELECT p.oid::regprocedure::text, pg_get_functiondef(p.oid), proowner::regrole::text,
       ARRAY(SELECT a::text FROM aclexplode(proacl) a ORDER BY 1),
       obj_description(p.oid, 'pg_proc')
FROM pg_proc p WHERE pronamespace = 'users'::regnamespace AND prokind <> 'a' ORDER BY 1
"""


def test_functions_survive_with_all_that_belongs_to_them(stage: Stage, role: str) -> None:
    stage.create(
        "CREATE TABLE t (a int, b text)",
        "CREATE FUNCTION users.body(i int DEFAULT 3) RETURNS bigint LANGUAGE sql STABLE "
        "BEGIN ATOMIC SELECT count(*) FROM t WHERE a < i; END",
        "CREATE FUNCTION users.row_in(r s.t) RETURNS int LANGUAGE sql AS 'SELECT r.a'",
        "CREATE FUNCTION users.rows_in(VARIADIC r s.t[]) RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "CREATE FUNCTION users.rows_out() RETURNS SETOF s.t LANGUAGE sql AS "
        "'SELECT * FROM s.t -- 100 %'",
        "CREATE FUNCTION users.unqualified() RETURNS SETOF s.t LANGUAGE sql AS "
        "'SELECT * FROM t' SET search_path = s",
        "CREATE PROCEDURE users.fill(n int) LANGUAGE sql "
        "BEGIN ATOMIC INSERT INTO t VALUES (n); INSERT INTO t VALUES (n + 1); END",
        "CREATE VIEW users.v AS SELECT a, users.body(a) AS n FROM users.rows_out()",
        "CREATE FUNCTION users.on_view() RETURNS SETOF users.v LANGUAGE sql "
        "BEGIN ATOMIC SELECT * FROM users.v; END",
        "COMMENT ON FUNCTION users.body IS 'it''s a body'",
        f'GRANT EXECUTE ON FUNCTION users.row_in TO "{role}" WITH GRANT OPTION',
        "REVOKE ALL ON PROCEDURE users.fill FROM PUBLIC",
        f'ALTER FUNCTION users.rows_in OWNER TO "{role}"',
    )
    before = stage.rows(_FUNCTIONS)
    assert len(before) == 7
    stage.commit("CREATE TABLE t AS SELECT 1 AS a, 'x' AS b")
    assert stage.rows(_FUNCTIONS) == before
    stage.execute("CALL users.fill(2)")
    assert stage.rows("SELECT a, n FROM users.on_view() ORDER BY a") == [(1, 0), (2, 1), (3, 2)]


def test_an_aggregate_of_rows_stops_the_commit(stage: Stage) -> None:
    stage.create(
        "CREATE TABLE t (a int)",
        "CREATE FUNCTION users.add(int, s.t) RETURNS int LANGUAGE sql AS 'SELECT $1'",
        "CREATE AGGREGATE users.total(s.t) (SFUNC = users.add, STYPE = int, INITCOND = '0')",
    )
    with pytest.raises(CannotCarryError, match=r"Aggregate users\.total\(s\.t\) depends on"):
        stage.commit("CREATE TABLE t (a int)")
