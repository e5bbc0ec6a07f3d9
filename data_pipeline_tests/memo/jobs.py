"""Jobs for Dagster to find by name, in this process or in another one.

What the assets of the job `changing` do, a test says in a file (see `world.py`). Dagster remembers
a job by its arguments, so each run of a test names another generation. It asks for a job several
times in a run: each is built once, as the definitions of a user's module are.
"""

import functools
import json
import os
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd

from data_pipeline import (
    InstanceResource,
    Tables,
    instance_resources,
    memoised,
    sql_query,
    table_properties,
)
from data_pipeline.assembly import instance_definitions
from data_pipeline.instances.partitions import INSTANCE_PARTITIONS
from data_pipeline.pipelines.quickstart import assets as quickstart
from data_pipeline.sampling import copy_filtered_inputs
from data_pipeline.sources.fingerprints import (
    outside_input,
)
from data_pipeline_tests.launch import sliced

STATE = "TEST_STATE"


@functools.lru_cache(maxsize=1)
def in_process(name: str, _generation: str) -> dg.JobDefinition:
    return instance_definitions(quickstart).resolve_job_def(name)


@functools.lru_cache(maxsize=1)
def multiprocess(name: str, _generation: str) -> dg.JobDefinition:
    definitions = instance_definitions(quickstart, executor=dg.multiprocess_executor)
    return definitions.resolve_job_def(name)


@functools.lru_cache(maxsize=1)
def changing(name: str, _generation: str) -> dg.JobDefinition:
    return instance_definitions(changing_assets()).resolve_job_def(name)


@functools.lru_cache(maxsize=1)
def changing_by_processes(name: str, _generation: str) -> dg.JobDefinition:
    definitions = instance_definitions(changing_assets(), executor=dg.multiprocess_executor)
    return definitions.resolve_job_def(name)


@functools.lru_cache(maxsize=1)
def sliced_by_processes(name: str, _generation: str) -> dg.JobDefinition:
    definitions = instance_definitions(sliced.assets, executor=dg.multiprocess_executor)
    return definitions.resolve_job_def(name)


@functools.lru_cache(maxsize=1)
def mailing(name: str, _generation: str) -> dg.JobDefinition:
    return instance_definitions(mailing_assets()).resolve_job_def(name)


@functools.lru_cache(maxsize=1)
def mailing_by_processes(name: str, _generation: str) -> dg.JobDefinition:
    definitions = instance_definitions(mailing_assets(), executor=dg.multiprocess_executor)
    return definitions.resolve_job_def(name)


@functools.lru_cache(maxsize=1)
def kept_by_files(name: str, _generation: str) -> dg.JobDefinition:
    definitions = instance_definitions(
        keeping_assets(),
        executor=dg.multiprocess_executor,
        resources={"files": dg.FilesystemIOManager(base_dir=state()["folder"])},
    )
    return definitions.resolve_job_def(name)


@functools.lru_cache(maxsize=1)
def optional_by_processes(name: str, _generation: str) -> dg.JobDefinition:
    definitions = instance_definitions(optional_assets(), executor=dg.multiprocess_executor)
    return definitions.resolve_job_def(name)


MADE: list[Callable[[], list[Any]]] = []
"""What gives the assets, checks and resources (by name) of the job `made`: the last one."""


@functools.lru_cache(maxsize=1)
def made(name: str, _generation: str) -> dg.JobDefinition:
    return definitions(MADE[-1]()).resolve_job_def(name)


DEFINED: list[Callable[[], dg.Definitions]] = []
"""What gives the definitions of the job `defined`: the last one."""


@functools.lru_cache(maxsize=1)
def defined(name: str, _generation: str) -> dg.JobDefinition:
    return DEFINED[-1]().resolve_job_def(name)


def definitions(things: list[Any]) -> dg.Definitions:
    """Gives definitions of assets, checks and resources (by name)."""
    kinds = (dg.AssetsDefinition, dg.AssetSpec, dg.SourceAsset)
    assets = [item for item in things if type(item) in kinds]
    checks = [item for item in things if isinstance(item, dg.AssetChecksDefinition)]
    resources = {k: v for item in things if isinstance(item, dict) for k, v in item.items()}
    return instance_definitions(assets, asset_checks=checks, resources=resources)


@functools.lru_cache(maxsize=1)
def with_resources(name: str, _generation: str) -> dg.JobDefinition:
    """Runs in other processes, with resources that the environment and the test configure."""
    executor = dg.multiprocess_executor
    resources = {
        "settings": Settings(
            factor=dg.EnvVar.int("TEST_FACTOR"), inner=Inner.configure_at_launch()
        ),
        "table": Changed(state()["factor"]),
    }
    resources["inner"] = resources["settings"].inner
    definitions = instance_definitions([resourceful], executor=executor, resources=resources)
    return definitions.resolve_job_def(name)


