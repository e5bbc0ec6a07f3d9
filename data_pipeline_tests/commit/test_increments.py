"""Increments: rows that go into the committed table, and nothing else is written."""

from collections.abc import Sequence
from typing import Any

import pandas as pd
import pytest
import sqlalchemy as sa

from data_pipeline import InstanceResource, Stage, Table, sql_query
from data_pipeline.commit import increment_merge, row_replacement
from data_pipeline_tests.io_manager.runs import by_hand, execute, refusal, rows, run


class Source:
    """What an asset finds in its source, and what it was told to be there of its own table."""

    def __init__(self) -> None:
        self.rows: list[tuple[Any, ...]] = []
        self.told: list[int | None] = []

    def returns(self, *found: tuple[Any, ...]) -> None:
        self.rows = list(found)

    def frame(self, columns: Sequence[str]) -> pd.DataFrame:
        return pd.DataFrame(self.rows, columns=list(columns))

    def query(self, columns: Sequence[str]) -> sa.TextClause:
        values = ", ".join(str(row).replace("None", "NULL") for row in self.rows)
        text = f"SELECT * FROM (VALUES {values}) AS v({', '.join(columns)})"
        return sql_query(text.replace(",)", ")"))


@pytest.fixture
def source() -> Source:
    return Source()


def growing(source: Source, columns: str = "k v", *, kind: str = "frame", **properties: Any) -> Any:
    """Gives the asset `s/t`, which returns what its source has."""
    stage = Stage("s", code_version="1")
    given = {"primary_key": "k", "write": "append", **properties}

    @stage.table(**given)
    def t(previous: pd.DataFrame | None) -> Any:
        source.told.append(None if previous is None else len(previous))
        return getattr(source, kind)(columns.split())

    return t


def found(engine: sa.Engine) -> list[tuple[Any, ...]]:
    return rows(engine, "SELECT * FROM full_s.t ORDER BY 1")


@pytest.mark.parametrize("kind", ["frame", "query"])
def test_rows_are_appended_and_those_that_are_there_stay(
    pipeline_database: sa.Engine, source: Source, kind: str
) -> None:
    asset = growing(source, kind=kind, indexes=["v"])
    source.returns((1, 10), (2, 20))
    run(asset)
    before = rows(
        pipeline_database, "SELECT k, xmin::text, 'full_s.t'::regclass::oid FROM full_s.t"
    )
    source.returns((3, 30))
    run(asset)
    source.returns((4, 40), (5, 50))
    run(asset)
    assert found(pipeline_database) == [(1, 10), (2, 20), (3, 30), (4, 40), (5, 50)]
    assert source.told == [None, 2, 3]
    query = "SELECT k, xmin::text, 'full_s.t'::regclass::oid FROM full_s.t WHERE k < 3"
    assert rows(pipeline_database, query) == before
    state = "SELECT row_count, increment ->> 'number', increment ? 'onto' FROM full_catalog.tables"
    assert rows(pipeline_database, state) == [(5, "2", False)]
    left = "SELECT relname FROM pg_class WHERE relnamespace = 'full_s__staging'::regnamespace"
    assert rows(pipeline_database, left) == []


@pytest.mark.parametrize("kind", ["frame", "query"])
def test_rows_are_merged_by_the_primary_key_and_marked_ones_go(
    pipeline_database: sa.Engine, source: Source, kind: str
) -> None:
    asset = growing(source, "k v gone", kind=kind, write="merge", deleted="gone")
    source.returns((1, 10, False), (2, 20, False), (3, 30, False), (9, 90, True))
    run(asset)
    assert found(pipeline_database) == [(1, 10), (2, 20), (3, 30)]
    source.returns((2, 21, False), (3, 0, True), (4, 40, False), (8, 0, True))
    run(asset)
    assert found(pipeline_database) == [(1, 10), (2, 21), (4, 40)]
    assert source.told == [None, 3]
    assert rows(pipeline_database, "SELECT row_count FROM full_catalog.tables") == [(3,)]


