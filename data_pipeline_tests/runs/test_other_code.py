"""A process that has loaded other code or settings than the run was started with refuses its steps.

Another process is played by this one: with definitions and an environment of its own.
"""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import dagster as dg
import pandas as pd
import pytest
import sqlalchemy as sa
from dagster._core.definitions.job_base import InMemoryJob
from dagster._core.execution.api import execute_plan_iterator

from data_pipeline import InstanceResource, View
from data_pipeline.assembly import instance_definitions
from data_pipeline.dagster_internals import Executor, RetryMode, create_execution_plan
from data_pipeline.instances.partitions import INSTANCE_PARTITIONS
from data_pipeline.runs.step_process import LEADER
from data_pipeline_tests.io_manager.runs import rows
from data_pipeline_tests.memo import jobs
from data_pipeline_tests.memo.world import Run, new_storage

ON_INSTANCES: dict[str, Any] = {"partitions_def": INSTANCE_PARTITIONS}
Things = Callable[[str], list[Any]]
"""What gives assets, checks and resources of a state of the code."""


class Worker(Executor):
    """Executes each step as a process would that has loaded the code in another state."""

    retries = RetryMode.DISABLED

    def __init__(self, things: Things, state: str, environment: dict[str, str]) -> None:
        self._things, self._state, self._environment = things, state, {**environment, LEADER: ""}

    def execute(self, plan_context: Any, execution_plan: Any) -> Iterator[dg.DagsterEvent]:
        assert plan_context.executor is self
        for step in execution_plan.get_all_steps_in_topo_order():
            if step.key in execution_plan.step_keys_to_execute:
                with mock.patch.dict(os.environ, self._environment):
                    yield from self._execute(step.key, plan_context)

    def _execute(self, key: str, plan_context: Any) -> Iterator[dg.DagsterEvent]:
        definitions = defined(self._things(self._state), dg.multiprocess_executor)
        job = InMemoryJob(definitions.resolve_job_def(plan_context.job_name))
        config, run = plan_context.run_config, plan_context.dagster_run
        plan = create_execution_plan(job, config, step_keys_to_execute=[key])
        yield from execute_plan_iterator(plan, job, run, plan_context.instance, run_config=config)


def defined(things: list[Any], executor: dg.ExecutorDefinition) -> dg.Definitions:
    checks = [item for item in things if isinstance(item, dg.AssetChecksDefinition)]
    resources = {k: v for item in things if isinstance(item, dict) for k, v in item.items()}
    assets = [item for item in things if item not in checks and not isinstance(item, dict)]
    return instance_definitions(assets, asset_checks=checks, resources=resources, executor=executor)


def run(things: Things, *, worker: str = "1", **environment: str) -> Run:
    """Runs assets in state 1, with a worker that has loaded them in another state."""

    @dg.executor
    def workers(_: dg.InitExecutorContext) -> Worker:
        return Worker(things, worker, environment)

    jobs.DEFINED.append(lambda: defined(things("1"), workers))
    return Run(new_storage(), "defined", "full")


def table(state: str) -> list[Any]:
    @dg.asset(key=["s", "t"], code_version=state, **ON_INSTANCES)
    def t() -> pd.DataFrame:
        return pd.DataFrame({"v": [int(state)]})

    return [t]


def view(state: str) -> list[Any]:
    @dg.asset(key=["s", "v"], code_version=state, ins={"t": dg.AssetIn(["s", "t"])}, **ON_INSTANCES)
    def v(t: sa.Table) -> View:
        return View(sa.select(t.c.v + int(state)))

    return [*table("1"), v]


def blob(state: str) -> list[Any]:
    @dg.asset(key=["s", "t"], code_version=state, **ON_INSTANCES)
    def t() -> Any:
        return {"v": state}

    return [t]


def several(state: str) -> list[Any]:
    outs = {
        name: dg.AssetOut(key=["s", name], code_version=state if name == "b" else "1")
        for name in ("a", "b")
    }

    @dg.multi_asset(outs=outs, **ON_INSTANCES)
    def both():
        return pd.DataFrame({"v": [1]}), pd.DataFrame({"v": [int(state)]})

    return [both]


