"""Who may do what with a table, and to whom it belongs, stays as it was."""

from collections.abc import Callable

from data_pipeline_tests.commit.user_objects.conftest import Stage

_ACCESS = """
SELECT relname, relowner::regrole::text, relacl::text,
       ARRAY(SELECT attacl::text FROM pg_attribute
             WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped ORDER BY attname)
FROM pg_class c WHERE relnamespace = 's'::regnamespace AND relkind IN ('r', 'v') ORDER BY 1
"""


def test_grants_on_tables_and_columns_survive(stage: Stage, new_role: Callable[[], str]) -> None:
    one, two = new_role(), new_role()
    stage.create(
        "CREATE TABLE t (a int, b text)",
        "CREATE TABLE u (c int)",
        f'GRANT SELECT, INSERT ON t TO "{one}"',
        f'GRANT UPDATE ON t TO "{one}" WITH GRANT OPTION',
        f'GRANT SELECT ON u TO PUBLIC, "{two}"',
        f'GRANT SELECT (b), UPDATE (b), INSERT (a) ON t TO "{two}"',
    )
    before = stage.rows(_ACCESS)
    assert sum(acl is not None for *_, acl, _ in before) == 2
    stage.commit("CREATE TABLE t (b text, a int)", "CREATE TABLE u (c int)")
    assert stage.rows(_ACCESS) == before


def test_the_owner_stays_even_one_that_took_privileges_from_himself(
    stage: Stage, role: str
) -> None:
    stage.create(
        "CREATE TABLE t (a int)",
        f'ALTER TABLE t OWNER TO "{role}"',
        f'REVOKE DELETE, TRUNCATE ON t FROM "{role}"',
    )
    before = stage.rows(_ACCESS)
    stage.commit("CREATE TABLE t (a int)")
    assert stage.rows(_ACCESS) == before


def test_what_was_granted_on_a_column_that_is_gone_is_left_out(stage: Stage, role: str) -> None:
    stage.create(
        "CREATE TABLE t (a int, b int)",
        f'GRANT SELECT (a, b) ON t TO "{role}"',
        "COMMENT ON COLUMN t.b IS 'gone soon'",
        "ALTER TABLE t ALTER COLUMN b SET STATISTICS 7",
    )
    stage.commit("CREATE TABLE t (a int)")
    [(_, _, _, columns)] = stage.rows(_ACCESS)
    assert len(columns) == 1
    assert "=r/" in columns[0]


def test_grants_go_along_when_a_table_becomes_a_view_and_back(stage: Stage, role: str) -> None:
    stage.execute("CREATE TABLE users.source AS SELECT 1 AS a")
    stage.create(
        "CREATE TABLE t (a int)",
        f'GRANT SELECT ON t TO "{role}"',
        f'GRANT UPDATE (a) ON t TO "{role}"',
        "COMMENT ON TABLE t IS 'it''s 100 %'",
    )
    before = stage.rows(_ACCESS)
    comment = "SELECT obj_description('s.t'::regclass)"
    stage.commit("CREATE VIEW t AS SELECT * FROM users.source")
    assert stage.rows(_ACCESS) == before
    assert stage.rows(comment) == [("it's 100 %",)]
    stage.commit("CREATE TABLE t (a int)")
    assert stage.rows(_ACCESS) == before
    assert stage.rows(comment) == [("it's 100 %",)]


def test_what_a_table_brings_along_gives_way(stage: Stage, role: str) -> None:
    stage.create("CREATE TABLE t (a int)", "COMMENT ON COLUMN t.a IS 'wanted'")
    before = stage.rows(_ACCESS)
    stage.commit(
        "CREATE TABLE t (a int)",
        f'GRANT SELECT ON t TO "{role}"',
        f'GRANT UPDATE (a) ON t TO "{role}"',
        "COMMENT ON TABLE t IS 'unwanted'",
        "COMMENT ON COLUMN t.a IS 'unwanted'",
        "ALTER TABLE t SET (fillfactor = 50)",
        "ALTER TABLE t ENABLE ROW LEVEL SECURITY",
    )
    [(name, owner, acl, columns)] = stage.rows(_ACCESS)
    assert role not in f"{acl}{columns}"
    assert (name, owner) == before[0][:2]
    state = """
        SELECT obj_description(oid), col_description(oid, 1), reloptions, relrowsecurity
        FROM pg_class WHERE oid = 's.t'::regclass
    """
    assert stage.rows(state) == [(None, "wanted", None, False)]
