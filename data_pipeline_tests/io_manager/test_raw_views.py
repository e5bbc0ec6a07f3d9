"""Input tables that are their raw table under another name: views that follow it."""

from typing import Any

import dagster as dg
import pandas as pd
import sqlalchemy as sa

from data_pipeline import instance_resources
from data_pipeline.instances.partitions import INSTANCE_PARTITIONS
from data_pipeline.sampling import copy_filtered_inputs
from data_pipeline.store.table_properties import Table
from data_pipeline_tests.io_manager.runs import execute, from_inputs, refusal, rows, run


def raw(**columns: Any) -> dg.AssetsDefinition:
    frame = pd.DataFrame({"a": [1, 2, 3], **columns})

    @dg.asset(key=["r", "t"], partitions_def=INSTANCE_PARTITIONS)
    def load() -> Any:
        return Table(frame, primary_key="a")

    return load


def materialize(*assets: dg.AssetsDefinition) -> dg.ExecuteInProcessResult:
    return dg.materialize(assets, partition_key="full", resources=instance_resources("full"))


def load_and_show(source: dg.AssetsDefinition) -> dg.ExecuteInProcessResult:
    return materialize(source, copy_filtered_inputs(stage="s", raw=[source]))


def catalog(engine: sa.Engine) -> dict[str, tuple[Any, ...]]:
    found = rows(
        engine,
        "SELECT stage, kind, row_count, data_version, properties ->> 'primary_key', inputs "
        "FROM full_catalog.tables",
    )
    return {stage: tuple(rest) for stage, *rest in found}


def test_a_view_and_what_is_built_on_it_follow_a_new_raw_table(
    pipeline_database: sa.Engine,
) -> None:
    result = load_and_show(raw())
    [shown] = [
        event.materialization.metadata["dagster/row_count"].value
        for event in result.get_asset_materialization_events()
        if event.asset_key == dg.AssetKey(["s", "t"])
    ]
    assert shown == 3
    execute(
        pipeline_database,
        "CREATE VIEW public.on_view AS "
        "SELECT v.a + t.a AS twice FROM full_s.t AS v JOIN full_r.t AS t USING (a)",
        "GRANT SELECT ON full_s.t TO PUBLIC",
        "COMMENT ON VIEW full_s.t IS 'inputs'",
    )
    materialize(raw(b=["x", "y", "z"]))
    assert rows(pipeline_database, "SELECT a, b FROM full_s.t WHERE a = 3") == [(3, "z")]
    assert rows(pipeline_database, "SELECT max(twice) FROM public.on_view") == [(6,)]
    assert rows(
        pipeline_database,
        "SELECT relkind::text, obj_description(oid), relacl::text LIKE '%,=r/%' FROM pg_class "
        "WHERE oid = 'full_s.t'::regclass",
    ) == [("v", "inputs", True)]


def test_catalog_rows_of_views_follow_in_the_same_transaction(
    pipeline_database: sa.Engine,
) -> None:
    load_and_show(raw())
    first = catalog(pipeline_database)
    assert first["r"][:3] == ("table", 3, first["s"][2])
    materialize(raw(a=[1, 2]))
    second = catalog(pipeline_database)
    assert second["s"][:4] == ("view", 2, second["r"][2], '["a"]')
    assert second["s"][2] != first["s"][2]
    assert second["s"][4] == {"full/r/t": second["r"][2]}


def test_a_refused_commit_of_a_raw_table_leaves_its_views_and_their_rows(
    pipeline_database: sa.Engine,
) -> None:
    load_and_show(raw(b=[1, 1, 1]))
    before = catalog(pipeline_database)
    execute(pipeline_database, "CREATE VIEW public.on_view AS SELECT b FROM full_s.t")
    new = raw()
    error = refusal(new, selection=None)
    assert "iew public.on_view" in str(error)
    assert catalog(pipeline_database) == before
    assert rows(pipeline_database, "SELECT count(b) FROM full_s.t") == [(3,)]


def test_a_view_dropped_by_hand_gets_no_new_catalog_row(pipeline_database: sa.Engine) -> None:
    load_and_show(raw())
    before = catalog(pipeline_database)["s"]
    execute(pipeline_database, "DROP VIEW full_s.t")
    materialize(raw(a=[1, 2]))
    assert catalog(pipeline_database)["s"] == before
    load_and_show(raw(a=[1, 2]))
    assert rows(pipeline_database, "SELECT count(*) FROM full_s.t") == [(2,)]


def test_a_reference_through_a_view_knows_the_primary_key(pipeline_database: sa.Engine) -> None:
    keys = []

    def read(t: sa.Table) -> Any:
        keys.append(t.primary_key.columns.keys())
        return sa.select(t)

    source = raw()
    inputs = copy_filtered_inputs(stage="s", raw=[source])
    run(source, inputs, from_inputs("reader", read, "t"))
    assert keys == [["a"]]
