"""What somebody changes by hand in a committed table is noticed, named and built again."""

from collections.abc import Iterator
from typing import Any

import dagster as dg
import pandas as pd
import pytest
import sqlalchemy as sa

from data_pipeline import View, sql_query, table_properties
from data_pipeline_tests.io_manager.runs import by_hand, execute, rows
from data_pipeline_tests.memo.jobs import called
from data_pipeline_tests.memo.stages import asset
from data_pipeline_tests.memo.world import World

ROWS = "rows of `{t}` were changed by hand"
COLUMNS = "columns of `{t}` were changed by hand"

pytestmark = pytest.mark.usefixtures("counters_may_begin_anew")

# What begins counters anew stands at the end: the next change is found by other means then.
CHANGES = {
    "rows": {
        "update": ("UPDATE {t} SET v = v + 1", ROWS),
        "update of one row": ("UPDATE {t} SET v = 0 WHERE k = 2", ROWS),
        "insert": ("INSERT INTO {t} SELECT 9, 9, 'x'", ROWS),
        "delete": ("DELETE FROM {t} WHERE k = 1", ROWS),
        "as many rows as before": ("DELETE FROM {t}; INSERT INTO {t} SELECT i, 0, '' FROM "
                                   "generate_series(1, 3) i", ROWS),
        "truncate and load": ("BEGIN; TRUNCATE {t}; INSERT INTO {t} SELECT i, 0, '' FROM "
                              "generate_series(1, 3) i; COMMIT", ROWS),
        "rewrite as unlogged": ("BEGIN; UPDATE {t} SET v = 0; ALTER TABLE {t} SET UNLOGGED; COMMIT",
                                ROWS),
        "rewrite": ("ALTER TABLE {t} ALTER v TYPE bigint USING v * 10", ROWS),
        "truncate and load, uncounted": ("BEGIN; TRUNCATE {t}; INSERT INTO {t} SELECT i, 0, '' "
                                         "FROM generate_series(1, 3) i; COMMIT; "
                                         "SELECT pg_stat_reset()", ROWS),
    },
    "relations": {
        "truncate": ("TRUNCATE {t}", "`{t}` was emptied by hand"),
        "load from a copy": ("CREATE TABLE copied AS TABLE {t}; DROP TABLE {t}; CREATE TABLE {t} "
                             "AS TABLE copied; DROP TABLE copied",
                             "`{t}` was dropped and created again"),
        "drop": ("DROP TABLE {t}", "table `{t}` was dropped"),
        "another relation": ("ALTER TABLE {t} SET SCHEMA public; CREATE VIEW {t} AS SELECT 1 AS k, "
                             "2 AS v, 'x' AS w", "another relation has taken the place of `{t}`"),
    },
    "columns": {
        "other type": ("ALTER TABLE {t} ALTER v TYPE numeric", COLUMNS),
        "new column": ("ALTER TABLE {t} ADD COLUMN x int DEFAULT 3", COLUMNS),
        "dropped column": ("ALTER TABLE {t} DROP COLUMN w", COLUMNS),
        "renamed column": ("ALTER TABLE {t} RENAME COLUMN v TO u", COLUMNS),
    },
}  # fmt: skip

MAINTENANCE = {
    "vacuum full": "VACUUM FULL {t}",
    "update to the same": "UPDATE {t} SET v = v",
    "cluster": "CREATE INDEX {n}_i ON {t} (k); CLUSTER {t} USING {n}_i",
    "unlogged and logged": "ALTER TABLE {t} SET UNLOGGED; ALTER TABLE {t} SET LOGGED",
    "unlogged": "ALTER TABLE {t} SET UNLOGGED",
    "another tablespace": "ALTER TABLE {t} SET TABLESPACE elsewhere",
    "freeze and analyze": "VACUUM FREEZE ANALYZE {t}",
    "what was rolled back": "BEGIN; INSERT INTO {t} SELECT 9, 9, 'x'; ROLLBACK",
    "index and rights": "CREATE INDEX {n}_j ON {t} (v); GRANT SELECT ON {t} TO pg_monitor",
    "constraint": "ALTER TABLE {t} ALTER v SET NOT NULL",
    "statistics and unlogged": "ALTER TABLE {t} ALTER v SET STATISTICS 50; "
    "ALTER TABLE {t} SET UNLOGGED",
    "counters at zero": "SELECT pg_stat_reset()",
}

TABLES = {"a frame": "full_s.frame", "a query": "full_s.query"}
tables = pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)


