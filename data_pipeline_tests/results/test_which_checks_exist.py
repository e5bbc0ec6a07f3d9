"""The checks follow from what assets declare: one step a stage, none for blobs."""

import dagster as dg
import pandas as pd
import sqlalchemy as sa

from data_pipeline import ForeignKey, table_properties
from data_pipeline.instances.partitions import INSTANCE_PARTITIONS
from data_pipeline.pipelines import quickstart
from data_pipeline.sampling.checks import table_checks
from data_pipeline_tests.results.shop import raw_tables, sampled


def names(assets: list[dg.AssetsDefinition]) -> dict[str, list[str]]:
    """Names the checks, by step."""
    return {
        checks.node_def.name: sorted(key.to_user_string() for key in checks.check_keys)
        for checks in table_checks(assets)
    }


def test_keys_and_relationships_are_checked_where_they_are_declared() -> None:
    raw = raw_tables()
    assert names([*raw, sampled(raw)]) == {
        f"{stage}__asset_checks": [
            f"{stage}/customers:primary_key",
            f"{stage}/customers:row_count",
            f"{stage}/orders:primary_key",
            f"{stage}/orders:relationships",
            f"{stage}/orders:row_count",
        ]
        for stage in ("shop_raw", "shop")
    }


def test_every_table_has_its_rows_counted() -> None:
    assert names(quickstart.assets) == {
        "raw__asset_checks": ["raw/dfa:row_count", "raw/dfb:row_count"],
        "stage_1__asset_checks": [f"stage_1/{name}:row_count" for name in ("a2", "dfa", "dfb")],
        "stage_2__asset_checks": [f"stage_2/{name}:row_count" for name in ("a3", "b2")],
    }


def test_blobs_have_no_checks() -> None:
    @dg.asset(key=["report", "model"], partitions_def=INSTANCE_PARTITIONS)
    def model() -> dict[str, float]:
        return {}

    @dg.asset(key=["report", "anything"], partitions_def=INSTANCE_PARTITIONS)
    def anything():  # type: ignore[no-untyped-def] # says nothing of what it returns
        return None

    @dg.asset(key=["report", "nothing"], partitions_def=INSTANCE_PARTITIONS)
    def nothing() -> None: ...

    @dg.asset(key=["report", "totals"], partitions_def=INSTANCE_PARTITIONS)
    def totals() -> sa.TextClause:
        return sa.text("SELECT 1 AS n")

    assert names([model, anything, nothing, totals]) == {
        "report__asset_checks": ["report/totals:row_count"]
    }


def test_a_check_waits_for_the_table_of_another_stage_that_it_looks_into() -> None:
    @dg.asset(
        key=["report", "best"],
        partitions_def=INSTANCE_PARTITIONS,
        metadata=table_properties(foreign_keys=[ForeignKey(["id"], references="shop/customers")]),
    )
    def best() -> pd.DataFrame:
        return pd.DataFrame({"id": [1]})

    (checks,) = [
        item
        for item in table_checks([sampled(raw_tables()), best])
        if item.node_def.name == "report__asset_checks"
    ]
    assert dg.AssetKey(["shop", "customers"]) in checks.keys_by_input_name.values()
