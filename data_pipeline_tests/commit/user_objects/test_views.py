"""Views that users built on tables and on other views come back as they were."""

from data_pipeline.database.identifiers import RelationName
from data_pipeline_tests.commit.user_objects.conftest import Stage

_VIEWS = """
SELECT n.nspname, c.relname, c.relowner::regrole::text, c.reloptions, c.relacl::text,
       pg_get_viewdef(c.oid), obj_description(c.oid),
       ARRAY(SELECT (attname, attacl, col_description(c.oid, attnum),
                     pg_get_expr(adbin, adrelid))::text
             FROM pg_attribute LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
             WHERE attrelid = c.oid AND attnum > 0 ORDER BY attnum),
       ARRAY(SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE tgrelid = c.oid
             ORDER BY tgname),
       ARRAY(SELECT pg_get_ruledef(oid) FROM pg_rewrite WHERE ev_class = c.oid ORDER BY rulename)
FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
WHERE relkind = 'v' AND nspname IN ('users', 's') ORDER BY 1, 2
"""


def test_views_survive_with_all_that_belongs_to_them(stage: Stage, role: str) -> None:
    stage.create(
        "CREATE TABLE t (a int, b text)",
        "CREATE VIEW users.\"V 1\" WITH (security_barrier) AS SELECT a, b || '%;' AS p FROM t",
        'CREATE VIEW users.nested AS SELECT p, a FROM users."V 1" JOIN t USING (a)',
        "CREATE VIEW s.top AS SELECT count(*) AS n FROM users.nested",
        "CREATE VIEW users.narrow AS SELECT a FROM t WHERE a > 0 WITH LOCAL CHECK OPTION",
        'ALTER VIEW users."V 1" ALTER COLUMN a SET DEFAULT 7',
        f'GRANT SELECT (p, a) ON users."V 1" TO "{role}"',
        "GRANT SELECT ON users.nested TO PUBLIC",
        f'GRANT SELECT ON t, users."V 1" TO "{role}"',
        "COMMENT ON VIEW users.nested IS 'of a view'",
        "COMMENT ON COLUMN users.nested.p IS 'its column'",
        f'ALTER VIEW users.nested OWNER TO "{role}"',
        f'ALTER VIEW s.top OWNER TO "{role}"',
    )
    before = stage.rows(_VIEWS)
    stage.commit("CREATE TABLE t AS SELECT 5 AS a, 'x' AS b")
    assert stage.rows(_VIEWS) == before
    assert stage.rows('SELECT a, p, n FROM users."V 1", s.top') == [(5, "x%;", 1)]


def test_views_stay_writable(stage: Stage) -> None:
    stage.create(
        "CREATE TABLE t (a int)",
        "CREATE TABLE users.log (a int)",
        "CREATE VIEW users.v AS SELECT a FROM t",
        "CREATE VIEW users.w AS SELECT a FROM users.v",
    )
    stage.execute(
        "CREATE FUNCTION users.note() RETURNS trigger LANGUAGE plpgsql AS "
        "'BEGIN INSERT INTO users.log VALUES (NEW.a); RETURN NEW; END'",
        "CREATE TRIGGER note INSTEAD OF INSERT ON users.v FOR EACH ROW EXECUTE FUNCTION "
        "users.note()",
        "CREATE RULE gone AS ON DELETE TO users.v DO INSTEAD INSERT INTO users.w VALUES (OLD.a)",
    )
    before = stage.rows(_VIEWS)
    stage.commit("CREATE TABLE t AS SELECT 1 AS a")
    assert stage.rows(_VIEWS) == before
    stage.execute("INSERT INTO users.v VALUES (3)", "DELETE FROM users.v")
    assert stage.rows("SELECT a FROM users.log ORDER BY a") == [(1,), (3,)]


def test_a_view_may_get_another_definition(stage: Stage, role: str) -> None:
    stage.create("CREATE TABLE t (a int)", "CREATE VIEW s.shown AS SELECT * FROM t")
    stage.execute(f'GRANT SELECT ON s.shown TO "{role}"', "CREATE VIEW users.v AS TABLE s.shown")
    shown = RelationName("s", "shown")
    stage.commit(
        "CREATE TABLE t AS SELECT 1 AS a, 2 AS b",
        definitions={shown: "SELECT * FROM s.t"},
    )
    assert stage.rows("SELECT a, b FROM s.shown") == [(1, 2)]
    assert stage.rows(f"SELECT has_table_privilege($r${role}$r$, 's.shown', 'SELECT')") == [(True,)]


def test_a_view_may_be_older_than_what_it_is_built_on(stage: Stage) -> None:
    stage.create("CREATE TABLE t (a int)", "CREATE VIEW users.older AS SELECT a FROM t")
    stage.execute(
        "CREATE VIEW users.newer AS SELECT a FROM s.t",
        "CREATE OR REPLACE VIEW users.older AS SELECT a FROM users.newer",
    )
    before = stage.rows(_VIEWS)
    stage.commit("CREATE TABLE t (a int)")
    assert stage.rows(_VIEWS) == before


def test_a_deep_stack_of_wide_views_survives(stage: Stage) -> None:
    # The number of paths through the columns is 60 to the power of 8.
    columns = ", ".join(f"{number} AS c{number}" for number in range(60))
    stage.create(f"CREATE TABLE t AS SELECT {columns}")
    for number in range(8):
        below = f"users.v{number - 1}" if number else "s.t"
        stage.execute(f"CREATE VIEW users.v{number} AS SELECT * FROM {below}")
    before = stage.rows(_VIEWS)
    stage.commit(f"CREATE TABLE t AS SELECT {columns}")
    assert stage.rows(_VIEWS) == before


def test_what_is_not_built_on_the_tables_is_left_alone(stage: Stage) -> None:
    stage.create(
        "CREATE TABLE t (a int)",
        "CREATE TABLE unchanged (a int)",
        "CREATE VIEW users.v AS SELECT a FROM unchanged",
    )
    oid = "SELECT 'users.v'::regclass::oid"
    before = stage.rows(oid)
    stage.commit("CREATE TABLE t (a int)")
    assert stage.rows(oid) == before