def test_an_increment_that_changes_nothing_leaves_the_table_and_its_version(
    pipeline_database: sa.Engine, source: Source
) -> None:
    asset = growing(source, "k v gone", write="merge", deleted="gone")
    source.returns((1, 10, False), (2, None, False))
    run(asset)
    state = "SELECT data_version, relation, committed_at FROM full_catalog.tables"
    before = rows(pipeline_database, state)
    source.returns((1, 10, False), (2, None, False), (3, 0, True))
    run(asset)
    source.returns()
    run(asset)
    assert rows(pipeline_database, state) == before
    assert source.told == [None, 2, 2]


BAD: dict[str, tuple[dict[str, Any], str, list[tuple[Any, ...]], list[str]]] = {
    "keys that are there": ({}, "k v", [(2, 0), (3, 0)], ["(k) = (2)", 'write="merge"']),
    "a key twice": ({}, "k v", [(3, 0), (3, 1)], ["Key (k)=(3) is duplicated"]),
    "a key twice in a merge": ({"write": "merge"}, "k v", [(3, 0), (3, 1)], ["(k)=(3)"]),
    "no key": ({}, "k v", [(3, 0), (None, 1)], ['"k"', "null value"]),
    "columns": (
        {},
        "k w x",
        [(3, 0, "a")],
        ["no column `v`", "a column `w`", "a column `x`", "force_cache_invalid"],
    ),
    "types": ({}, "k v", [(3, "a")], ["`v` as text, not as bigint"]),
    "NULL": (
        {"nullable": [], "kind": "query"},
        "k v",
        [(3, None), (4, 40)],
        ['"v"', "null value"],
    ),
    "a mark that is no truth value": (
        {"write": "merge", "deleted": "gone"},
        "k v gone",
        [(3, 0, "x")],
        ["`gone`", "boolean"],
    ),
    "a NULL in what stays": (
        {"write": "merge", "deleted": "gone", "nullable": [], "kind": "query"},
        "k v gone",
        [(3, None, False), (2, None, True), (4, 40, False)],
        ["column `v` is NULL in 1 "],
    ),
}


@pytest.mark.parametrize("kind", BAD)
def test_what_does_not_fit_is_refused_and_the_table_is_as_before(
    pipeline_database: sa.Engine, source: Source, kind: str
) -> None:
    properties, columns, bad, said = BAD[kind]
    source.returns((1, 10), (2, 20))
    run(growing(source, **properties))
    source.returns(*bad)
    message = str(refusal(growing(source, columns, **properties)))
    assert "s/t" in message
    for text in said:
        assert text in message
    assert found(pipeline_database) == [(1, 10), (2, 20)]


def test_an_asset_that_does_not_ask_what_is_there_is_refused(
    pipeline_database: sa.Engine,
) -> None:
    stage = Stage("s", code_version="1")

    @stage.table(primary_key="k", write="append")
    def t() -> pd.DataFrame:
        return pd.DataFrame({"k": [1]})

    message = str(refusal(t))
    assert "did not ask what is there" in message
    assert "`previous`" in message


def test_rows_cannot_be_merged_without_a_primary_key(
    pipeline_database: sa.Engine, source: Source
) -> None:
    source.returns((1, 10))
    assert "Declare `primary_key`" in str(refusal(growing(source, primary_key=(), write="merge")))


def test_the_watermark_of_the_instance_resource_says_what_is_there(
    pipeline_database: sa.Engine,
) -> None:
    told: list[Any] = []
    stage = Stage("s", code_version="1")

    @stage.table
    def t(instance: InstanceResource) -> Table:
        told.append(instance.watermark("k"))
        first = (told[-1] or 0) + 1
        query = f"SELECT k FROM generate_series({first}, {first + 1}) AS s(k)"
        return Table(sql_query(query), primary_key="k", write="append")

    run(t)
    run(t)
    assert told == [None, 2]
    assert rows(pipeline_database, "SELECT k FROM full_s.t ORDER BY k") == [(1,), (2,), (3,), (4,)]


