"""Counters tell whether a table has new rows, and are never silently equal for other rows."""

from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from data_pipeline.errors import ConfigurationError
from data_pipeline.instances import DatabaseUrl
from data_pipeline.sources.postgres import PostgresSource
from data_pipeline_tests.io_manager.runs import by_hand, execute
from data_pipeline_tests.sources.shops import text


class Counted:
    """The table `t` of a source, and what its fingerprint was last."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        by_hand(engine, "CREATE TABLE t (id int, at timestamp)", "INSERT INTO t VALUES (1, now())")
        self._source = PostgresSource(DatabaseUrl(text(engine)), "public", "the test")
        [self._table] = self._source.catalog().tables.values()
        self._last = self.ask()

    def ask(self, updated_at: str | None = None) -> Any:
        return self._source.fingerprint(self._table, updated_at)

    def changes_with(self, *statements: str) -> bool:
        """Whether the fingerprint is another one after statements."""
        by_hand(self._engine, *statements)
        before, self._last = self._last, self.ask()
        return self._last != before


@pytest.fixture
def counted(configured: sa.Engine, source: sa.Engine) -> Counted:
    return Counted(source)


def test_it_changes_with_whatever_changes_rows(counted: Counted) -> None:
    assert not counted.changes_with("SELECT * FROM t")
    for statement in (
        "INSERT INTO t VALUES (2)",
        "UPDATE t SET id = 3 WHERE id = 2",
        "DELETE FROM t WHERE id = 3",
        "TRUNCATE t",
        "DROP TABLE t; CREATE TABLE t (id int, at timestamp)",
    ):
        assert counted.changes_with(statement), statement
    assert not counted.changes_with("CREATE TABLE another (id int)")


def test_it_changes_with_columns_that_have_other_values_under_the_same_names(
    counted: Counted,
) -> None:
    for statement in (
        "ALTER TABLE t DROP COLUMN at; ALTER TABLE t ADD COLUMN at timestamp",
        "ALTER TABLE t DROP COLUMN at; ALTER TABLE t ADD COLUMN at timestamp",
        "ALTER TABLE t RENAME id TO x; ALTER TABLE t RENAME at TO id; ALTER TABLE t RENAME x TO at",
    ):
        assert counted.changes_with(statement), statement
    assert not counted.changes_with("ALTER TABLE t ADD COLUMN more int")


def test_it_changes_with_rows_of_partitions_and_heirs(counted: Counted) -> None:
    counted.changes_with(
        "DROP TABLE t",
        "CREATE TABLE t (id int, at timestamp) PARTITION BY RANGE (id)",
        "CREATE TABLE low PARTITION OF t FOR VALUES FROM (0) TO (9) PARTITION BY LIST (id)",
        "CREATE TABLE lowest PARTITION OF low DEFAULT",
    )
    for statement in (
        "INSERT INTO t VALUES (2)",
        "UPDATE lowest SET at = now()",
        "CREATE TABLE high PARTITION OF t FOR VALUES FROM (9) TO (19)",
        "ALTER TABLE t DETACH PARTITION high",
        "DROP TABLE t CASCADE; CREATE TABLE t (id int); CREATE TABLE h () INHERITS (t)",
        "INSERT INTO h VALUES (1)",
    ):
        assert counted.changes_with(statement), statement
    assert not counted.changes_with("INSERT INTO high VALUES (10)")


def test_counters_that_begin_anew_are_another_identity(
    counted: Counted, superuser_url: sa.URL, source: sa.Engine
) -> None:
    admin = sa.create_engine(superuser_url.set(database=source.url.database), poolclass=sa.NullPool)
    # After a crash the statistics are empty, and the background writer's begin anew.
    execute(admin, "SELECT pg_stat_reset_shared('bgwriter')")
    assert counted.changes_with("SELECT 1")
    execute(admin, "SELECT pg_stat_reset_single_table_counters('t'::regclass)")
    assert counted.changes_with("INSERT INTO t VALUES (2)")
    execute(admin, f'ALTER DATABASE "{source.url.database}" SET track_counts = off')
    from data_pipeline.database.connection import close_databases

    close_databases(source.url.database or "")
    with pytest.raises(ConfigurationError) as refused:
        counted.ask()
    assert "since track_counts is off" in str(refused.value)
    assert "updated_at={'t': 'at'}" in str(refused.value)


def test_a_named_column_tells_instead(counted: Counted, source: sa.Engine, tmp_path: Path) -> None:
    first = counted.ask("at")
    execute(source, "UPDATE t SET id = 5")
    assert counted.ask("at") == first
    execute(source, "UPDATE t SET at = now()")
    second = counted.ask("at")
    execute(source, "INSERT INTO t VALUES (2)")
    assert len({tuple(first), tuple(second), tuple(counted.ask("at"))}) == 3
