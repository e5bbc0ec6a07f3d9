"""A data version that an asset's code gives its result is the one in the catalog and on the event.

Dagster does not tell IO managers: see `data_pipeline/runs/dagster_plan.py`.
"""

from typing import Any

import dagster as dg
import pandas as pd
import pytest
import sqlalchemy as sa

from data_pipeline import sql_query
from data_pipeline.instances.partitions import INSTANCE_PARTITIONS
from data_pipeline.store.table_properties import Table, View
from data_pipeline_tests.io_manager.runs import execute, rows, run, table_asset

SOURCE = sa.table("source", sa.column("a"), schema="public")
RESULTS = {
    "frame": pd.DataFrame({"a": [1]}),
    "no_rows": pd.DataFrame({"a": []}),
    "properties": Table(pd.DataFrame({"a": [1]}), primary_key="a"),
    "query": sql_query("SELECT 1 AS a"),
    "view": View(sa.Table("source", sa.MetaData(), sa.Column("a"), schema="public")),
    "view_of_a_query": View(sa.select(SOURCE.c.a)),
    "blob": {"weight": 1},
}
WAYS = {
    "output": lambda value, version: dg.Output(value, data_version=version),
    "result": lambda value, version: dg.MaterializeResult(value=value, data_version=version),
}


def in_catalog(engine: sa.Engine, name: str = "t") -> str:
    query = f"SELECT data_version FROM full_catalog.tables WHERE name = '{name}'"
    [(version,)] = rows(engine, query)
    return str(version)


def on_event(result: dg.ExecuteInProcessResult, name: str) -> str:
    [tags] = [
        event.materialization.tags
        for event in result.get_asset_materialization_events()
        if event.asset_key == dg.AssetKey(["s", name])
    ]
    return str((tags or {})["dagster/data_version"])


@pytest.mark.parametrize("way", WAYS)
def test_it_is_that_of_the_row_and_of_the_event(pipeline_database: sa.Engine, way: str) -> None:
    execute(pipeline_database, "CREATE TABLE public.source AS SELECT 1 AS a")

    def made(name: str, given: str) -> dg.AssetsDefinition:
        return table_asset(name, lambda: WAYS[way](RESULTS[name], dg.DataVersion(given)))

    for given in ("7", "8", "7", "not made of the data: '\"é"):
        result = run(*(made(name, given) for name in RESULTS))
        for name in RESULTS:
            assert in_catalog(pipeline_database, name) == on_event(result, name) == given, name


def test_without_one_it_is_that_of_the_data(pipeline_database: sa.Engine) -> None:
    execute(pipeline_database, "CREATE TABLE public.source AS SELECT 1 AS a")

    def made(name: str, kind: str, **given: Any) -> dg.AssetsDefinition:
        return table_asset(name, lambda: dg.Output(RESULTS[kind], **given))

    def versions() -> dict[str, tuple[str, str]]:
        result = run(*(made(kind, kind) for kind in RESULTS))
        return {k: (in_catalog(pipeline_database, k), on_event(result, k)) for k in RESULTS}

    first = versions()
    seven = dg.DataVersion("7")
    run(*(made(f"other_{kind}", kind, data_version=seven) for kind in RESULTS))
    assert versions() == first
    for kind, (row, event) in first.items():
        assert row == event != "7", kind


def test_each_output_of_a_step_has_its_own(pipeline_database: sa.Engine) -> None:
    names = ("x", "y", "z")

    @dg.multi_asset(
        outs={name: dg.AssetOut(key=["s", name]) for name in names},
        partitions_def=INSTANCE_PARTITIONS,
    )
    def several() -> Any:
        for name, version in zip(names, ("1", None, "3"), strict=True):
            given = dg.DataVersion(version) if version else None
            yield dg.Output(pd.DataFrame({"a": [name]}), name, data_version=given)

    run(several)
    x, y, z = (in_catalog(pipeline_database, name) for name in names)
    assert (x, z) == ("1", "3")
    assert len(y) == 32


def test_a_view_shows_what_it_is_a_view_of_and_keeps_its_version(
    pipeline_database: sa.Engine,
) -> None:
    def things(value: int) -> list[dg.AssetsDefinition]:
        def view(t: sa.Table) -> dg.Output[Any]:
            return dg.Output(View(t), data_version=dg.DataVersion("1"))

        shown = dg.asset(
            key=["s", "view"],
            ins={"t": dg.AssetIn(key=["s", "t"])},
            partitions_def=INSTANCE_PARTITIONS,
        )(view)
        return [table_asset("t", lambda: pd.DataFrame({"a": [value]})), shown]

    for value in (1, 2):
        run(*things(value))
    run(*things(3), selection="t")
    assert rows(pipeline_database, "SELECT a FROM full_s.view") == [(3,)]
    assert in_catalog(pipeline_database, "view") == "1"
