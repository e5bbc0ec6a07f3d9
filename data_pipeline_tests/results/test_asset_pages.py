"""What the page of an asset shows: what columns mean and come from, figures, the source code."""

import base64
import warnings
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import pytest
import sqlalchemy as sa

from data_pipeline import Stage, copy_filtered_inputs, instance_definitions, sql_query
from data_pipeline.errors import ConfigurationError
from data_pipeline.io_manager.docstring_columns import columns_of_text
from data_pipeline.results.ui_metadata import figure_metadata
from data_pipeline.transfer.frames import is_frame
from data_pipeline_tests.io_manager.runs import (
    from_inputs,
    metadata,
    refusal,
    rows,
    run,
    table_asset,
)

PNG = b"\x89PNG\r\n\x1a\n"
COMMENTS = """
SELECT attname, col_description(attrelid, attnum) FROM pg_attribute
WHERE attrelid = '{}'::regclass AND attnum > 0 ORDER BY attnum
"""


def columns(engine: sa.Engine, relation: str) -> dict[str, str | None]:
    return dict(rows(engine, COMMENTS.format(relation)))


def shown(result: Any, name: str) -> dict[str, str | None]:
    return {
        column.name: column.description
        for column in metadata(result, name)["dagster/column_schema"].columns
    }


def raw_table() -> dg.AssetsDefinition:
    stage = Stage("r")

    @stage.table(primary_key="k", columns={"v": "What it's worth, in 50 % of EUR"})
    def t() -> pd.DataFrame:
        """Things.

        Columns:
            k: The key,
                a number.
            v: told elsewhere

        Not a column: this.
        """
        return pd.DataFrame({"k": [1, 2], "v": [1.5, None], "w": [1, 2]})

    return t


def test_what_columns_mean_becomes_comments_of_tables_copies_and_views(
    pipeline_database: sa.Engine,
) -> None:
    t = raw_table()
    inputs = copy_filtered_inputs(stage="s", raw=[t])
    said = {"k": "The key, a number.", "v": "What it's worth, in 50 % of EUR", "w": None}
    for name in ("full", "midi"):
        result = run(t, inputs, on=name)
        assert shown(result, "t") == said
        assert columns(pipeline_database, f"{name}_s.t") == said
    assert columns(pipeline_database, "full_r.t") == said


def test_queries_and_views_have_them_too(pipeline_database: sa.Engine) -> None:
    stage = Stage("s")

    @stage.table(columns={"x": "the number one"})
    def table() -> sa.Select[Any]:
        return sa.select(sa.literal(1).label("x"), sa.literal(2).label("y"))

    @stage.view(columns={"x": "as in the table"})
    def view(table: sa.Table) -> sa.Select[Any]:
        return sa.select(table)

    result = run(table, view)
    assert shown(result, "table") == {"x": "the number one", "y": None}
    assert shown(result, "view") == {"x": "as in the table", "y": None}
    assert columns(pipeline_database, "full_s.view") == {"x": "as in the table", "y": None}


def test_what_is_said_of_a_column_that_is_not_there_is_refused(
    pipeline_database: sa.Engine,
) -> None:
    stage = Stage("s")

    @stage.view(columns={"z": "nothing"})
    def view() -> sa.Select[Any]:
        return sa.select(sa.literal(1).label("x"))

    @stage.table
    def told() -> pd.DataFrame:
        """Things.

        Columns:
            nope: There is none.
        """
        return pd.DataFrame({"x": [1]})

    assert "its properties name `z`, but it has the columns x" in str(refusal(view))
    assert "name `nope`, but it has the columns x" in (message := str(refusal(told)))
    assert "or `Columns:` in its docstring" in message


def test_a_schema_says_it_as_well(pipeline_database: sa.Engine) -> None:
    import dataframely as dy
    import polars as pl

    class Schema(dy.Schema):
        k = dy.Int64(primary_key=True, description="The key.")
        v = dy.Float64(nullable=True)

    def make() -> dy.DataFrame[Schema]:
        return Schema.validate(pl.DataFrame({"k": [1], "v": [None]}), cast=True)

    make.__annotations__["return"] = dy.DataFrame[Schema]
    result = run(from_inputs("t", make))
    assert shown(result, "t") == {"k": "The key.", "v": None}