def ops(state: str) -> list[Any]:
    @dg.op(code_version=state)
    def value() -> int:
        return 1

    @dg.op
    def frame(value: int) -> pd.DataFrame:
        return pd.DataFrame({"v": [value]})

    @dg.graph_asset(key=["s", "t"], **ON_INSTANCES)
    def t() -> Any:
        return frame(value())

    return [t]


def checked(state: str) -> list[Any]:
    limit = int(state)

    @dg.asset_check(asset=["s", "t"], name="few")
    def few(t: pd.DataFrame) -> dg.AssetCheckResult:
        return dg.AssetCheckResult(passed=len(t) <= limit)

    return [*table("1"), few]


class Factor(dg.ConfigurableResource):
    factor: int


def resourceful(_: str) -> list[Any]:
    @dg.asset(key=["s", "t"], code_version="1", **ON_INSTANCES)
    def t(factor: Factor) -> pd.DataFrame:
        return pd.DataFrame({"v": [factor.factor]})

    return [t, {"factor": Factor(factor=dg.EnvVar.int("TEST_FACTOR"))}]


def attributed(_: str) -> list[Any]:
    @dg.asset(key=["s", "t"], code_version="1", **ON_INSTANCES)
    def t(instance: InstanceResource) -> pd.DataFrame:
        return pd.DataFrame({"v": [instance.attrs["factor"]]})

    return [t]


def computed(state: str) -> list[Any]:
    factor = int(state)

    @dg.asset(key=["s", "t"], **ON_INSTANCES)
    def t() -> pd.DataFrame:
        return pd.DataFrame({"v": [factor]})

    return [t]


@pytest.mark.parametrize("things", [table, view, blob, several, ops, checked, computed])
def test_a_worker_with_other_code_refuses(pipeline_database: sa.Engine, things: Things) -> None:
    refused = run(things, worker="2")
    assert not refused.success
    assert "Restart this worker, or deploy the image of the run to it" in refused.failure
    assert "(code of" in refused.failure
    assert run(things).success


def test_what_others_have_committed_stays(pipeline_database: sa.Engine) -> None:
    assert run(table).success
    assert not run(lambda state: table(str(int(state) + 1)), worker="0").success
    assert rows(pipeline_database, "SELECT v FROM full_s.t") == [(1,)]


def test_a_worker_with_other_resources_refuses(
    pipeline_database: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEST_FACTOR", "1")
    refused = run(resourceful, TEST_FACTOR="2")
    assert "resource `factor` of `s/t`" in refused.failure
    assert run(resourceful).success


@pytest.mark.parametrize(
    ("settings", "what"),
    [
        ("attrs: {factor: 2}", "attrs of `s/t`"),
        ("attrs: {factor: 1}, instance_id: other", "nobody leads run"),
        ("attrs: {factor: 1}, table_store: {unlogged: true}", "table_store.unlogged of instance"),
        ("attrs: {factor: 1}, table_store: {schema_prefix: full_x_}", "schema_prefix of instance"),
    ],
)
def test_a_worker_with_another_configuration_refuses(
    pipeline_database: sa.Engine,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    settings: str,
    what: str,
) -> None:
    def file(name: str, full: str) -> str:
        (tmp_path / name).write_text(f"instances: {{full: {{{full}}}}}")
        return str(tmp_path / name)

    monkeypatch.setenv("DATA_PIPELINE_CONFIG", file("leader.yaml", "attrs: {factor: 1}"))
    refused = run(attributed, DATA_PIPELINE_CONFIG=file("worker.yaml", settings))
    assert not refused.success
    assert what in refused.log + refused.failure
    assert run(attributed).success


def test_what_another_io_manager_keeps_does_not_count(
    pipeline_database: sa.Engine, tmp_path: Path
) -> None:
    """Steps in which our IO manager takes no part cannot refuse; the leader takes no result."""

    def elsewhere(state: str) -> list[Any]:
        @dg.asset(key=["s", "t"], code_version=state, io_manager_key="files", **ON_INSTANCES)
        def t() -> int:
            return 1

        return [t, {"files": dg.FilesystemIOManager(base_dir=str(tmp_path))}]

    refused = run(elsewhere, worker="2")
    assert "`s/t` was computed by a process whose code has version 2" in refused.failure
    assert rows(pipeline_database, "SELECT name FROM full_catalog.tables") == []
