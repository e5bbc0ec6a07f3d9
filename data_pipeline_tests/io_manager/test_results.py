"""What becomes of a returned object: a table, a query's table, or a blob."""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import sqlalchemy as sa

from data_pipeline.instances.partitions import INSTANCE_PARTITIONS
from data_pipeline.store.table_properties import Table
from data_pipeline_tests.io_manager.runs import (
    from_inputs,
    metadata,
    rows,
    run,
    table_asset,
)

DATA = {"a": [1, 2, 3], "b": ["x", "y", None]}
STORED = [(1, "x"), (2, "y"), (3, None)]

FRAMES: dict[str, Callable[[], Any]] = {
    "pandas": lambda: pd.DataFrame(DATA),
    "polars": lambda: pl.DataFrame(DATA),
    "polars_lazy": lambda: pl.LazyFrame(DATA),
    "arrow_table": lambda: pa.table(DATA),
    "arrow_batch": lambda: pa.RecordBatch.from_pydict(DATA),
    "arrow_batches": lambda: pa.table(DATA).to_reader(),
}

QUERIES: dict[str, Callable[[sa.Table], Any]] = {
    "a_select": lambda source: sa.select(source),
    "a_table": lambda source: source,
    "an_alias": lambda source: source.alias(),
    "a_union": lambda source: sa.union_all(
        sa.select(source).where(source.c.a == 1), sa.select(source).where(source.c.a > 1)
    ),
    "a_cte": lambda source: sa.select(sa.select(source).cte("part")),
    "an_ordered": lambda source: sa.select(source).order_by(source.c.a.desc()).limit(10),
    "a_text": lambda _: sa.text("SELECT * FROM full_s.source"),
}

source = table_asset("source", FRAMES["pandas"])


@pytest.mark.parametrize("wrapped", [False, True], ids=["plain", "in a Table"])
def test_every_kind_of_frame_becomes_a_table(pipeline_database: sa.Engine, wrapped: bool) -> None:
    def wrap(make: Callable[[], Any]) -> Callable[[], Any]:
        return (lambda: Table(make(), primary_key="a")) if wrapped else make

    result = run(*(table_asset(name, wrap(make)) for name, make in FRAMES.items()))
    for name in FRAMES:
        assert rows(pipeline_database, f"SELECT a, b FROM full_s.{name} ORDER BY a") == STORED
        facts = metadata(result, name)
        assert facts["dagster/row_count"] == 3
        assert facts["dagster/table_name"].endswith(f".full_s.{name}")
        assert facts["dagster/storage_kind"] == "postgresql"
        assert facts["bytes"] > 0
        assert facts["seconds"] >= 0
        columns = facts["dagster/column_schema"].columns
        assert [(column.name, column.type) for column in columns] == [
            ("a", "bigint"),
            ("b", "text"),
        ]
        assert [column.constraints.nullable for column in columns] == [not wrapped, True]
        assert "| 3 | *NULL* |" in facts["preview"]


@pytest.mark.parametrize("wrapped", [False, True], ids=["plain", "in a Table"])
def test_every_kind_of_query_runs_inside_the_database(
    pipeline_database: sa.Engine, wrapped: bool
) -> None:
    def made(name: str, query: Callable[[sa.Table], Any]) -> dg.AssetsDefinition:
        def compute(source):
            return Table(query(source), primary_key="a") if wrapped else query(source)

        return from_inputs(name, compute, "source")

    result = run(source, *(made(name, query) for name, query in QUERIES.items()))
    for name in QUERIES:
        assert rows(pipeline_database, f"SELECT a, b FROM full_s.{name} ORDER BY a") == STORED
        facts = metadata(result, name)
        assert facts["dagster/row_count"] == 3
        assert facts["dagster/table_name"].endswith(f".full_s.{name}")
        assert facts["sql"].startswith("```sql\n")
        columns = facts["dagster/column_schema"].columns
        assert [column.constraints.unique for column in columns] == [wrapped, False]


