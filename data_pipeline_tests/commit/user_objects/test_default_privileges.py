"""A new table has what the default privileges of its schema say; a replaced one what it had."""

from data_pipeline_tests.commit.user_objects.conftest import Stage

_GRANTS = """
SELECT relname, a.privilege_type, a.is_grantable
FROM pg_class c, LATERAL aclexplode(relacl) a
WHERE relnamespace IN ('s'::regnamespace, 'users'::regnamespace) AND a.grantee <> relowner
ORDER BY 1, 2
"""


def test_a_new_table_has_those_of_its_schema(stage: Stage, role: str) -> None:
    stage.execute(
        f'ALTER DEFAULT PRIVILEGES IN SCHEMA s GRANT SELECT ON TABLES TO "{role}" '
        "WITH GRANT OPTION",
        f'ALTER DEFAULT PRIVILEGES GRANT INSERT ON TABLES TO "{role}"',
        "ALTER DEFAULT PRIVILEGES IN SCHEMA users GRANT DELETE ON TABLES TO PUBLIC",
    )
    stage.commit("CREATE TABLE t (a int)")
    assert stage.rows(_GRANTS) == [("t", "INSERT", False), ("t", "SELECT", True)]


def test_what_is_replaced_keeps_what_it_had(stage: Stage, role: str) -> None:
    stage.create("CREATE TABLE t (a int)", "CREATE VIEW users.v AS SELECT a FROM t")
    stage.execute(
        "CREATE FUNCTION users.f(s.t) RETURNS int LANGUAGE sql RETURN 1",
        "REVOKE ALL ON FUNCTION users.f FROM PUBLIC",
        f'ALTER DEFAULT PRIVILEGES IN SCHEMA s, users GRANT SELECT ON TABLES TO "{role}"',
        f'ALTER DEFAULT PRIVILEGES GRANT INSERT ON TABLES TO "{role}"',
        f'ALTER DEFAULT PRIVILEGES GRANT EXECUTE ON FUNCTIONS TO "{role}"',
    )
    stage.commit("CREATE TABLE t (a int)")
    assert stage.rows(_GRANTS) == []
    [(functions,)] = stage.rows("SELECT proacl::text FROM pg_proc WHERE proname = 'f'")
    assert role not in functions
    assert "{=" not in functions
    assert ",=" not in functions


def test_a_view_whose_owner_has_default_privileges_keeps_his_rights(
    stage: Stage, role: str
) -> None:
    stage.execute(f'ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO "{role}"')
    stage.create("CREATE TABLE t (a int)", "CREATE VIEW users.v AS SELECT a FROM t")
    stage.execute(f'ALTER VIEW users.v OWNER TO "{role}"')
    stage.commit("CREATE TABLE t (a int)")
    stage.execute("SELECT * FROM users.v", as_role=role)