class Inner(dg.ConfigurableResource):
    offset: int = 0


class Settings(dg.ConfigurableResource):
    factor: int
    inner: dg.ResourceDependency[Inner]


@dataclass
class Changed:
    """What an asset changes while it runs."""

    value: int


@dg.asset(key=["s", "a"], partitions_def=INSTANCE_PARTITIONS, code_version="1")
def resourceful(settings: Settings, table: dg.ResourceParam[Changed]) -> pd.DataFrame:
    called("a")
    table.value += 1
    return pd.DataFrame({"v": [settings.factor + settings.inner.offset]})


def state() -> dict[str, Any]:
    return json.loads(Path(os.environ[STATE]).read_text())


def called(name: str) -> None:
    """Notes that an asset's code was called."""
    with Path(os.environ[STATE] + ".calls").open("a") as file:
        file.write(name + "\n")


def fingerprint() -> Any:
    kind = state()["fingerprint"]
    if kind == "random":
        return uuid.uuid4().hex
    return object() if kind == "unstable" else state()["source"]


def changing_assets() -> list[dg.AssetsDefinition]:
    """Gives `raw/t` -> `stage_1/t` -> `stage_1/b` -> `stage_2/c`, and `stage_2/query` of `b`."""
    world = state()
    versions = world["versions"]
    declared = fingerprint if world["fingerprint"] else None
    source = outside_input(declared, allow_fresh_input=world["allow_fresh_input"])

    @dg.asset(
        key=["raw", "t"],
        partitions_def=INSTANCE_PARTITIONS,
        code_version=versions["t"],
        metadata={**source, **table_properties(primary_key="k")},
    )
    def t() -> pd.DataFrame:
        called("t")
        return pd.DataFrame({"k": [1, 2, 3], "v": [state()["source"]] * 3})

    @dg.asset(
        key=["stage_1", "b"],
        ins={"t": dg.AssetIn(key=["stage_1", "t"])},
        partitions_def=INSTANCE_PARTITIONS,
        code_version=versions["b"],
        metadata=table_properties(**world["properties"]),
    )
    def b(t: pd.DataFrame) -> pd.DataFrame:
        called("b")
        return t.assign(v=t["v"] * state()["factor"])

    @dg.asset(
        key=["stage_2", "c"],
        ins={"b": dg.AssetIn(key=["stage_1", "b"])},
        partitions_def=INSTANCE_PARTITIONS,
        code_version=versions["c"],
    )
    def c(b: pd.DataFrame) -> Any:
        called("c")
        total = {"sum": int(b["v"].sum())}
        return pd.DataFrame([total]) if versions["c"] == "table" else total

    @dg.asset(
        key=["stage_2", "query"],
        ins={"b": dg.AssetIn(key=["stage_1", "b"])},
        partitions_def=INSTANCE_PARTITIONS,
        code_version=versions["query"],
    )
    def query(b: Any) -> Any:
        called("query")
        return sql_query(state()["sql"], b=b)

    return [t, copy_filtered_inputs(stage="stage_1", raw=[t]), b, c, query]


@functools.lru_cache(maxsize=1)
def led_by_nobody(name: str, _generation: str) -> dg.JobDefinition:
    """Gives `job`, of `s/a` and `s/b`, and `one`, of the first: plain Dagster with processes.

    With `memoised ` before its name, nothing is partitioned: no run says for which instance it is.
    """
    job = name.removeprefix("memoised ")
    plain = job == name
    options = {"partitions_def": INSTANCE_PARTITIONS} if plain else {}

    def table() -> pd.DataFrame:
        return pd.DataFrame({"v": [1]})

    assets = [dg.asset(key=["s", item], **options)(table) for item in ("a", "b")]
    one = dg.define_asset_job("one", dg.AssetSelection.assets(["s", "a"]))
    definitions = dg.Definitions(
        assets,
        jobs=[dg.define_asset_job("job"), one],
        executor=dg.multiprocess_executor if plain else memoised(dg.multiprocess_executor),
        resources=instance_resources() if plain else instance_resources("full"),
    )
    return definitions.resolve_job_def(job)