def test_a_docstring_without_the_section_says_nothing() -> None:
    assert columns_of_text("Things.\n\nArgs:\n    k: no column") == {}
    text = "T.\n\nColumns:\n  `a b`: one\n  c:\n    two\n"
    assert columns_of_text(text) == {"a b": "one", "c": "two"}


def test_what_is_no_description_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="Give texts by column"):
        Stage("s").table(columns=["k"])(lambda: None)


LINEAGES: list[tuple[str, dict[str, set[str]]]] = [
    ("SELECT a.k, a.v + a.k AS s FROM {a} a", {"k": {"a.k"}, "s": {"a.k", "a.v"}}),
    ("SELECT * FROM {a}", {"k": {"a.k"}, "v": {"a.v"}}),
    ("SELECT k, w FROM {a} JOIN {b} USING (k)", {"k": {"a.k", "b.k"}, "w": {"b.w"}}),
    ("WITH q AS (SELECT v AS x FROM {a}) SELECT max(x), 1 AS one FROM q", {"max": {"a.v"}}),
    ("SELECT k FROM {a} UNION ALL SELECT w FROM {b}", {"k": {"a.k", "b.w"}}),
    ("SELECT k FROM {a} WHERE k = ANY (SELECT unnest(ARRAY[1, 2]))", {"k": {"a.k"}}),
]


@pytest.mark.parametrize(("query", "expected"), LINEAGES)
def test_columns_of_a_query_show_where_they_come_from(
    pipeline_database: sa.Engine, query: str, expected: dict[str, set[str]]
) -> None:
    a = table_asset("a", lambda: pd.DataFrame({"k": [1], "v": [2]}))
    b = table_asset("b", lambda: pd.DataFrame({"k": [1], "w": [2]}))
    used = [name for name in ("a", "b") if "{" + name + "}" in query]

    def made(**tables: sa.Table) -> Any:
        return sql_query(query, **tables)

    asset = dg.asset(
        key=["s", "q"],
        ins={name: dg.AssetIn(key=["s", name]) for name in used},
        partitions_def=a.partitions_def,
    )(made)
    lineage = metadata(run(a, b, asset), "q")["dagster/column_lineage"]
    assert {
        column: {f"{dep.asset_key.path[-1]}.{dep.column_name}" for dep in found}
        for column, found in lineage.deps_by_column.items()
    } == expected


def test_a_query_that_nobody_understands_is_made_all_the_same(
    pipeline_database: sa.Engine,
) -> None:
    a = table_asset("a", lambda: pd.DataFrame({"k": [1]}))

    def q(a: sa.Table) -> Any:
        return sql_query("SELECT k, (k, 2) OVERLAPS (1, 2) AS o FROM {a}", a=a)

    def plain(a: sa.Table) -> Any:
        return sql_query("SELECT k OPERATOR(pg_catalog.+) 1 AS k FROM ONLY {a}", a=a)

    assert metadata(run(a, from_inputs("plain", plain, "a")), "plain")["dagster/row_count"] == 1


def test_a_copy_comes_from_the_columns_of_its_raw_table(pipeline_database: sa.Engine) -> None:
    t = raw_table()
    inputs = copy_filtered_inputs(stage="s", raw=[t])
    for name in ("full", "midi"):
        lineage = metadata(run(t, inputs, on=name), "t")["dagster/column_lineage"]
        [dep] = lineage.deps_by_column["v"]
        assert (dep.asset_key, dep.column_name) == (dg.AssetKey(["r", "t"]), "v")


