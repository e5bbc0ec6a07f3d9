"""What does not fit a new table, or cannot be carried over, is named, and treated as configured."""

import pytest

from data_pipeline.errors import CannotCarryError
from data_pipeline_tests.commit.user_objects.conftest import Stage

_VIEWS = """
SELECT relname FROM pg_class WHERE relnamespace = 'users'::regnamespace AND relkind IN ('v', 'm')
ORDER BY 1
"""


def test_a_missing_column_is_named_with_the_view(stage: Stage) -> None:
    stage.create(
        "CREATE TABLE t (a int, c int)",
        "CREATE VIEW users.inner_view AS SELECT c FROM t",
        "CREATE VIEW users.outer_view AS SELECT c * 2 AS c2 FROM users.inner_view",
    )
    with pytest.raises(CannotCarryError) as error:
        stage.commit("CREATE TABLE t (a int)")
    assert (error.value.subject, error.value.column) == ("view users.inner_view", "s.t.c")
    assert "View users.inner_view does not fit the new columns: column s.t.c is gone." in str(
        error.value
    )
    assert "on_broken_view: drop" in str(error.value)
    assert stage.rows("SELECT c2, c FROM users.outer_view, s.t") == []


def test_a_column_of_another_type_is_named_with_the_view(stage: Stage) -> None:
    stage.create("CREATE TABLE t (a int)", "CREATE VIEW users.v AS SELECT a + 1 AS b FROM t")
    with pytest.raises(
        CannotCarryError,
        match=r"View users\.v .* column s\.t\.a is of type text, no longer integer",
    ):
        stage.commit("CREATE TABLE t (a text)")


def test_a_view_that_still_works_with_another_type_stays(stage: Stage) -> None:
    stage.create("CREATE TABLE t (a int)", "CREATE VIEW users.v AS SELECT a + 1 AS b FROM t")
    assert stage.commit("CREATE TABLE t (a bigint)") == []
    assert stage.rows("SELECT pg_typeof(b) FROM s.t LEFT JOIN users.v ON true") == []


def test_a_view_of_a_function_names_the_column_of_the_table(stage: Stage) -> None:
    stage.create(
        "CREATE TABLE t (a int, c int)",
        "CREATE FUNCTION users.f() RETURNS int LANGUAGE sql RETURN (SELECT max(c) FROM t)",
        "CREATE VIEW users.v AS SELECT users.f()",
    )
    with pytest.raises(CannotCarryError, match=r"Function users\.f\(\) .* column s\.t\.c is gone"):
        stage.commit("CREATE TABLE t (a int)")


def test_what_names_columns_by_their_places_never_shows_others(stage: Stage) -> None:
    stage.create(
        "CREATE TABLE t (a int, c int)",
        "CREATE FUNCTION users.f() RETURNS SETOF t LANGUAGE sql AS 'SELECT * FROM s.t'",
        "CREATE FUNCTION users.body() RETURNS SETOF t LANGUAGE sql BEGIN ATOMIC TABLE t; END",
        'CREATE VIEW users.renamed AS SELECT k FROM t AS "}t" (k)',
        "CREATE VIEW users.joined AS SELECT k FROM (t CROSS JOIN generate_series(1, 2)) j(k)",
        "CREATE VIEW users.of_rows AS SELECT a FROM users.f()",
        "CREATE VIEW users.fine AS SELECT a, f.c FROM t CROSS JOIN generate_series(1, 2) f(c)",
    )
    assert stage.commit("CREATE TABLE t (a int, c int, d int)") == []
    with pytest.raises(CannotCarryError, match=r"names columns of s\.t by their places"):
        stage.commit("CREATE TABLE t (c int, a int, d int)")
    stage.execute("DROP TABLE s__staging.t")
    broken = stage.commit("CREATE TABLE t (c int, a int, d int)", policy="drop")
    assert sorted(item.subject for item in broken) == [
        "function users.body()",
        "view users.joined",
        "view users.of_rows",
        "view users.renamed",
    ]


def test_the_policy_drop_leaves_out_what_does_not_fit_and_what_is_built_on_it(
    stage: Stage,
) -> None:
    stage.create(
        "CREATE TABLE t (a int, c int)",
        "CREATE VIEW users.broken AS SELECT c FROM t",
        "CREATE MATERIALIZED VIEW users.on_broken AS SELECT c * 2 AS c2 FROM users.broken",
        "CREATE INDEX ON users.on_broken (c2)",
        "CREATE VIEW users.fine AS SELECT a FROM t",
        "COMMENT ON VIEW users.fine IS 'fine'",
        "CREATE RULE r AS ON DELETE TO users.fine DO INSTEAD SELECT c FROM users.broken",
    )
    broken = stage.commit("CREATE TABLE t AS SELECT 1 AS a", policy="drop")
    assert [item.subject for item in broken] == [
        "view users.broken",
        "materialized view users.on_broken",
        "rule r of view users.fine",
    ]
    assert "column s.t.c is gone" in broken[0].reason
    assert "is built on view users.broken, which is left out" in broken[1].reason
    assert stage.rows(_VIEWS) == [("fine",)]
    assert stage.rows("SELECT a, obj_description('users.fine'::regclass) FROM users.fine") == [
        (1, "fine")
    ]


def test_a_temporary_view_of_another_session_is_named(stage: Stage) -> None:
    stage.create("CREATE TABLE t (a int)")
    with stage.engine.connect() as other:
        other.exec_driver_sql("CREATE TEMP VIEW v AS SELECT a FROM s.t")
        other.commit()
        with pytest.raises(CannotCarryError, match=r"View pg_temp_\d+\.v cannot be put up again"):
            stage.commit("CREATE TABLE t (a int)")
        assert other.exec_driver_sql("SELECT * FROM v").all() == []


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        (
            "CREATE TABLE users.x (a int CONSTRAINT fk REFERENCES s.t)",
            r"Constraint fk on table users\.x \(role \w+\) depends on column a of.*Drop it",
        ),
        (
            "CREATE TABLE users.x (c s.t)",
            r"Column c of table users\.x \(role \w+\) depends on type s\.t",
        ),
        (
            "CREATE TABLE users.x (c s.t[])",
            r"Column c of table users\.x \(role \w+\) depends on type s\.t\[\]",
        ),
        (
            "CREATE TABLE users.x () INHERITS (s.t)",
            r"Table users\.x \(role \w+\) depends on table s\.t",
        ),
        (
            "CREATE TYPE users.x AS (c s.t)",
            r"Column c of composite type users\.x \(role \w+\) depends on",
        ),
        ("CREATE DOMAIN users.x AS s.t", r"Type users\.x depends on type s\.t"),
    ],
)
@pytest.mark.parametrize("policy", ["fail", "drop"])
def test_what_cannot_be_carried_over_stops_the_commit(
    stage: Stage, statement: str, message: str, policy: str
) -> None:
    stage.create("CREATE TABLE t (a int PRIMARY KEY)", statement)
    with pytest.raises(CannotCarryError, match=message):
        stage.commit("CREATE TABLE t (a int PRIMARY KEY)", policy=policy)