def test_what_was_changed_by_hand_is_built_from_the_start(
    pipeline_database: sa.Engine, source: Source
) -> None:
    asset = growing(source)
    source.returns((1, 10), (2, 20))
    run(asset)
    by_hand(pipeline_database, "UPDATE full_s.t SET v = 0 WHERE k = 1")
    run(asset)
    assert source.told == [None, None]
    assert found(pipeline_database) == [(1, 10), (2, 20)]
    source.returns((3, 30))
    run(asset)
    by_hand(pipeline_database, "DROP TABLE full_s.t")
    run(asset)
    assert source.told == [None, None, 2, None]
    assert found(pipeline_database) == [(3, 30)]


@pytest.mark.parametrize("most", [1, 3])
def test_of_many_increments_the_catalog_keeps_a_sum(
    pipeline_database: sa.Engine, source: Source, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    for module in (increment_merge, row_replacement):
        monkeypatch.setattr(module, "MOST_WRITERS", most)
    asset = growing(source, "k v gone", write="merge", deleted="gone")
    source.returns(*((key, 10, False) for key in range(8)))
    run(asset)
    for number in range(1, 6):  # rows of several earlier runs are changed, and one is deleted
        source.returns((number, 0, True), (7, number, False), (10 + number, 1, False))
        run(asset)
    writers = "SELECT jsonb_typeof(relation -> 'writer') FROM full_catalog.tables"
    assert rows(pipeline_database, writers) == [("object",)]
    source.returns((0, 1, False))
    by_hand(pipeline_database, "CLUSTER full_s.t USING t_pkey")  # so that every row is looked at
    run(asset)
    assert source.told == [None, 8, 8, 8, 8, 8, 8]
    by_hand(pipeline_database, "CLUSTER full_s.t", "UPDATE full_s.t SET v = v WHERE k = 7")
    run(asset)
    assert source.told[-1] is None


def test_what_hangs_on_the_table_stays(pipeline_database: sa.Engine, source: Source) -> None:
    asset = growing(source, "k v gone", write="merge", deleted="gone", indexes=["v"])
    source.returns((1, 10, False), (2, 20, False))
    run(asset)
    execute(
        pipeline_database,
        "CREATE SCHEMA own",
        "CREATE VIEW own.v AS SELECT * FROM full_s.t",
        "CREATE MATERIALIZED VIEW own.m AS SELECT count(*) AS n FROM full_s.t",
        "CREATE TABLE own.c (k bigint REFERENCES full_s.t (k)); INSERT INTO own.c VALUES (2)",
        "GRANT SELECT ON full_s.t TO PUBLIC",
    )
    acl = "SELECT relacl::text, oid::bigint FROM pg_class WHERE oid = 'full_s.t'::regclass"
    before = rows(pipeline_database, acl)
    source.returns((2, 21, False), (1, 0, True), (3, 30, False))
    run(asset)
    assert rows(pipeline_database, "SELECT k, v FROM own.v ORDER BY k") == [(2, 21), (3, 30)]
    assert rows(pipeline_database, "SELECT n FROM own.m") == [(2,)]
    assert rows(pipeline_database, acl) == before
    source.returns((2, 0, True))
    message = str(refusal(asset))
    assert "own.c" in message or "foreign key" in message
    assert found(pipeline_database) == [(2, 21), (3, 30)]


def test_readers_with_an_older_snapshot_see_the_rows_from_before(
    pipeline_database: sa.Engine, source: Source
) -> None:
    asset = growing(source)
    source.returns((1, 10))
    run(asset)
    options = {"isolation_level": "REPEATABLE READ"}
    with pipeline_database.connect().execution_options(**options) as reader:
        count = sa.text("SELECT count(*) FROM full_s.t")
        assert reader.scalar(count) == 1
        source.returns((2, 20))
        run(asset)  # does not wait for the reader
        assert reader.scalar(count) == 1
        reader.rollback()
        assert reader.scalar(count) == 2