def assets() -> list[Any]:
    def frame() -> pd.DataFrame:
        called("frame")
        return pd.DataFrame({"k": [1, 2, 3], "v": [10, 20, 30], "w": ["a", "b", "c"]})

    def query(frame: sa.Table) -> Any:
        called("query")
        return sql_query("SELECT * FROM {frame}", frame=frame)

    def total(frame: pd.DataFrame, query: sa.Table) -> Any:
        called("total")
        shown = sa.func.coalesce(sa.func.sum(query.c.v), 0)
        return sa.select((shown + int(frame["v"].sum())).label("total"))

    return [
        asset("s/frame", frame, metadata=table_properties(primary_key="k")),
        asset("s/query", query, "s/frame"),
        asset("later/total", total, "s/frame", "s/query"),
    ]


@pytest.fixture
def built(world: World) -> World:
    assert world.made(assets).success
    return world


@pytest.fixture
def tablespace(superuser: sa.Engine) -> Iterator[None]:
    """The tablespace `elsewhere`, in which everybody may create tables."""
    by_hand(
        superuser,
        "SET allow_in_place_tablespaces = on",
        "CREATE TABLESPACE elsewhere LOCATION ''",
        "GRANT CREATE ON TABLESPACE elsewhere TO PUBLIC",
    )
    yield
    by_hand(superuser, "DROP SCHEMA full_s CASCADE", "DROP TABLESPACE elsewhere")


def statements(text: str, table: str) -> list[str]:
    schema, name = table.split(".")
    filled = text.format(t=table, n=name)
    filled = filled.replace("TABLE copied", f"TABLE {schema}.copied")
    if filled.startswith("BEGIN"):
        return [filled]
    return filled.split("; ")


@pytest.mark.parametrize("kind", CHANGES)
def test_it_is_named_and_built_again(built: World, pipeline_database: sa.Engine, kind: str) -> None:
    """Each run computes the one table that was changed, and none that was built before."""
    for what, (statement, reason) in CHANGES[kind].items():
        cascade = " CASCADE" if statement.startswith("DROP") else ""
        for table in TABLES.values():
            by_hand(pipeline_database, *statements(statement + cascade, table))
            again = built.made(assets)
            name = table.removeprefix("full_s.")
            assert again.success, what
            assert f"s__{name}: {reason.format(t=f's/{name}')}" in again.log, what
            # What was computed before the change is still that of the same rows.
            assert set(built.calls) == {name}, what
            assert rows(pipeline_database, f"SELECT k, v, w FROM {table} ORDER BY k") == [
                (1, 10, "a"), (2, 20, "b"), (3, 30, "c"),
            ]  # fmt: skip
            assert rows(pipeline_database, "SELECT total FROM full_later.total") == [(120,)]
    assert built.made(assets).success
    assert not built.calls


@pytest.mark.usefixtures("tablespace")
def test_maintenance_is_no_change(built: World, pipeline_database: sa.Engine) -> None:
    for what, statement in MAINTENANCE.items():
        for table in TABLES.values():
            by_hand(pipeline_database, *statements(statement, table))
        for _ in range(2):
            assert built.made(assets).success, what
            assert not built.calls, what
        # What identifies the tables now is remembered, and tells the next change.
        for table in TABLES.values():
            by_hand(pipeline_database, f"UPDATE {table} SET v = 0 WHERE k = 3")
        assert built.made(assets).success, what
        assert set(built.calls) == {"frame", "query"}, what


def test_counters_that_begin_anew_hide_no_change(
    built: World, pipeline_database: sa.Engine
) -> None:
    """As after a crash of the server, and another one."""
    by_hand(pipeline_database, "SELECT pg_stat_reset()")
    assert built.made(assets).success
    assert not built.calls
    by_hand(pipeline_database, "UPDATE full_s.frame SET v = 0", "SELECT pg_stat_reset()")
    assert built.made(assets).success
    assert set(built.calls) == {"frame"}


def test_rows_that_come_by_inheritance_are_named(
    built: World, pipeline_database: sa.Engine
) -> None:
    by_hand(
        pipeline_database,
        "CREATE TABLE heir () INHERITS (full_s.query)",
    )
    assert built.made(assets).success
    assert not built.calls
    by_hand(pipeline_database, "INSERT INTO heir VALUES (9, 9, 'x')")
    for _ in range(2):
        again = built.made(assets)
        assert "s__query: another table inherits from `s/query`" in again.log
        assert again.success
    by_hand(pipeline_database, "DROP TABLE heir")
    assert built.made(assets).success
    assert not built.calls
    assert rows(pipeline_database, "SELECT count(*) FROM full_s.query") == [(3,)]


