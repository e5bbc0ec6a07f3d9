"""What workers of the tests import: pipelines, and the executor that their leader uses."""

import functools
import os
from collections.abc import Callable
from typing import Any

import dagster as dg
import pandas as pd
import sqlalchemy as sa

from data_pipeline import InstanceResource, Stage, outside_input, sql_query, table_checks
from data_pipeline.assembly import instance_definitions
from data_pipeline.instances.partitions import INSTANCE_PARTITIONS
from data_pipeline.pipelines.quickstart import assets as quickstart

BROKER = "TEST_BROKER"
SCHEDULER = "TEST_SCHEDULER"
VERSION = "1"
"""The version of `s/t` that a process has loaded; a test changes that of the leader."""


def celery() -> dg.ExecutorDefinition:
    from dagster_celery import celery_executor

    broker = os.environ[BROKER]
    config = {"broker": f"{broker}/0", "backend": f"{broker}/1"}
    return celery_executor.configured(config, name="by_celery")


def dask() -> dg.ExecutorDefinition:
    from dagster_dask import dask_executor

    cluster = {"existing": {"address": os.environ.get(SCHEDULER, "")}}
    return dask_executor.configured({"cluster": cluster}, name="by_dask")


def process_a_step() -> dg.ExecutorDefinition:
    from data_pipeline_tests.runs.workers.pods import pods

    return pods


EXECUTORS: dict[str, Callable[[], dg.ExecutorDefinition]] = {
    "celery": celery,
    "dask": dask,
    "pods": process_a_step,
}


@functools.lru_cache(maxsize=1)
def shipped(name: str, executor: str, _generation: str) -> dg.JobDefinition:
    checks = table_checks(quickstart)
    definitions = instance_definitions(
        quickstart, asset_checks=checks, executor=EXECUTORS[executor]()
    )
    return definitions.resolve_job_def(name)


@functools.lru_cache(maxsize=1)
def small(name: str, executor: str, _generation: str) -> dg.JobDefinition:
    definitions = instance_definitions(assets(), executor=EXECUTORS[executor]())
    return definitions.resolve_job_def(name)


@functools.lru_cache(maxsize=1)
def slow(name: str, executor: str, _generation: str) -> dg.JobDefinition:
    definitions = instance_definitions([sleeping()], executor=EXECUTORS[executor]())
    return definitions.resolve_job_def(name)


@functools.lru_cache(maxsize=1)
def failing(name: str, executor: str, _generation: str) -> dg.JobDefinition:
    @Stage("s").table
    def t() -> pd.DataFrame:
        raise OSError("no file of today")

    return instance_definitions([t], executor=EXECUTORS[executor]()).resolve_job_def(name)


@functools.lru_cache(maxsize=1)
def queued(name: str, executor: str, _generation: str) -> dg.JobDefinition:
    tags = {"dagster-celery/queue": "large"}

    @dg.asset(key=["s", "t"], partitions_def=INSTANCE_PARTITIONS, op_tags=tags)
    def t() -> pd.DataFrame:
        return pd.DataFrame({"v": [1]})

    return instance_definitions([t], executor=EXECUTORS[executor]()).resolve_job_def(name)


@functools.lru_cache(maxsize=1)
def growing(name: str, executor: str, _generation: str) -> dg.JobDefinition:
    definitions = instance_definitions(increments(), executor=EXECUTORS[executor]())
    return definitions.resolve_job_def(name)


@functools.lru_cache(maxsize=1)
def sliced(name: str, executor: str, _generation: str) -> dg.JobDefinition:
    made = slices()
    parts = dg.AssetSelection.assets(*made[:2])
    jobs = [
        dg.define_asset_job(f"day_{n}", parts, tags={"dagster/partition": f"2026-01-0{n}|full"})
        for n in (1, 2, 3)
    ]
    definitions = instance_definitions(made, jobs=jobs, executor=EXECUTORS[executor]())
    return definitions.resolve_job_def(name)


def slices() -> list[Any]:
    """Sales by day, turnover by day, and a total that notes which days it was told of."""
    days = dg.MultiPartitionsDefinition(
        {"instance": INSTANCE_PARTITIONS, "day": dg.DailyPartitionsDefinition("2026-01-01")}
    )
    options: dict[str, Any] = {"partitions_def": days, "code_version": "1"}

    @Stage("landing").table(source=lambda instance: instance.slice, **options)
    def sales(context: dg.AssetExecutionContext) -> pd.DataFrame:
        day = context.partition_time_window.start.date()
        return pd.DataFrame({"day": [day] * day.day})

    @Stage("daily", reads="landing").table(**options)
    def turnover(sales: sa.Table) -> sa.TextClause:
        return sql_query("SELECT day, count(*) AS sold FROM {sales} GROUP BY day", sales=sales)

    @Stage("total", reads="daily").table(code_version="1")
    def everything(turnover: pd.DataFrame, instance: InstanceResource) -> pd.DataFrame:
        told = str(instance.changed_slices("daily/turnover"))
        return pd.DataFrame({"sold": [int(turnover["sold"].sum())], "told": [told]})

    return [sales, turnover, everything]


def increments() -> list[Any]:
    """A table that is appended to, and one of sums of it that is merged into."""
    shop = Stage("shop")
    source = outside_input(_lines_there)

    @shop.table(primary_key="k", write="append", code_version="1", metadata=source)
    def lines(previous: sa.Table | None) -> Any:
        there = "false" if previous is None else "k <= (SELECT max(k) FROM {previous})"
        tables = {} if previous is None else {"previous": previous}
        return sql_query(f"SELECT * FROM public.lines WHERE NOT ({there})", **tables)

    @shop.table(primary_key="item", write="merge", code_version="1")
    def sums(lines: sa.Table, previous: sa.Table | None) -> Any:
        seen = "0" if previous is None else "(SELECT max(upto) FROM {previous})"
        tables = {"lines": lines} | ({} if previous is None else {"previous": previous})
        return sql_query(
            "SELECT item, sum(amount)::bigint AS amount, max(k) AS upto FROM {lines} "
            f"WHERE item IN (SELECT item FROM {{lines}} WHERE k > {seen}) GROUP BY item",
            **tables,
        )

    return [lines, sums]


def _lines_there() -> str:
    engine = sa.create_engine(os.environ["DATA_PIPELINE_DATABASE_URL"], poolclass=sa.NullPool)
    with engine.connect() as connection:
        return str(connection.scalar(sa.text("SELECT max(k) FROM public.lines")))


def assets() -> list[dg.AssetsDefinition]:
    options: dict[str, Any] = {"partitions_def": INSTANCE_PARTITIONS}

    @dg.asset(key=["s", "t"], code_version=VERSION, **options)
    def t() -> pd.DataFrame:
        return pd.DataFrame({"v": [int(VERSION)]})

    @dg.asset(key=["r", "model"], code_version="1", ins={"t": dg.AssetIn(["s", "t"])}, **options)
    def model(t: pd.DataFrame) -> Any:
        return {"v": int(t["v"].iloc[0])}

    @dg.asset(
        key=["r", "used"], code_version="1", ins={"model": dg.AssetIn(["r", "model"])}, **options
    )
    def used(model: Any) -> pd.DataFrame:
        return pd.DataFrame({"twice": [model["v"] * 2]})

    return [t, model, used]


def sleeping() -> dg.AssetsDefinition:
    @dg.asset(key=["s", "t"], code_version="1", partitions_def=INSTANCE_PARTITIONS)
    def t() -> sa.TextClause:
        return sql_query("SELECT pg_sleep(3600)::text AS v")

    return t