def test_rows_and_bytes_of_all_instances_stand_side_by_side(pipeline_database: sa.Engine) -> None:
    t = raw_table()
    inputs = copy_filtered_inputs(stage="s", raw=[t])
    blob = table_asset("blob", lambda: {"a": 1})
    assert "instances" not in metadata(run(t, inputs, on="full"), "t")
    found = metadata(run(t, inputs, blob, on="midi"), "t")
    records = [dict(record.data) for record in found["instances"].records]
    assert [record.pop("since")[:2] for record in records] == ["20", "th"]
    assert records == [
        {"instance": "full", "rows": 2, "bytes": None},  # a view
        {"instance": "midi", "rows": 2, "bytes": found["bytes"]},
    ]
    found = metadata(run(t, inputs, blob, on="full"), "blob")
    assert [record.data["instance"] for record in found["instances"].records] == ["full", "midi"]


def test_who_has_locked_another_instance_keeps_no_step_waiting(
    pipeline_database: sa.Engine,
) -> None:
    asset = table_asset("blob", lambda: {"a": 1})
    run(asset, on="full")
    with pipeline_database.begin() as other:
        other.exec_driver_sql("LOCK TABLE full_catalog.tables IN ACCESS EXCLUSIVE MODE")
        assert "instances" not in metadata(run(asset, on="midi"), "blob")
    assert "instances" in metadata(run(asset, on="midi"), "blob")


def test_a_picture_of_a_figure_is_shown(pipeline_database: sa.Engine) -> None:
    from matplotlib.figure import Figure

    def draw() -> Figure:
        figure = Figure()
        figure.add_subplot().plot([1, 2])
        return figure

    assert picture(metadata(run(table_asset("plot", draw)), "plot")).startswith(PNG)


def picture(found: dict[str, Any]) -> bytes:
    text = getattr(found["figure"], "md_str", found["figure"])
    return base64.b64decode(text.partition("base64,")[2].rstrip(")"))


def test_charts_of_altair_are_drawn_and_those_of_plotly_where_it_can() -> None:
    altair = pytest.importorskip("altair")
    chart = altair.Chart(pd.DataFrame({"a": [1]})).mark_point().encode(x="a:Q")
    assert picture(figure_metadata(chart)).startswith(PNG)
    layers = altair.layer(chart, chart)
    assert picture(figure_metadata(layers)).startswith(PNG)


def test_what_cannot_be_drawn_says_why() -> None:
    class Figure:
        __module__ = "plotly.basedatatypes"

        def to_image(self, **options: str) -> bytes:
            raise ValueError(f"{options['format']} needs kaleido\nand more")

    Figure.__name__ = "BaseFigure"
    said = "It cannot be drawn here: ValueError: png needs kaleido"
    assert figure_metadata(Figure()) == {"figure": said}
    assert figure_metadata({"a": 1}) == {}
    assert not is_frame(Figure())


def test_definitions_link_to_the_code_and_show_no_json(pipeline_database: sa.Engine) -> None:
    t = raw_table()
    with warnings.catch_warnings():
        warnings.simplefilter("error", dg.BetaWarning)
        definitions = instance_definitions([t, copy_filtered_inputs(stage="s", raw=[t])])
    for spec in definitions.resolve_all_asset_specs():
        [code] = spec.metadata["dagster/code_references"].code_references
        assert Path(code.file_path).is_file()
        kinds = {type(value) for value in spec.metadata.values()}
        assert not kinds & {dict, list, dg.JsonMetadataValue}
    [spec] = [item for item in definitions.resolve_all_asset_specs() if item.key.path[0] == "r"]
    assert code_file(spec) == __file__
    assert spec.metadata["data_pipeline/table"].value == "primary key: k"


def code_file(spec: dg.AssetSpec) -> str:
    return str(spec.metadata["dagster/code_references"].code_references[0].file_path)


def test_a_link_of_ones_own_stays(pipeline_database: sa.Engine) -> None:
    own = dg.CodeReferencesMetadataValue(code_references=[dg.UrlCodeReference(url="https://x.y/z")])
    asset = table_asset("t", dict, metadata={"dagster/code_references": own})
    [spec] = instance_definitions([asset]).resolve_all_asset_specs()
    assert spec.metadata["dagster/code_references"] == own