def test_a_view_that_follows_its_table_away_is_made_again(
    world: World, pipeline_database: sa.Engine
) -> None:
    def view(frame: sa.Table) -> Any:
        called("view")
        return View(frame)

    def things() -> list[Any]:
        return [assets()[0], asset("shown/view", view, "s/frame")]

    assert world.made(things).success
    by_hand(
        pipeline_database,
        "ALTER TABLE full_s.frame SET SCHEMA public",
        "ALTER TABLE public.frame RENAME TO kept",
        "CREATE TABLE full_s.frame AS TABLE public.kept",
    )
    assert world.made(things).success
    assert set(world.calls) == {"frame", "view"}
    by_hand(pipeline_database, "DROP TABLE public.kept")
    assert rows(pipeline_database, "SELECT count(*) FROM full_shown.view") == [(3,)]


@tables
def test_what_was_computed_from_changed_rows_is_computed_again(
    built: World, pipeline_database: sa.Engine, table: str
) -> None:
    by_hand(pipeline_database, f"UPDATE {table} SET v = 1000", "DROP TABLE full_later.total")
    # A run of a part reads the rows that are there, and says so.
    partial = built.made(assets, selection=[_key("later/total")])
    assert partial.success
    assert "is not what was committed: rows of `s/" in partial.log
    assert rows(pipeline_database, "SELECT total FROM full_later.total") == [(3060,)]
    assert built.made(assets).success
    assert set(built.calls) == {table.removeprefix("full_s."), "total"}
    assert rows(pipeline_database, "SELECT total FROM full_later.total") == [(120,)]


def test_what_the_statistics_have_not_counted_yet_is_seen_by_who_reads(
    built: World, pipeline_database: sa.Engine
) -> None:
    with pipeline_database.connect() as user:
        user.exec_driver_sql("SELECT pg_stat_force_next_flush()")
        user.commit()
        user.exec_driver_sql("UPDATE full_s.frame SET v = 1000")
        user.commit()  # within a second of the last report: this one waits
        execute(pipeline_database, "DROP TABLE full_later.total")
        assert built.made(assets, selection=[_key("later/total")]).success
        assert rows(pipeline_database, "SELECT total FROM full_later.total") == [(3060,)]
    by_hand(pipeline_database)
    assert built.made(assets).success
    assert rows(pipeline_database, "SELECT total FROM full_later.total") == [(120,)]


def test_another_query_of_a_view_is_named_and_the_view_is_made_again(
    world: World, pipeline_database: sa.Engine
) -> None:
    def view(frame: sa.Table) -> Any:
        called("view")
        return View(sa.select(frame.c.k, frame.c.v))

    def read(view: pd.DataFrame) -> pd.DataFrame:
        called("read")
        return view

    def things() -> list[Any]:
        return [assets()[0], asset("s/view", view, "s/frame"), asset("later/read", read, "s/view")]

    assert world.made(things).success
    other = "SELECT k, -v AS v FROM full_s.frame"
    by_hand(pipeline_database, f"CREATE OR REPLACE VIEW full_s.view AS {other}")
    again = world.made(things)
    assert "s__view: query of view `s/view` was changed by hand" in again.log
    assert set(world.calls) == {"view"}
    assert rows(pipeline_database, "SELECT max(v) FROM full_s.view") == [(30,)]
    # A rewrite of what it shows is none of the view.
    by_hand(pipeline_database, "VACUUM FULL full_s.frame", "COMMENT ON VIEW full_s.view IS 'mine'")
    assert world.made(things).success
    assert not world.calls
    # In a copy of the database, too, where nothing was compared yet.
    copied = 'UPDATE full_catalog.tables SET relation = relation || \'{"database": "1/2"}\''
    by_hand(pipeline_database, copied)
    assert world.made(things).success
    assert not world.calls
    added = "ALTER TABLE full_s.frame ADD COLUMN more int DEFAULT 3"
    by_hand(pipeline_database, copied, f"CREATE OR REPLACE VIEW full_s.view AS {other}", added)
    again = world.made(things)
    assert "s__view: query of view `s/view` was changed by hand" in again.log
    assert "s__frame: columns of `s/frame` were changed by hand" in again.log
    assert rows(pipeline_database, "SELECT max(v) FROM full_s.view") == [(30,)]


def test_a_large_table_gets_a_new_version_since_not_every_read_of_it_was_checked(
    world: World, pipeline_database: sa.Engine
) -> None:
    def large() -> Any:
        called("large")
        return sa.text("SELECT i AS k, 0 AS v FROM generate_series(1, 50000) i")

    def total(large: sa.Table) -> Any:
        called("total")
        return sa.select(sa.func.sum(large.c.v).label("total"))

    def things() -> list[Any]:
        return [asset("s/large", large), asset("later/total", total, "s/large")]

    assert world.made(things).success
    by_hand(pipeline_database, "UPDATE full_s.large SET v = 1 WHERE k = 7")
    assert world.made(things).success
    assert set(world.calls) == {"large", "total"}
    assert world.made(things).success
    assert not world.calls


def _key(name: str) -> Any:
    return dg.AssetKey(name.split("/"))
