"""What others do while a commit is under way neither gets lost nor is taken for a misfit."""

import pytest
import sqlalchemy as sa

from data_pipeline.commit import user_objects
from data_pipeline.commit.user_objects import UserObjects
from data_pipeline.database.connection import run
from data_pipeline.database.dependencies import ChangedError
from data_pipeline.database.identifiers import RelationName
from data_pipeline_tests.commit.user_objects.conftest import LOG, Stage, drop_objects

T = RelationName("s", "t")


def begun(connection: sa.Connection) -> UserObjects:
    run(connection, "SET LOCAL search_path = ''")
    return user_objects.read(connection, [T])


def test_two_reads_differ_if_something_changed_in_between(stage: Stage, role: str) -> None:
    stage.create("CREATE TABLE t (a int)", "CREATE VIEW users.v AS SELECT a FROM t")
    with stage.engine.begin() as connection:
        before = begun(connection)
        assert begun(connection) == before
        stage.execute(f'GRANT SELECT ON users.v TO "{role}"')
        assert begun(connection) != before


def test_a_view_built_on_a_view_in_the_meantime_is_not_dropped(stage: Stage) -> None:
    stage.create("CREATE TABLE t (a int)", "CREATE VIEW users.v AS SELECT a FROM t")
    with stage.engine.connect() as connection:
        hanging = begun(connection)
        stage.execute("CREATE VIEW users.late AS SELECT a FROM users.v")
        with pytest.raises(
            sa.exc.InternalError, match=r"view users\.late depends on view users\.v"
        ):
            drop_objects(connection, hanging)
    assert stage.rows("SELECT a FROM users.late") == []


def test_a_view_built_on_a_table_in_the_meantime_is_seen(stage: Stage) -> None:
    stage.create("CREATE TABLE t (a int)", "CREATE VIEW users.v AS SELECT a FROM t")
    with stage.engine.begin() as connection, stage.engine.connect() as outside:
        hanging = begun(connection)
        drop_objects(connection, hanging)
        user_objects.check_unchanged(outside, hanging)
        stage.execute("CREATE VIEW users.late AS SELECT a FROM s.t")
        with pytest.raises(ChangedError):
            user_objects.check_unchanged(outside, hanging)


@pytest.mark.parametrize(
    "late",
    [
        "CREATE VIEW users.late AS SELECT a FROM s.t",
        "CREATE VIEW users.late AS SELECT a FROM users.v",
        "CREATE FUNCTION users.late(s.t) RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "CREATE INDEX late ON s.t (a)",
        "CREATE STATISTICS users.late ON a, b FROM s.t",
    ],
)
def test_what_is_attached_in_the_meantime_is_seen(stage: Stage, late: str) -> None:
    stage.create("CREATE TABLE t (a int, b int)", "CREATE VIEW users.v AS SELECT a FROM t")
    with stage.engine.begin() as connection:
        hanging = begun(connection)
        stage.execute(late)
        with stage.engine.connect() as outside, pytest.raises(ChangedError):
            user_objects.check_unchanged(outside, hanging)


def test_what_the_commit_takes_down_itself_is_no_change(stage: Stage) -> None:
    stage.create(
        "CREATE TABLE t (a int PRIMARY KEY, b text CHECK (b <> ''))",
        "CREATE INDEX i ON t (b)",
        "CREATE VIEW shown AS SELECT a FROM t",
        "CREATE VIEW users.v AS SELECT a FROM shown",
    )
    with stage.engine.begin() as connection, stage.engine.connect() as outside:
        run(connection, "SET LOCAL search_path = ''")
        hanging = user_objects.read(connection, [T, RelationName("s", "shown")])
        drop_objects(connection, hanging)
        run(connection, "DROP VIEW s.shown; DROP TABLE s.t")
        user_objects.check_unchanged(outside, hanging)


def test_a_lock_that_is_not_free_is_no_misfit(stage: Stage) -> None:
    stage.create("CREATE TABLE t (a int)", "CREATE VIEW users.v AS SELECT a FROM t")
    stage.execute("CREATE TABLE users.other (a int)")
    other = {RelationName("users", "v"): "SELECT a FROM users.other"}
    with stage.engine.connect() as busy, stage.engine.connect() as connection:
        run(busy, "LOCK TABLE users.other IN ACCESS EXCLUSIVE MODE")
        hanging = begun(connection)
        drop_objects(connection, hanging)
        run(connection, "SET LOCAL lock_timeout = 5")
        with pytest.raises(sa.exc.OperationalError, match="lock timeout"):
            user_objects.restore_objects(connection, hanging, "drop", LOG, other)
    assert stage.rows("SELECT a FROM users.v") == []
