"""What arrives at an annotated parameter."""

import pickle
from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import sqlalchemy as sa

from data_pipeline_tests.io_manager.runs import from_inputs, refusal, rows, run, table_asset


class Model:
    """Something that is no table."""

    def __init__(self, weight: int) -> None:
        self.weight = weight


def frame() -> pd.DataFrame:
    return pd.DataFrame({"a": [1, 2], "b": ["x", None]})


source = table_asset("source", frame)

FRAMES = {
    "pandas": (pd.DataFrame, lambda df: df.a.tolist()),
    "polars": (pl.DataFrame, lambda df: df["a"].to_list()),
    "lazy polars": (pl.LazyFrame, lambda df: df.collect()["a"].to_list()),
    "Arrow table": (pa.Table, lambda table: table["a"].to_pylist()),
    "Arrow batches": (pa.RecordBatchReader, lambda reader: reader.read_all()["a"].to_pylist()),
}


@pytest.mark.usefixtures("pipeline_database")
def test_a_frame_annotation_brings_all_rows_as_that_frame() -> None:
    arrived: dict[str, Any] = {}

    def reading(label: str, annotation: type) -> Any:
        def read(source):
            arrived[label] = (isinstance(source, annotation), FRAMES[label][1](source))
            return frame()

        read.__annotations__["source"] = annotation
        return from_inputs(f"from_{label.replace(' ', '_')}", read, "source")

    run(source, *(reading(label, annotation) for label, (annotation, _) in FRAMES.items()))
    assert arrived == dict.fromkeys(FRAMES, (True, [1, 2]))


@pytest.mark.usefixtures("pipeline_database")
@pytest.mark.parametrize("annotated", [True, False])
def test_a_table_without_a_frame_annotation_arrives_as_a_reference(annotated: bool) -> None:
    arrived = []

    def read(source):
        arrived.append(source)
        return sa.select(source.c.a * 10)

    if annotated:
        read.__annotations__["source"] = sa.Table
    run(source, from_inputs("reader", read, "source"))
    [table] = arrived
    assert isinstance(table, sa.Table)
    assert (table.schema, table.name, table.columns.keys()) == (
        "full_s__staging",
        "source",
        ["a", "b"],
    )


@pytest.mark.usefixtures("pipeline_database")
@pytest.mark.parametrize("annotation", [Model, None])
def test_a_blob_arrives_as_the_object(annotation: type | None) -> None:
    arrived = []

    def read(model):
        arrived.append(model.weight)
        return frame()

    if annotation:
        read.__annotations__["model"] = annotation
    run(table_asset("model", lambda: Model(3)), from_inputs("reader", read, "model"))
    assert arrived == [3]


@pytest.mark.usefixtures("pipeline_database")
def test_a_missing_input_is_named_with_the_command_that_builds_it() -> None:
    def read(source: pd.DataFrame) -> pd.DataFrame:
        return source

    error = refusal(source, from_inputs("reader", read, "source"), on="mini", selection="reader")
    assert "Table `s/source` (mini_s.source) has not been built yet in instance `mini`" in str(
        error
    )
    assert "dagster job execute -m data_pipeline.definitions -j mini" in str(error)
    assert "Raw tables are in `full` alone, from which `mini` takes its rows" in str(error)


def test_an_input_that_was_dropped_by_hand_is_named(pipeline_database: sa.Engine) -> None:
    def read(source: pd.DataFrame) -> pd.DataFrame:
        return source

    reader = from_inputs("reader", read, "source")
    run(source, reader)
    with pipeline_database.begin() as connection:
        connection.exec_driver_sql("DROP TABLE full_s.source")
    error = refusal(source, reader, selection="reader")
    assert "`s/source` (full_s.source) has been dropped since it was built" in str(error)


@pytest.mark.usefixtures("pipeline_database")
def test_a_table_cannot_be_read_as_something_that_is_no_frame() -> None:
    def read(source: pd.Series) -> pd.DataFrame:
        return source.to_frame()

    error = refusal(source, from_inputs("reader", read, "source"))
    assert "`s/source` cannot be given as pandas" in str(error)
    assert "Annotate the parameter with pd.DataFrame" in str(error)


def test_columns_have_the_same_types_whatever_rows_an_instance_has(
    pipeline_database: sa.Engine,
) -> None:
    seen: dict[str, list[str]] = {}
    typed = (
        "SELECT * FROM (VALUES (1::int, 2::bigint, 'x'::text, true, 1.5::float8, 2.5::numeric(8,2),"
        " date '2024-02-29', timestamptz '2024-01-01 00:00Z'), (NULL, NULL, NULL, NULL, NULL, NULL,"
        " NULL, NULL)) AS v (i, l, t, b, f, n, d, z)"
    )

    def types(rows_kept: str) -> list[str]:
        def read(typed: pd.DataFrame, typed_lazily: pl.LazyFrame) -> pd.DataFrame:
            schema = [str(kind) for kind in typed_lazily.collect_schema().dtypes()]
            seen[rows_kept] = [str(kind) for kind in typed.dtypes] + schema
            return typed

        query = sa.text(f"{typed} WHERE {rows_kept}")
        again = from_inputs("again", read, "typed", "typed_lazily")
        run(
            table_asset("typed", lambda: query),
            table_asset("typed_lazily", lambda: query),
            again,
        )
        columns = "SELECT attname::text, format_type(atttypid, atttypmod) FROM pg_attribute WHERE "
        written = rows(
            pipeline_database,
            f"{columns} attrelid = 'full_s.again'::regclass AND attnum > 0 ORDER BY attnum",
        )
        return [kind for _, kind in written]

    written = [types(kept) for kept in ("true", "false", "i IS NULL", "i = 1")]
    assert written == [written[0]] * 4
    assert list(seen.values()) == [seen["true"]] * 4


@pytest.mark.usefixtures("pipeline_database")
@pytest.mark.parametrize("how", ["attribute", "item", "items"])
def test_a_column_that_is_not_there_is_named(how: str) -> None:
    def read(source: sa.Table) -> Any:
        if how == "attribute":
            return sa.select(source.c.aa)
        return sa.select(source.c["aa"]) if how == "item" else sa.select(*source.c["b", "aa"])

    error = str(refusal(source, from_inputs("reader", read, "source")))
    assert "Table `s/source` has no column `aa`. Is `a` meant? Its columns are `a`, `b`" in error


@pytest.mark.usefixtures("pipeline_database")
def test_the_columns_are_otherwise_those_of_sqlalchemy() -> None:
    def read(source: sa.Table) -> Any:
        copied = pickle.loads(pickle.dumps(source))
        assert not hasattr(source.c, "other")
        assert "other" not in copied.c
        assert copied.c.a.name == source.columns["a"].name == source.c[0].name == "a"
        found = source.alias("s")
        return sa.select(found.c.a, source.c.b).join_from(found, source, found.c.a == source.c.a)

    run(source, from_inputs("reader", read, "source"))
