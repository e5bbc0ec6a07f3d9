"""Row security of a table, and policies that refer to it, are never lost."""

import pytest
import sqlalchemy as sa

from data_pipeline.database.session_settings import set_up
from data_pipeline.errors import CannotCarryError
from data_pipeline_tests.commit.user_objects.conftest import Stage

_POLICIES = """
SELECT c.relname, c.relrowsecurity, c.relforcerowsecurity, polname, polcmd::text, polpermissive,
       ARRAY(SELECT r::regrole::text FROM unnest(polroles) r ORDER BY 1),
       pg_get_expr(polqual, polrelid), pg_get_expr(polwithcheck, polrelid),
       obj_description(p.oid, 'pg_policy')
FROM pg_class c LEFT JOIN pg_policy p ON polrelid = c.oid
WHERE relnamespace IN ('s'::regnamespace, 'users'::regnamespace) AND relkind = 'r' ORDER BY 1, 4
"""


def test_policies_survive(stage: Stage, role: str) -> None:
    stage.create(
        "CREATE TABLE t (a int, who name)",
        "CREATE TABLE u (a int)",
        "ALTER TABLE t ENABLE ROW LEVEL SECURITY",
        "ALTER TABLE t FORCE ROW LEVEL SECURITY",
        f'CREATE POLICY own ON t FOR SELECT TO "{role}" USING (who = current_user)',
        'CREATE POLICY "a b" ON t AS RESTRICTIVE FOR UPDATE USING (a > 0) WITH CHECK (a > 1)',
        'CREATE POLICY "new" ON t FOR INSERT WITH CHECK (a IN (SELECT a FROM u))',
        "COMMENT ON POLICY own ON t IS 'it''s so'",
    )
    before = stage.rows(_POLICIES)
    stage.commit("CREATE TABLE t (who name, a int)", "CREATE TABLE u (a int)")
    assert stage.rows(_POLICIES) == before
    stage.commit("CREATE TABLE u (a int)")
    assert stage.rows(_POLICIES) == before


def test_rows_stay_hidden(stage: Stage, role: str) -> None:
    stage.create(
        "CREATE TABLE t (a int)",
        "ALTER TABLE t ENABLE ROW LEVEL SECURITY",
        "CREATE POLICY few ON t USING (a < 3)",
        f'GRANT SELECT ON t TO "{role}"',
    )
    stage.commit("CREATE TABLE t AS SELECT a FROM generate_series(1, 9) a")
    stage.execute("DO $$ BEGIN ASSERT (SELECT count(*) FROM s.t) = 2; END $$", as_role=role)


def test_a_materialized_view_is_filled_with_what_its_owner_may_see(stage: Stage, role: str) -> None:
    """Although sessions of the pipeline read all rows of a table or none."""
    stage.create("CREATE TABLE t (a int)", "CREATE TABLE u AS SELECT generate_series(1, 9) AS a")
    stage.execute(
        "ALTER TABLE s.u ENABLE ROW LEVEL SECURITY",
        "CREATE POLICY few ON s.u USING (a < 3)",
        f'GRANT SELECT ON s.t, s.u TO "{role}"',
    )
    stage.execute(
        "CREATE MATERIALIZED VIEW users.m AS SELECT a FROM s.t JOIN s.u USING (a)", as_role=role
    )
    sa.event.listen(stage.engine, "connect", lambda session, _: set_up(session))
    stage.commit("CREATE TABLE t AS SELECT a FROM generate_series(1, 9) a")
    assert stage.rows("SELECT a FROM users.m ORDER BY a") == [(1,), (2,)]


def test_a_materialized_view_never_shows_rows_that_are_hidden_from_its_owner(
    stage: Stage, role: str
) -> None:
    """Nor does what is built on it, although policies are put up after them."""
    stage.create(
        "CREATE TABLE t (a int)",
        "ALTER TABLE t ENABLE ROW LEVEL SECURITY",
        "CREATE POLICY few ON t USING (a < 3)",
        f'GRANT SELECT ON t TO "{role}"',
    )
    stage.execute(
        "CREATE MATERIALIZED VIEW users.m AS SELECT a FROM s.t",
        "CREATE MATERIALIZED VIEW users.n AS SELECT count(*) FROM users.m",
        as_role=role,
    )
    for _ in range(2):
        stage.commit("CREATE TABLE t AS SELECT a FROM generate_series(1, 9) a")
        assert stage.rows("SELECT a, n.count FROM users.m, users.n ORDER BY a") == [(1, 2), (2, 2)]


def test_a_materialized_view_that_is_left_out_keeps_no_policy_from_coming(
    stage: Stage, role: str
) -> None:
    stage.create(
        "CREATE TABLE t (a int, b int)",
        "ALTER TABLE t ENABLE ROW LEVEL SECURITY",
        "CREATE POLICY few ON t USING (a < 3)",
        f'GRANT SELECT ON t TO "{role}"',
    )
    stage.execute("CREATE MATERIALIZED VIEW users.m AS SELECT b FROM s.t", as_role=role)
    before = stage.rows(_POLICIES)
    [broken] = stage.commit("CREATE TABLE t (a int)", policy="drop")
    assert broken.subject == "materialized view users.m"
    assert stage.rows(_POLICIES) == before


def test_a_policy_of_a_users_table_that_reads_ours_survives(stage: Stage) -> None:
    stage.create("CREATE TABLE t (a int)", "CREATE TABLE users.mine (a int)")
    stage.execute(
        "CREATE VIEW users.v AS SELECT a FROM s.t",
        "CREATE POLICY p ON users.mine USING (a IN (SELECT a FROM users.v))",
        "CREATE POLICY q ON users.mine USING (true)",
    )
    before = stage.rows(_POLICIES)
    stage.commit("CREATE TABLE t (a int)")
    assert stage.rows(_POLICIES) == before


def test_a_policy_with_a_function_of_the_row_survives(stage: Stage) -> None:
    stage.create(
        "CREATE TABLE t (a int)",
        "CREATE FUNCTION users.is_open(s.t) RETURNS bool LANGUAGE sql RETURN ($1).a > 0",
        "CREATE POLICY p ON t USING (users.is_open(t))",
    )
    before = stage.rows(_POLICIES)
    stage.commit("CREATE TABLE t (a int)")
    assert stage.rows(_POLICIES) == before


@pytest.mark.parametrize("policy", ["fail", "drop"])
def test_a_policy_that_does_not_fit_is_never_left_out(stage: Stage, policy: str) -> None:
    stage.create("CREATE TABLE t (a int, b int)", "CREATE POLICY p ON t USING (b > 0)")
    before = stage.rows(_POLICIES)
    with pytest.raises(CannotCarryError, match=r"Policy p of table s\.t .* s\.t\.b is gone"):
        stage.commit("CREATE TABLE t (a int)", policy=policy)
    assert stage.rows(_POLICIES) == before


def test_a_table_with_policies_does_not_become_a_view(stage: Stage) -> None:
    stage.create("CREATE TABLE t (a int)", "CREATE POLICY p ON t USING (a > 0)")
    with pytest.raises(CannotCarryError, match=r"Policy p of table s\.t cannot be put on the view"):
        stage.commit("CREATE VIEW t AS SELECT 1 AS a", policy="drop")
