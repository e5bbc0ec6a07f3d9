"""What users told PostgreSQL about the values of a table stays told, and how to store them."""

from data_pipeline_tests.commit.user_objects.conftest import Stage

_TARGETS = """
SELECT attname, attstattarget,
       ARRAY(SELECT o FROM unnest(attoptions) o WHERE o LIKE 'n_distinct%') AS options,
       attstorage, attcompression
FROM pg_attribute
WHERE attrelid = 's.t'::regclass AND attnum > 0 ORDER BY 1
"""
_OBJECTS = """
SELECT pg_get_statisticsobjdef(oid), stxowner::regrole::text, stxstattarget,
       obj_description(oid, 'pg_statistic_ext')
FROM pg_statistic_ext ORDER BY 1
"""


def test_targets_and_storage_of_columns_survive(stage: Stage) -> None:
    stage.create(
        "CREATE TABLE t (a int, b int, c text, d jsonb)",
        "ALTER TABLE t ALTER COLUMN a SET STATISTICS 500, ALTER COLUMN b SET STATISTICS 0",
        "ALTER TABLE t ALTER COLUMN b SET (n_distinct = 5, n_distinct_inherited = -0.5)",
        "ALTER TABLE t ALTER COLUMN c SET STORAGE EXTERNAL, ALTER COLUMN d SET COMPRESSION pglz",
    )
    before = stage.rows(_TARGETS)
    stage.commit("CREATE TABLE t (c text, d jsonb, b int, a int)")
    assert stage.rows(_TARGETS) == before


def test_options_that_the_server_keeps_for_itself_are_not_carried_over(stage: Stage) -> None:
    stage.create("CREATE TABLE t (a int, b int)")
    stage.execute(
        "ALTER TABLE s.t ALTER COLUMN b SET (n_distinct = 5)",
        "UPDATE pg_attribute SET attoptions = attoptions || '{of_server=7}'::text[] "
        "WHERE attrelid = 's.t'::regclass AND attname = 'b'",
        "UPDATE pg_attribute SET attoptions = '{of_server=7}' "
        "WHERE attrelid = 's.t'::regclass AND attname = 'a'",
    )
    assert stage.commit("CREATE TABLE t (a int, b int)") == []
    options = "SELECT o FROM pg_attribute, unnest(attoptions) o WHERE attrelid = 's.t'::regclass"
    found = {option for (option,) in stage.rows(options)}
    assert "n_distinct=5" in found
    assert "of_server=7" not in found


def test_extended_statistics_survive(stage: Stage, role: str) -> None:
    stage.create(
        "CREATE TABLE t (a int, b int)",
        'CREATE STATISTICS users."of t" (dependencies, mcv) ON a, b FROM t',
        "CREATE STATISTICS s.expression ON (a * b) FROM t",
        "ALTER STATISTICS s.expression SET STATISTICS 77",
        "COMMENT ON STATISTICS s.expression IS 'product'",
        f'ALTER STATISTICS users."of t" OWNER TO "{role}"',
    )
    before = stage.rows(_OBJECTS)
    for put_aside in (False, True):
        stage.commit("CREATE TABLE t (a int, b int)", put_aside=put_aside)
        assert stage.rows(_OBJECTS) == before


def test_statistics_of_a_column_that_is_gone_are_left_out(stage: Stage) -> None:
    stage.create("CREATE TABLE t (a int, b int)", "CREATE STATISTICS s.x ON a, b FROM t")
    assert stage.commit("CREATE TABLE t (a int)") == []
    assert stage.rows(_OBJECTS) == []
