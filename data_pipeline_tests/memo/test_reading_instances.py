"""One asset reads a table of several instances: to compare them is what people come for."""

from collections.abc import Callable
from typing import Any

import dagster as dg
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import sqlalchemy as sa

from data_pipeline import instance_resources
from data_pipeline.instances.partitions import INSTANCE_PARTITIONS
from data_pipeline_tests.io_manager.runs import rows
from data_pipeline_tests.memo.jobs import called
from data_pipeline_tests.memo.stages import asset, constant
from data_pipeline_tests.memo.world import World

SOME = dg.SpecificPartitionsPartitionMapping(["full", "midi"])
ALL = dg.AllPartitionMapping()
BESIDE_FULL = dg.StaticPartitionMapping(
    {"full": ["full", "midi", "mini"], "midi": "midi", "mini": "mini"}
)
COUNTS: dict[Any, Callable[[Any], int]] = {
    pd.DataFrame: len,
    pl.DataFrame: len,
    pl.LazyFrame: lambda frame: frame.collect().height,
    pa.Table: lambda table: table.num_rows,
    sa.Table: lambda table: len(table.columns),
}


def comparing(
    kind: Any, mapping: dg.PartitionMapping | None, *, key: str = "t/compared"
) -> dg.AssetsDefinition:
    """Gives an asset that tells which instances of `s/a` it was given."""

    def compared(a):  # type: ignore[no-untyped-def]
        called("compared")
        count = COUNTS[kind or sa.Table]
        return pd.DataFrame({"name": list(a), "n": [count(table) for table in a.values()]})

    if kind is not None:
        compared.__annotations__["a"] = dict[str, kind]
    return dg.asset(
        key=key.split("/"),
        ins={"a": dg.AssetIn(["s", "a"], partition_mapping=mapping)},
        partitions_def=INSTANCE_PARTITIONS,
        code_version="1",
    )(compared)


def compared(engine: sa.Engine, on: str) -> list[Any]:
    return sorted(rows(engine, f"SELECT name, n FROM {on}_t.compared"))


@pytest.mark.parametrize("kind", [*COUNTS, None])
def test_it_gets_them_by_name(world: World, pipeline_database: sa.Engine, kind: Any) -> None:
    things = [constant("s/a", 1), comparing(kind, ALL)]
    for name in ("full", "midi", "mini"):
        assert world.made(lambda: [constant("s/a", 1)], name).success
    assert world.made(lambda: things, "mini").success
    assert compared(pipeline_database, "mini") == [("full", 1), ("midi", 1), ("mini", 1)]
    assert world.made(lambda: things, "mini").steps == set()


@pytest.mark.parametrize(
    ("mapping", "on", "expected"),
    [
        (SOME, "mini", ["full", "midi"]),
        (BESIDE_FULL, "mini", ["full", "mini"]),
        (BESIDE_FULL, "full", ["full"]),
        (None, "mini", ["mini"]),
    ],
)
def test_it_gets_those_of_its_mapping(
    world: World,
    pipeline_database: sa.Engine,
    mapping: dg.PartitionMapping | None,
    on: str,
    expected: list[str],
) -> None:
    things = [constant("s/a", 1), comparing(pd.DataFrame, mapping)]
    for name in ("full", "midi", "mini"):
        assert world.made(lambda: [constant("s/a", 1)], name).success
    assert world.made(lambda: things, on).success
    assert compared(pipeline_database, on) == [(name, 1) for name in expected]


def test_it_runs_again_when_one_of_them_has_new_data(world: World) -> None:
    def steps(on: str, value: int) -> set[str]:
        things = [constant("s/a", value), comparing(pd.DataFrame, BESIDE_FULL)]
        return world.made(lambda: things, on).steps

    assert steps("full", 1) == steps("mini", 1) == {"s__a", "t__compared"}
    assert steps("mini", 1) == set()
    assert steps("full", 2) == {"s__a", "t__compared"}
    assert steps("mini", 1) == {"t__compared"}
    assert steps("mini", 1) == set()
    assert steps("midi", 1) == {"s__a", "t__compared"}
    assert steps("mini", 1) == set()


def test_blobs_come_by_name_too(world: World) -> None:
    seen: list[Any] = []

    def see(model: dict[str, Any]) -> None:
        seen.append(model)

    def things(mapping: dg.PartitionMapping) -> list[Any]:
        seeing = asset("s/see", see, version=str(mapping))
        ins = {"model": dg.AssetIn(["s", "model"], partition_mapping=mapping)}
        seeing = dg.asset(key=["s", "see"], ins=ins, partitions_def=INSTANCE_PARTITIONS)(see)
        return [asset("s/model", lambda: {"w": 1}), seeing]

    for name in ("full", "midi", "mini"):
        assert world.made(lambda: things(ALL)[:1], name).success
    assert world.made(lambda: things(ALL)).success
    assert world.made(lambda: things(dg.IdentityPartitionMapping())).success
    assert seen == [{name: {"w": 1} for name in ("full", "midi", "mini")}, {"w": 1}]


def test_who_takes_one_and_reads_several_is_told(world: World) -> None:
    def see(a: pd.DataFrame) -> None:
        pass

    ins = {"a": dg.AssetIn(["s", "a"], partition_mapping=ALL)}
    seeing = dg.asset(key=["s", "see"], ins=ins, partitions_def=INSTANCE_PARTITIONS)(see)
    run = world.made(lambda: [constant("s/a", 1), seeing])
    [error] = [e.step_failure_data.error for e in run.events if e.is_step_failure]
    assert "Input `a` (`s/a`) reads those of instances `full`, `midi`, `mini`" in str(error)
    assert "dict[str, pd.DataFrame]" in str(error)


def test_an_unpartitioned_reader_gets_all(world: World) -> None:
    world.save()
    a = constant("s/a", 1)
    seen: list[list[str]] = []

    @dg.asset(ins={"a": dg.AssetIn(["s", "a"])})
    def overview(a: dict[str, pd.DataFrame]) -> None:
        seen.append(sorted(a))

    for name in ("full", "midi", "mini"):
        dg.materialize([a], partition_key=name, resources=instance_resources(name))
    assert dg.materialize(
        [a, overview], selection=[overview], resources=instance_resources()
    ).success
    assert seen == [["full", "midi", "mini"]]
