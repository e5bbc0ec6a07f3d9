"""Graph assets of every kind, for runs in one process and in several (`test_graph_assets.py`)."""

import functools
from collections.abc import Iterator
from typing import Any

import dagster as dg
import pandas as pd
import polars as pl
import sqlalchemy as sa

from data_pipeline import InstanceResource
from data_pipeline.assembly import instance_definitions
from data_pipeline.instances.partitions import INSTANCE_PARTITIONS
from data_pipeline_tests.memo.jobs import called, state


@functools.lru_cache(maxsize=1)
def in_process(name: str, _generation: str) -> dg.JobDefinition:
    return definitions().resolve_job_def(name)


@functools.lru_cache(maxsize=1)
def by_processes(name: str, _generation: str) -> dg.JobDefinition:
    found = instance_definitions([fanned, handed_on], executor=dg.multiprocess_executor)
    return found.resolve_job_def(name)


def definitions() -> dg.Definitions:
    assets = [fanned, handed_on, nested, of_tables, behind, numbers]
    return instance_definitions(assets, jobs=[ops_alone, ops_of_an_instance])


@dg.op(out=dg.DynamicOut())
def files(context: dg.OpExecutionContext) -> Iterator[dg.DynamicOutput[int]]:
    called("files")
    for number in range(state().get("files", 3)):
        yield dg.DynamicOutput(number, mapping_key=f"f{number}")


class Factor(dg.Config):
    factor: int = 1


@dg.op(retry_policy=dg.RetryPolicy(max_retries=1))
def load(context: dg.OpExecutionContext, n: int, config: Factor) -> pd.DataFrame:
    called("load")
    if n == 0 and context.retry_number == 0:
        raise ValueError("not at once")
    return pd.DataFrame({"n": [n, n * 10 * config.factor]})


@dg.op
def concat(parts: list[pd.DataFrame]) -> pd.DataFrame:
    called("concat")
    return pd.concat(parts)


@dg.graph_asset(key=["s", "fanned"], partitions_def=INSTANCE_PARTITIONS)
def fanned() -> Any:
    return concat(files().map(load).collect())


@dg.op(out={"x": dg.Out(), "y": dg.Out()})
def two() -> tuple[pd.DataFrame, dict[str, int]]:
    called("two")
    return pd.DataFrame({"x": [1]}), {"y": state()["source"]}


@dg.op
def as_it_is(frame: Any, blob: Any) -> Any:
    called("as_it_is")
    assert isinstance(frame, pd.DataFrame)
    frame["x"] += blob["y"]  # each op has values of its own
    return frame


@dg.op
def of_its_table(frame: pl.DataFrame, table: sa.Table) -> Any:
    called("of_its_table")
    assert frame.columns == ["x"]
    return sa.select(table)


@dg.graph_multi_asset(
    outs={name: dg.AssetOut(key=["s", name]) for name in ("x", "y", "z", "read")},
    partitions_def=INSTANCE_PARTITIONS,
)
def handed_on() -> Any:
    x, y = two()
    z = as_it_is(x, y)
    return {"x": x, "y": y, "z": z, "read": of_its_table(x, z)}


@dg.op
def nothing() -> None:
    called("nothing")


@dg.op(ins={"before": dg.In(dg.Nothing)})
def after_all(value: Any, instance: InstanceResource) -> pd.DataFrame:
    called("after_all")
    assert value is None
    return pd.DataFrame({"on": [instance.current.name]})


@dg.op(out=dg.Out(dg.Nothing))
def done() -> None:
    called("done")


@dg.graph
def inner(value):  # type: ignore[no-untyped-def]
    return after_all(value, before=done())


@dg.graph_asset(key=["s", "nested"], partitions_def=INSTANCE_PARTITIONS)
def nested() -> Any:
    return inner(nothing())


@dg.asset(key=["s", "numbers"], partitions_def=INSTANCE_PARTITIONS)
def numbers() -> pd.DataFrame:
    return pd.DataFrame({"n": [1, 2, state()["source"]]})


@dg.op
def total(numbers: pd.DataFrame) -> int:
    called("total")
    return int(numbers["n"].sum())


@dg.op
def times(table: sa.Table, total: int) -> Any:
    called("times")
    return sa.select(table.c.n * total).add_columns(sa.literal(1).label("one"))


@dg.graph_asset(
    key=["s", "of_tables"],
    ins={"numbers": dg.AssetIn(key=["s", "numbers"])},
    partitions_def=INSTANCE_PARTITIONS,
)
def of_tables(numbers: Any) -> Any:
    return times(numbers, total(numbers))


@dg.asset(
    key=["s", "behind"],
    ins={"fanned": dg.AssetIn(key=["s", "fanned"])},
    partitions_def=INSTANCE_PARTITIONS,
)
def behind(fanned: pd.DataFrame) -> pd.DataFrame:
    called("behind")
    return fanned * 2


@dg.op
def summed(parts: list[pd.DataFrame], scale: int) -> int:
    return int(sum(part["n"].sum() for part in parts)) * scale


@dg.op
def noted(value: int) -> int:
    called(f"noted_{value}")
    return value


@dg.op
def function() -> Any:
    return lambda n: n + 1


@dg.op
def apply(function: Any) -> int:
    called(f"applied_{function(1)}")
    return function(1)


@dg.job
def ops_alone() -> None:
    noted(summed(files().map(load).collect()))


@dg.job(partitions_def=INSTANCE_PARTITIONS)
def ops_of_an_instance() -> None:
    noted(summed(files().map(load).collect()))
    after_all(nothing(), before=done())


@dg.op
def breaking(value: int) -> int:
    called("breaking")
    if state()["source"] == 1:
        raise ValueError("broken")
    return value


@dg.graph_asset(key=["s", "resumed"], partitions_def=INSTANCE_PARTITIONS)
def resumed() -> Any:
    return breaking(noted(summed(files().map(load).collect())))


@functools.lru_cache(maxsize=1)
def breaking_in_process(name: str, _generation: str) -> dg.JobDefinition:
    return instance_definitions([resumed]).resolve_job_def(name)


@dg.graph_asset(key=["s", "unpicklable"], partitions_def=INSTANCE_PARTITIONS)
def unpicklable() -> Any:
    return apply(function())


@functools.lru_cache(maxsize=1)
def unpicklable_in_process(name: str, _generation: str) -> dg.JobDefinition:
    return instance_definitions([unpicklable]).resolve_job_def(name)


@functools.lru_cache(maxsize=1)
def unpicklable_by_processes(name: str, _generation: str) -> dg.JobDefinition:
    found = instance_definitions([unpicklable], executor=dg.multiprocess_executor)
    return found.resolve_job_def(name)