def mailing_assets() -> list[dg.AssetsDefinition]:
    """Gives `s/t` -> `s/mail` -> `t/archive` -> `t/report`: a table, two of nothing, and a table.

    Their code versions are the state's; the mail is sent in the second attempt.
    """
    versions = state()["versions"]

    def item(key: str, *deps: str, **options: Any) -> Callable[[Any], dg.AssetsDefinition]:
        name = key.split("/")[1]
        return dg.asset(
            key=key.split("/"),
            deps=[dg.AssetKey(dep.split("/")) for dep in deps],
            partitions_def=INSTANCE_PARTITIONS,
            code_version=versions.get(name, "1"),
            **options,
        )

    @item("s/t")
    def t() -> pd.DataFrame:
        called("t")
        return pd.DataFrame({"v": [state()["source"]]})

    @item("s/mail", "s/t", retry_policy=dg.RetryPolicy(max_retries=1))
    def mail(context: dg.AssetExecutionContext) -> None:
        if not context.retry_number:
            raise ValueError("the mail server is busy")
        called("mail")

    @item("t/archive", "s/mail")
    def archive() -> dg.MaterializeResult:
        called("archive")
        return dg.MaterializeResult(metadata={"mails": 1})

    @item("t/report", "t/archive")
    def report() -> pd.DataFrame:
        called("report")
        return pd.DataFrame({"v": [1]})

    return [t, mail, archive, report]


def keeping_assets() -> list[dg.AssetsDefinition]:
    """Gives `s/model`, which the IO manager `files` keeps -> `s/score`, a table."""
    options: dict[str, Any] = {"partitions_def": INSTANCE_PARTITIONS, "code_version": "1"}

    @dg.asset(key=["s", "model"], io_manager_key="files", **options)
    def model() -> dict[str, int]:
        called("model")
        return {"weight": 2}

    @dg.asset(key=["s", "score"], ins={"model": dg.AssetIn(["s", "model"])}, **options)
    def score(model: dict[str, int]) -> pd.DataFrame:
        called("score")
        return pd.DataFrame({"v": [model["weight"]]})

    return [model, score]


def optional_assets() -> list[dg.AssetsDefinition]:
    """Gives a step that makes some of `s/x` and `s/y` -> `s/copy` (of `y`) -> `t/more`."""
    made, version = state()["made"], state()["versions"]["some"]
    options: dict[str, Any] = {"partitions_def": INSTANCE_PARTITIONS}

    @dg.multi_asset(
        outs={
            name: dg.AssetOut(key=["s", name], code_version=version, is_required=False)
            for name in ("x", "y")
        },
        **options,
    )
    def some() -> Any:
        called("some")
        for name in made:
            yield dg.Output(pd.DataFrame({"v": [name]}), name)

    @dg.asset(key=["s", "copy"], ins={"y": dg.AssetIn(["s", "y"])}, code_version="1", **options)
    def copy(y: pd.DataFrame) -> pd.DataFrame:
        called("copy")
        return y

    @dg.asset(
        key=["t", "more"], ins={"copy": dg.AssetIn(["s", "copy"])}, code_version="1", **options
    )
    def more(copy: pd.DataFrame) -> pd.DataFrame:
        called("more")
        return copy

    return [some, copy, more]


@functools.lru_cache(maxsize=1)
def several_by_processes(name: str, _generation: str) -> dg.JobDefinition:
    definitions = instance_definitions(several_assets(), executor=dg.multiprocess_executor)
    return definitions.resolve_job_def(name)


@functools.lru_cache(maxsize=1)
def comparing_by_processes(name: str, _generation: str) -> dg.JobDefinition:
    definitions = instance_definitions(comparing_assets(), executor=dg.multiprocess_executor)
    return definitions.resolve_job_def(name)


def comparing_assets() -> list[dg.AssetsDefinition]:
    """Gives `s/a`, of the state's value -> `t/compared`, which reads full's beside its own."""
    value = state()["source"]
    options: dict[str, Any] = {"partitions_def": INSTANCE_PARTITIONS}

    @dg.asset(key=["s", "a"], code_version=str(value), **options)
    def a() -> pd.DataFrame:
        return pd.DataFrame({"v": [value]})

    @dg.asset(key=["t", "compared"], ins={"a": dg.AssetIn(["s", "a"])}, code_version="1", **options)
    def compared(a: pd.DataFrame, instance: InstanceResource) -> pd.DataFrame:
        return a.assign(of_full=instance.read("s/a", pd.DataFrame, of="full")["v"])

    return [a, compared]


def several_assets() -> list[dg.AssetsDefinition]:
    """Gives `s/parts`, with the tables that the state names -> `t/total`, of all of them."""
    names = state()["names"]
    options: dict[str, Any] = {"partitions_def": INSTANCE_PARTITIONS}

    @dg.asset(key=["s", "parts"], code_version=repr(names), **options)
    def parts() -> Tables:
        called("parts")
        return Tables({name: pd.DataFrame({"v": [value]}) for name, value in names.items()})

    @dg.asset(
        key=["t", "total"], ins={"parts": dg.AssetIn(["s", "parts"])}, code_version="1", **options
    )
    def total(parts: dict[str, pd.DataFrame]) -> pd.DataFrame:
        called("total")
        return pd.DataFrame({"name": list(parts), "v": [int(p["v"].sum()) for p in parts.values()]})

    return [parts, total]
