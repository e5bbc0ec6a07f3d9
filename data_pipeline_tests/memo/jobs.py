"""Jobs for Dagster to find by name, in this process or in another one.

What the assets of the job `changing` do, a test says in a file (see `world.py`). Dagster remembers
a job by its arguments, so each run of a test names another generation.
"""

import json
import os
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd

from data_pipeline import sql_query, table_properties
from data_pipeline.assembly import instance_definitions
from data_pipeline.instances.partitions import INSTANCE_PARTITIONS
from data_pipeline.memo.sources import outside_input
from data_pipeline.pipelines.quickstart import assets as quickstart
from data_pipeline.sampling import copy_filtered_inputs

STATE = "TEST_STATE"


def in_process(name: str, _generation: str) -> dg.JobDefinition:
    return instance_definitions(quickstart).resolve_job_def(name)


def multiprocess(name: str, _generation: str) -> dg.JobDefinition:
    definitions = instance_definitions(quickstart, executor=dg.multiprocess_executor)
    return definitions.resolve_job_def(name)


def changing(name: str, _generation: str) -> dg.JobDefinition:
    return instance_definitions(changing_assets()).resolve_job_def(name)


def changing_by_processes(name: str, _generation: str) -> dg.JobDefinition:
    definitions = instance_definitions(changing_assets(), executor=dg.multiprocess_executor)
    return definitions.resolve_job_def(name)


def mailing(name: str, _generation: str) -> dg.JobDefinition:
    return instance_definitions(mailing_assets()).resolve_job_def(name)


def mailing_by_processes(name: str, _generation: str) -> dg.JobDefinition:
    definitions = instance_definitions(mailing_assets(), executor=dg.multiprocess_executor)
    return definitions.resolve_job_def(name)


def kept_by_files(name: str, _generation: str) -> dg.JobDefinition:
    definitions = instance_definitions(
        keeping_assets(),
        executor=dg.multiprocess_executor,
        resources={"files": dg.FilesystemIOManager(base_dir=state()["folder"])},
    )
    return definitions.resolve_job_def(name)


def optional_by_processes(name: str, _generation: str) -> dg.JobDefinition:
    definitions = instance_definitions(optional_assets(), executor=dg.multiprocess_executor)
    return definitions.resolve_job_def(name)


MADE: list[Callable[[], list[Any]]] = []
"""What gives the assets, checks and resources (by name) of the job `made`: the last one."""


def made(name: str, _generation: str) -> dg.JobDefinition:
    return definitions(MADE[-1]()).resolve_job_def(name)


def definitions(things: list[Any]) -> dg.Definitions:
    """Gives definitions of assets, checks and resources (by name)."""
    assets = [item for item in things if type(item) is dg.AssetsDefinition]
    checks = [item for item in things if isinstance(item, dg.AssetChecksDefinition)]
    resources = {k: v for item in things if isinstance(item, dict) for k, v in item.items()}
    return instance_definitions(assets, asset_checks=checks, resources=resources)


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
