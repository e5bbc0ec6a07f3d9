"""What an asset depends on counts, also if it is not loaded, of another instance, or external."""

from collections.abc import Iterator
from typing import Any

import dagster as dg
import pandas as pd
import pytest
import sqlalchemy as sa

from data_pipeline import View
from data_pipeline.instances.partitions import INSTANCE_PARTITIONS, RAW_TO_SAMPLED
from data_pipeline.sources.fingerprints import (
    outside_input,
)
from data_pipeline_tests.memo.jobs import called
from data_pipeline_tests.memo.world import World, new_storage


def base(version: str) -> dg.AssetsDefinition:
    @dg.asset(key=["s", "a"], partitions_def=INSTANCE_PARTITIONS, code_version=version)
    def a() -> pd.DataFrame:
        called("a")
        return pd.DataFrame({"v": [version]})

    return a


def dependent(**settings: Any) -> dg.AssetsDefinition:
    @dg.asset(key=["s", "b"], partitions_def=INSTANCE_PARTITIONS, code_version="1", **settings)
    def b() -> pd.DataFrame:
        called("b")
        return pd.DataFrame({"v": [1]})

    return b


@pytest.mark.parametrize(
    "mapping",
    [None, RAW_TO_SAMPLED, dg.AllPartitionMapping()],
    ids=["own", "source", "all instances"],
)
def test_dependencies_that_are_not_loaded_count_on_their_instances(
    world: World, mapping: dg.PartitionMapping | None
) -> None:
    b = dependent(deps=[dg.AssetDep(["s", "a"], partition_mapping=mapping)])
    for name in ("full", "midi", "mini"):
        world.made(lambda: [base("1"), b], name)
    world.made(lambda: [base("1"), b], "mini")
    assert not world.calls
    world.made(lambda: [base("2"), b], "mini" if mapping is None else "full")
    selection = [dg.AssetKey(["s", "b"])]
    world.made(lambda: [base("2"), b], "mini", selection=selection)
    assert world.calls["b"] == (0 if mapping is None else 1)
    assert world.made(lambda: [base("2"), b], "mini", selection=selection).steps == set()


def test_what_a_step_makes_of_its_own_results_is_up_to_date_afterwards(world: World) -> None:
    @dg.multi_asset(
        outs={name: dg.AssetOut(key=["s", name], code_version="1") for name in ("a", "b")},
        internal_asset_deps={"a": {dg.AssetKey(["t", "base"])}, "b": {dg.AssetKey(["s", "a"])}},
        ins={"base": dg.AssetIn(key=["t", "base"])},
        partitions_def=INSTANCE_PARTITIONS,
    )
    def both(base: pd.DataFrame) -> Iterator[dg.Output[Any]]:
        called("both")
        yield dg.Output(base, "a")
        yield dg.Output(View(sa.text("SELECT * FROM full_s.a")), "b")

    @dg.asset(key=["t", "base"], partitions_def=INSTANCE_PARTITIONS, code_version="1")
    def given() -> pd.DataFrame:
        return pd.DataFrame({"v": [1]})

    world.made(lambda: [given, both])
    assert world.calls == {"both": 1}
    assert world.made(lambda: [given, both]).steps == set()


@pytest.mark.parametrize("key", [["outside", "orders"], ["orders"], ["a", "b", "c"]])
def test_an_external_input_may_be_new_in_every_run(world: World, key: list[str]) -> None:
    b = dependent(deps=[dg.AssetSpec(key)])
    world.made(lambda: [b])
    world.made(lambda: [b])
    assert world.calls == {"b": 1}
    assert "has no version, and the asset declares no fingerprint" in world.last.log
    tags = {"dagster/partition": "full", "data_pipeline/cache_validation": "ignore_fresh_input"}
    other = new_storage()
    assert world.made(lambda: [b], tags=tags, storage=other).steps == set()


def test_a_fingerprint_speaks_for_an_external_input(world: World) -> None:
    state = {"orders": 1}
    b = dependent(
        deps=[dg.AssetSpec(["outside", "orders"])],
        metadata=outside_input(lambda: state["orders"]),
    )
    for orders, calls in ((1, 1), (1, 0), (2, 1)):
        state["orders"] = orders
        world.made(lambda: [b])
        assert world.calls["b"] == calls


def test_a_catalog_of_an_older_version_leads_to_a_new_computation(
    world: World, pipeline_database: sa.Engine
) -> None:
    world.run()
    for columns in (["query_key", "identity"], ["code_parts", "inputs", "properties"]):
        dropped = ", ".join(f"DROP COLUMN {name}" for name in columns)
        with pipeline_database.begin() as connection:
            connection.execute(sa.text(f"ALTER TABLE full_catalog.tables {dropped}"))
            connection.execute(sa.text("DROP TABLE full_catalog.version"))
        assert world.run().success
        assert world.run().steps == set()
