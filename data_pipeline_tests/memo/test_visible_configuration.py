"""What an asset's code can see besides its inputs counts: configuration, instance, wiring.

Dagster has no public form of most of this (see `data_pipeline/identity/computation.py`): these
tests fail when it changes.
"""

from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import pytest
import sqlalchemy as sa

from data_pipeline.instances import load_configuration
from data_pipeline.instances.partitions import INSTANCE_PARTITIONS
from data_pipeline.io_manager.instance_resource import InstanceResource
from data_pipeline_tests.memo.jobs import called
from data_pipeline_tests.memo.world import World

FIXED = {"partitions_def": INSTANCE_PARTITIONS, "code_version": "1"}


def frame(value: object) -> pd.DataFrame:
    return pd.DataFrame({"v": [value]})


def configured(default: int) -> Any:
    class Settings(dg.Config):
        x: int = default

    @dg.asset(key=["s", "a"], **FIXED)
    def a(config: Settings) -> pd.DataFrame:
        called("a")
        return frame(config.x)

    return lambda: [a]


def op(name: str, value: object) -> dict[str, Any]:
    return {"ops": {name: {"config": {"x": value}}}}


def test_configuration_counts_with_its_defaults(world: World, pipeline_database: sa.Engine) -> None:
    world.made(configured(1))
    assert world.made(configured(1), run_config=op("s__a", 1)).steps == set()
    world.made(configured(2))
    assert world.calls == {"a": 1}
    world.made(configured(2), run_config=op("s__a", 3))
    assert "s__a: its op configuration changed" in world.last.log
    with pipeline_database.connect() as connection:
        assert connection.scalar(sa.text("SELECT v FROM full_s.a")) == 3


def test_environment_variables_in_configuration_count(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    @dg.asset(key=["s", "a"], config_schema={"x": dg.StringSource}, **FIXED)
    def a(context: dg.AssetExecutionContext) -> pd.DataFrame:
        called("a")
        return frame(context.op_execution_context.op_config["x"])

    settings = {"run_config": op("s__a", {"env": "TEST_X"})}
    for value, calls in (("one", 1), ("one", 0), ("two", 1)):
        monkeypatch.setenv("TEST_X", value)
        world.made(lambda: [a], **settings)
        assert world.calls["a"] == calls


def test_configuration_of_the_op_of_a_graph_asset_counts(world: World) -> None:
    @dg.op(config_schema={"x": dg.Field(int, default_value=1)})
    def inner(context: dg.OpExecutionContext) -> pd.DataFrame:
        called("a")
        return frame(context.op_config["x"])

    @dg.graph_asset(key=["s", "a"], partitions_def=INSTANCE_PARTITIONS)
    def a() -> Any:
        return inner()

    for value, calls in ((1, 1), (1, 0), (2, 1)):
        world.made(lambda: [a], run_config={"ops": {"s__a": op("inner", value)}})
        assert world.calls["a"] == calls


class Scaling(dg.ConfigurableIOManager):
    factor: int = 1

    def load_input(self, context: dg.InputContext) -> int:
        return self.factor

    def handle_output(self, context: dg.OutputContext, obj: object) -> None:
        raise NotImplementedError


def test_configuration_of_what_loads_an_input_counts(world: World) -> None:
    @dg.asset(key=["s", "a"], **FIXED)
    def a() -> pd.DataFrame:
        return frame(1)

    @dg.asset(
        key=["s", "b"],
        ins={"x": dg.AssetIn(["s", "a"], input_manager_key="scaling")},
        **FIXED,
    )
    def b(x: int) -> pd.DataFrame:
        called("b")
        return frame(x)

    for factor, calls in ((1, 1), (1, 0), (2, 1)):
        world.made(lambda factor=factor: [a, b, {"scaling": Scaling(factor=factor)}])
        assert world.calls["b"] == calls


class Nesting(dg.ConfigurableResource):  # type: ignore[type-arg] # itself is the value
    instance: dg.ResourceDependency[InstanceResource]


def requiring(context: dg.InitResourceContext) -> object:
    return context.resources.instance.attrs


@pytest.mark.parametrize(
    "resource",
    [
        Nesting(instance=InstanceResource()),
        dg.ResourceDefinition(requiring, required_resource_keys={"instance"}),
        InstanceResource(),
    ],
    ids=["nesting", "requiring", "another name"],
)
def test_attrs_count_however_an_asset_gets_at_the_instance(
    world: World, resource: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @dg.asset(key=["s", "a"], required_resource_keys={"mine"}, **FIXED)
    def a() -> pd.DataFrame:
        called("a")
        return frame(1)

    world.made(lambda: [a, {"mine": resource}], "midi")
    file = tmp_path / "instances.yaml"
    text = load_configuration().file.read_text()
    file.write_text(text.replace("copy_filter_cnt: 2 ", "copy_filter_cnt: 3 "))
    monkeypatch.setenv("DATA_PIPELINE_CONFIG", str(file))
    world.made(lambda: [a, {"mine": resource}], "midi")
    assert world.calls == {"a": 1}


def test_exchanged_inputs_count(world: World, pipeline_database: sa.Engine) -> None:
    def assets(left: str, right: str) -> Any:
        @dg.asset(key=["s", "x"], **FIXED)
        def x() -> pd.DataFrame:
            return frame("x")

        @dg.asset(key=["s", "y"], **FIXED)
        def y() -> pd.DataFrame:
            return frame("y")

        ins = {"left": dg.AssetIn(["s", left]), "right": dg.AssetIn(["s", right])}

        @dg.asset(key=["s", "z"], ins=ins, **FIXED)
        def z(left: pd.DataFrame, right: pd.DataFrame) -> pd.DataFrame:
            called("z")
            return left

        return lambda: [x, y, z]

    for wiring, calls in ((("x", "y"), 1), (("x", "y"), 0), (("y", "x"), 1)):
        world.made(assets(*wiring))
        assert world.calls["z"] == calls
