"""Materialized views come back with their storage, and filled from the new tables."""

from data_pipeline_tests.commit.user_objects.conftest import Stage

_STATE = """
SELECT c.relname, c.relowner::regrole::text, c.reloptions, c.relacl::text, pg_get_viewdef(c.oid),
       relispopulated, obj_description(c.oid), a.attstattarget,
       ARRAY(SELECT o FROM unnest(a.attoptions) o WHERE o LIKE 'n_distinct%'),
       col_description(c.oid, 1),
       ARRAY(SELECT pg_get_indexdef(indexrelid) || coalesce(obj_description(indexrelid), '-')
             FROM pg_index WHERE indrelid = c.oid ORDER BY 1)
FROM pg_class c JOIN pg_attribute a ON attrelid = c.oid AND attnum = 1
WHERE relkind = 'm' ORDER BY 1
"""


def test_materialized_views_survive(stage: Stage, role: str) -> None:
    stage.create(
        "CREATE TABLE t (a int)",
        "CREATE VIEW users.v AS SELECT a FROM t",
        "CREATE MATERIALIZED VIEW users.m WITH (fillfactor = 60) AS "
        "SELECT a, a + 1 AS b FROM users.v",
        "CREATE MATERIALIZED VIEW users.n AS SELECT sum(b) AS b FROM users.m",
        "CREATE MATERIALIZED VIEW users.empty AS SELECT a FROM t WITH NO DATA",
        "CREATE UNIQUE INDEX by_a ON users.m (a)",
        "CREATE INDEX by_expression ON users.m ((a * 2)) WHERE a > 0",
        "COMMENT ON INDEX users.by_a IS 'an index'",
        "COMMENT ON MATERIALIZED VIEW users.m IS 'filled'",
        "COMMENT ON COLUMN users.m.a IS 'its column'",
        "ALTER MATERIALIZED VIEW users.m ALTER COLUMN a SET STATISTICS 300",
        "ALTER MATERIALIZED VIEW users.m ALTER COLUMN a SET (n_distinct = 5)",
        f'GRANT SELECT ON users.m TO "{role}"',
        f'GRANT SELECT ON users.v TO "{role}"',
        f'ALTER MATERIALIZED VIEW users.n OWNER TO "{role}"',
    )
    before = stage.rows(_STATE)
    assert len(before) == 3
    stage.commit("CREATE TABLE t AS SELECT a FROM generate_series(1, 3) a")
    assert stage.rows(_STATE) == before
    assert stage.rows("SELECT n.b, count(*) FROM users.n, users.m GROUP BY 1") == [(9, 3)]


def test_it_is_filled_with_the_rights_of_its_owner(stage: Stage, role: str) -> None:
    stage.create("CREATE TABLE t (a int)", f'GRANT SELECT ON t TO "{role}"')
    stage.execute(
        "CREATE FUNCTION users.who() RETURNS name LANGUAGE plpgsql AS 'BEGIN RETURN "
        "current_user; END'"
    )
    stage.execute(
        "CREATE MATERIALIZED VIEW users.m AS SELECT users.who() AS who FROM s.t", as_role=role
    )
    stage.commit("CREATE TABLE t AS SELECT 1 AS a")
    assert stage.rows("SELECT who FROM users.m") == [(role,)]