def test_order_by_is_the_order_in_which_rows_are_stored(pipeline_database: sa.Engine) -> None:
    query = sa.text("SELECT n FROM generate_series(1, 1000) AS n ORDER BY n DESC")
    run(table_asset("ordered", lambda: query))
    first = rows(pipeline_database, "SELECT n FROM full_s.ordered ORDER BY ctid LIMIT 2")
    assert first == [(1000,), (999,)]


def test_a_query_can_read_the_table_that_it_replaces(pipeline_database: sa.Engine) -> None:
    def grow(source: sa.Table) -> sa.TextClause:
        return sa.text("SELECT a FROM full_s.grown UNION ALL SELECT max(a) + 1 FROM full_s.grown")

    run(table_asset("grown", lambda: pd.DataFrame({"a": [1]})))
    run(source, from_inputs("grown", grow, "source"))
    assert rows(pipeline_database, "SELECT a FROM full_s.grown ORDER BY a") == [(1,), (2,)]


def test_each_output_of_a_multi_asset_is_stored_by_its_own_kind(
    pipeline_database: sa.Engine,
) -> None:
    @dg.multi_asset(
        outs={name: dg.AssetOut(key=["s", name]) for name in ("frame", "query", "blob")},
        partitions_def=INSTANCE_PARTITIONS,
    )
    def several() -> tuple[Any, Any, Any]:
        return pd.DataFrame(DATA), sa.text("SELECT 5 AS n"), {"weight": 3}

    result = run(several)
    assert metadata(result, "frame")["dagster/row_count"] == 3
    assert rows(pipeline_database, "SELECT n FROM full_s.query") == [(5,)]
    assert metadata(result, "blob")["type"] == "builtins.dict"


@pytest.mark.usefixtures("pipeline_database")
def test_any_other_object_becomes_a_file_below_the_directory_of_its_instance(
    tmp_path: Path,
) -> None:
    result = run(table_asset("model", lambda: {"weight": 3}), on="mini")
    facts = metadata(result, "model")
    file = Path(facts["path"])
    assert file.is_relative_to(tmp_path / "home" / "blobs" / "mini")
    assert pickle.loads(file.read_bytes()) == {"weight": 3}
    assert facts["bytes"] == file.stat().st_size
    assert facts["dagster/storage_kind"] == "pickle"


@pytest.mark.usefixtures("pipeline_database")
def test_the_file_of_a_replaced_blob_is_removed(tmp_path: Path) -> None:
    for made in ({"weight": 1}, {"weight": 2}, pd.DataFrame(DATA)):
        run(table_asset("model", lambda made=made: made))
    assert list((tmp_path / "home" / "blobs").rglob("*.pickle")) == []


@pytest.mark.usefixtures("pipeline_database")
def test_a_query_with_a_code_fence_in_it_is_shown_whole() -> None:
    result = run(table_asset("fenced", lambda: sa.text("SELECT '\n```\n' AS fence")))
    shown = metadata(result, "fenced")["sql"]
    assert shown == "````sql\nSELECT '\n```\n' AS fence\n````"


def test_names_may_hold_any_character(pipeline_database: sa.Engine) -> None:
    odd = 'we"ird %s {name} :x'
    column = 'co"l %d {x} :y (1)'

    def read(source: sa.Table) -> Any:
        return Table(sa.select(source).where(source.c[column] > 0), primary_key=column)

    @dg.multi_asset(outs={"out": dg.AssetOut(key=["s", odd])}, partitions_def=INSTANCE_PARTITIONS)
    def made() -> Any:  # an asset of a single output would name its op like the table
        return Table(pd.DataFrame({column: [1]}), primary_key=column, indexes=[column])

    reader = from_inputs("reader", read, source=odd)
    run(made, reader)
    result = run(made, reader)
    assert rows(pipeline_database, "SELECT count(*) FROM full_s.reader") == [(1,)]
    assert column.replace("|", "") in metadata(result, "reader")["preview"]
