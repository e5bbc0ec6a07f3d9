"""The resources that an asset asks for count by what they really are in the run.

Dagster has no public form of much of this (see `data_pipeline/identity/run_resources.py`):
these tests fail when it changes.
"""

import dataclasses
import functools
import json
import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import dagster as dg
import numpy as np
import pandas as pd
import pydantic
import pytest
import sqlalchemy as sa
from click.testing import CliRunner

from data_pipeline.assembly import instance_definitions
from data_pipeline.cli import main
from data_pipeline.identity.computation import Identity
from data_pipeline.instances.partitions import INSTANCE_PARTITIONS
from data_pipeline.io_manager.instance_resource import InstanceResource
from data_pipeline_tests.memo.jobs import called
from data_pipeline_tests.memo.world import World, shared_storage

FIXED: Any = {"partitions_def": INSTANCE_PARTITIONS, "code_version": "1"}


class Settings(dg.ConfigurableResource):
    factor: int = 1
    names: list[str] = pydantic.Field(default=["x"])


class Secret(dg.ConfigurableResource):
    password: str
    user: str = "somebody"


class Nesting(dg.ConfigurableResource):
    inner: Settings
    own: int = 1


class Deep(dg.ConfigurableResource):
    nesting: Nesting


class Holding(dg.ConfigurableResource):
    held: dg.ResourceDependency[object]


class OtherSettings(Settings):
    pass


@dg.resource(config_schema={"x": dg.Field(int, default_value=1)})
def legacy(context: dg.InitResourceContext) -> object:
    return context.resource_config["x"]


@dg.configured(legacy, config_schema={"twice": int})
def doubled(config: Mapping[str, int]) -> dict[str, int]:
    return {"x": config["twice"] // 2}


@dg.resource(required_resource_keys={"other"})
def requiring(context: dg.InitResourceContext) -> object:
    return context.resources.other


def legacy_with_default(value: int) -> dg.ResourceDefinition:
    schema = {"x": dg.Field(int, default_value=value)}
    return dg.ResourceDefinition(lambda context: context.resource_config["x"], schema)


@dataclasses.dataclass(frozen=True)
class Point:
    x: float
    label: str = ""


class Model(pydantic.BaseModel):
    x: int
    token: pydantic.SecretStr = pydantic.SecretStr("")


class Client:
    """A plain object."""

    def __init__(self, host: str) -> None:
        self.host = host


class Known(Client):
    def cache_identity(self) -> object:
        return self.host


def asking(*keys: str) -> dg.AssetsDefinition:
    return _asking("a", "a", *keys)


def _asking(name: str, call: str, *keys: str) -> dg.AssetsDefinition:
    """Gives the asset `s/<name>`, which asks for resources and counts its calls."""

    @dg.asset(key=["s", name], required_resource_keys={*keys}, **FIXED)
    def a() -> pd.DataFrame:
        called(call)
        return pd.DataFrame({"v": [1]})

    return a


def runs(world: World, *resources: object, **settings: Any) -> list[bool]:
    """Says for each resource in turn whether the asset that asks for it runs."""
    found = []
    for resource in resources:
        given = resource if isinstance(resource, dict) else {"mine": resource}
        assert world.made(lambda given=given: [asking("mine"), given], **settings).success
        found.append(world.calls["a"] == 1)
    return found


SAME_SAME_OTHER: Mapping[str, Callable[[int], object]] = {
    "a field": lambda x: Settings(factor=x),
    "a list": lambda x: Settings(names=["x"] * x),
    "a nested resource": lambda x: Nesting(inner=Settings(factor=x)),
    "two levels deep": lambda x: Deep(nesting=Nesting(inner=Settings(factor=x))),
    "beside a nested one": lambda x: Nesting(inner=Settings(), own=x),
    "a nested legacy resource": lambda x: Holding(held=legacy.configured({"x": x})),
    "a nested default": lambda x: Holding(held=legacy_with_default(x)),
    "a nested object": lambda x: Holding(held=Point(x)),
    "data for the launch": lambda x: Settings.configure_at_launch(factor=x),
    "legacy, configured": lambda x: legacy.configured({"x": x}),
    "legacy, mapped": lambda x: doubled.configured({"twice": 2 * x}),
    "legacy, default": legacy_with_default,
    "legacy, holding a value": lambda x: dg.ResourceDefinition(lambda _: x),
    "a text": lambda x: dg.ResourceDefinition.string_resource().configured(f"{x}"),
    "required by a legacy one": lambda x: {"mine": requiring, "other": Settings(factor=x)},
    "partial, by its key": lambda x: _partial(x),
    "a number": lambda x: x,
    "a dataclass": Point,
    "a pydantic model": lambda x: Model(x=x),
    "a secret in it": lambda x: Model(x=1, token=pydantic.SecretStr(f"{x}")),
    "a dictionary": lambda x: {"mine": {"a": [x, Path("b")]}},
    "an array": lambda x: np.arange(x),
    "hardcoded": lambda x: dg.ResourceDefinition.hardcoded_resource((x, "x")),
    "its own word": lambda x: Known(f"{x}"),
    "its own word within a list": lambda x: [Known(f"{x}")],
    "a partial": lambda x: functools.partial(math.pow, x),
    "a closure": lambda x: lambda: x,
    "a bound method": lambda x: Known(f"{x}").cache_identity,
    "another class": lambda x: (Settings, OtherSettings)[x - 1](),
    "another function": lambda x: (math.sin, math.cos)[x - 1],
    "another kind": lambda x: (Client, Known)[x - 1],
    "a cached function": lambda x: functools.cache(lambda: x),
    "a module": lambda x: (json, math)[x - 1],
}


def _partial(x: int) -> dict[str, object]:
    inner = Settings.configure_at_launch(factor=x)
    return {"mine": Nesting(inner=inner), "partial": inner}


def test_what_a_resource_is_counts(world: World) -> None:
    kinds = {f"a_{number}": kind for number, kind in enumerate(SAME_SAME_OTHER)}

    def things(others: set[str]) -> list[Any]:
        """Gives an asset for each kind, and its resource, which is another one for some."""
        found: list[Any] = []
        for name, kind in kinds.items():
            resource = SAME_SAME_OTHER[kind](1 + (name in others))
            given = resource if isinstance(resource, dict) else {"mine": resource}
            own = f"mine_{name}"
            given = {own if key == "mine" else key: value for key, value in given.items()}
            found += [_asking(name, name, own), given]
        return found

    assert world.made(lambda: things(set())).success
    assert world.calls == dict.fromkeys(kinds, 1)
    assert world.made(lambda: things(set())).success
    assert not world.calls
    # A resource counts for its own asset, and for no other.
    some, all_of_them = {*[*kinds][::2]}, {*kinds}
    for others, called_now in ((some, some), (all_of_them, all_of_them - some)):
        assert world.made(lambda others=others: things(others)).success
        assert world.calls == dict.fromkeys(called_now, 1)
        for name, kind in kinds.items():
            told = rf"s__{name}: configuration of resource `\w+` changed"
            assert bool(re.search(told, world.last.log)) == (name in called_now), kind
        assert "no stable identity" not in world.last.log


def test_environment_variables_in_fields_count(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = Secret(password=dg.EnvVar("TEST_PASSWORD"))
    nesting = Nesting(inner=Settings(factor=dg.EnvVar.int("TEST_FACTOR")))
    given = {"mine": requiring, "other": secret, "nesting": nesting}
    for password, factor, again in (("one", 1, True), ("one", 1, False), ("two", 1, True)):
        monkeypatch.setenv("TEST_PASSWORD", password)
        monkeypatch.setenv("TEST_FACTOR", f"{factor}")
        assert runs(world, given) == [again]
    assert "configuration of resource `other` changed" in world.last.log
    assert runs(world, {"mine": nesting}, {"mine": nesting}) == [True, False]
    monkeypatch.setenv("TEST_FACTOR", "2")
    assert runs(world, {"mine": nesting}) == [True]


def test_run_configuration_of_resources_counts(world: World) -> None:
    kinds: dict[str, tuple[Any, dict[str, int], dict[str, int]]] = {
        "fields": (Settings(), {"factor": 1}, {"factor": 2}),
        "legacy": (legacy, {"x": 1}, {"x": 2}),
        "mapped": (doubled, {"twice": 4}, {"twice": 6}),
    }
    given = {f"of_{kind}": resource for kind, (resource, *_) in kinds.items()}
    assets = [_asking(kind, kind, f"of_{kind}") for kind in kinds]
    for changed, again in ((False, True), (False, False), (True, True), (True, False)):
        config = {f"of_{kind}": {"config": said[changed]} for kind, (_, *said) in kinds.items()}
        assert world.made(lambda: [*assets, given], run_config={"resources": config}).success
        assert world.calls == (dict.fromkeys(kinds, 1) if again else {})


def test_run_configuration_of_what_is_nested_counts(world: World) -> None:
    inner = Settings.configure_at_launch()
    given = {"mine": Nesting(inner=inner), "inner": inner}
    for factor, again in ((1, True), (1, False), (2, True), (2, False)):
        config = {"resources": {"inner": {"config": {"factor": factor}}}}
        assert runs(world, given, run_config=config) == [again]


def test_equal_values_however_they_are_said_are_the_same(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEST_FACTOR", "2")
    config = {"resources": {"mine": {"config": {"factor": 2}}}}
    assert runs(world, Settings(factor=2), Settings(factor=dg.EnvVar.int("TEST_FACTOR"))) == [
        True,
        False,
    ]
    assert runs(world, Settings(), run_config=config) == [False]
    assert runs(world, Settings(factor=2, names=["x"])) == [False]


def test_a_resource_counts_for_those_that_ask_for_it_and_no_others(world: World) -> None:
    def things(factor: int) -> list[Any]:
        @dg.asset(key=["s", "a"], **FIXED)
        def a(settings: Settings) -> pd.DataFrame:
            called("a")
            return pd.DataFrame({"v": [1]})

        @dg.asset(key=["s", "b"], **FIXED)
        def b(other: Settings) -> pd.DataFrame:
            called("b")
            return pd.DataFrame({"v": [1]})

        @dg.asset(key=["s", "c"], **FIXED)
        def c() -> pd.DataFrame:
            called("c")
            return pd.DataFrame({"v": [1]})

        @dg.op
        def inner(settings: Settings) -> pd.DataFrame:
            called("graph")
            return pd.DataFrame({"v": [1]})

        @dg.graph_asset(key=["s", "graph"], partitions_def=INSTANCE_PARTITIONS)
        def graph() -> Any:
            return inner()

        @dg.multi_asset(
            outs={name: dg.AssetOut(key=["s", name], code_version="1") for name in ("x", "y")},
            partitions_def=INSTANCE_PARTITIONS,
            required_resource_keys={"settings"},
        )
        def several():
            called("several")
            return pd.DataFrame({"v": [1]}), pd.DataFrame({"v": [2]})

        @dg.asset_check(asset=a)
        def checked(settings: Settings) -> dg.AssetCheckResult:
            called("checked")
            return dg.AssetCheckResult(passed=True)

        @dg.asset_check(asset=c)
        def unchanged(settings: Settings) -> dg.AssetCheckResult:
            called("unchanged")
            return dg.AssetCheckResult(passed=True)

        given = {"settings": Settings(factor=factor), "other": Settings()}
        return [a, b, c, graph, several, checked, unchanged, given]

    world.made(lambda: things(1))
    assert set(world.calls) == {"a", "b", "c", "graph", "several", "checked", "unchanged"}
    assert not world.made(lambda: things(1)).steps
    world.made(lambda: things(2))
    assert set(world.calls) == {"a", "graph", "several", "checked"}
    assert not world.made(lambda: things(2)).steps


class Files(dg.ConfigurableIOManager):
    folder: str

    def handle_output(self, context: dg.OutputContext, obj: object) -> None:
        Path(self.folder).mkdir(exist_ok=True)

    def load_input(self, context: dg.InputContext) -> None:
        raise AssertionError


def test_io_managers_do_not_count(world: World, tmp_path: Path) -> None:
    @dg.multi_asset(
        outs={
            "a": dg.AssetOut(key=["s", "a"], code_version="1"),
            "f": dg.AssetOut(key=["s", "f"], code_version="1", io_manager_key="files"),
        },
        partitions_def=INSTANCE_PARTITIONS,
    )
    def several():
        return pd.DataFrame({"v": [1]}), 1

    for folder in ("one", "two"):
        files = Files(folder=f"{tmp_path / folder}")
        assert world.made(lambda files=files: [several, {"files": files}]).success
        assert "resource `files`" not in world.last.log
    world.made(lambda: [asking("io_manager", "instance")])
    assert not world.made(lambda: [asking("io_manager", "instance")]).steps


def test_the_instance_counts_by_its_attrs_only(world: World) -> None:
    class Mine(InstanceResource):
        factor: int = 1

    pinned = InstanceResource(instance="full")
    assert runs(world, InstanceResource(), pinned) == [True, False]
    assert runs(world, Mine(), Mine(instance="full"), Mine(factor=2)) == [True, False, True]


def unstable() -> dict[str, object]:
    client = Client("h")
    return {
        "object": client,
        "mock": MagicMock(),
        "held": [client],
        "field": Holding(held=client),
        "failing": type("Failing", (Known,), {"cache_identity": lambda self: 1 / 0})("h"),
        "unstable": type("Unstable", (Known,), {"cache_identity": lambda self: client})("h"),
        "legacy": dg.ResourceDefinition(lambda _: client),
        "frame": pd.DataFrame({"a": [1]}),
        "lambda": lambda: client,
    }


def test_what_has_no_stable_identity_is_named_once_and_never_unchanged(world: World) -> None:
    clients = {f"{kind}_client": client for kind, client in unstable().items()}

    def things() -> list[Any]:
        both = [
            _asking(f"{name}_{key}", f"{name}_{key}", *keys)
            for key in clients
            for name, keys in (("a", [key]), ("b", [key, "named"]))
        ]
        return [*both, _asking("c", "c", "named"), {**clients, "named": 1}]

    world.made(things)
    assert world.made(things).success
    assert world.calls == {f"{name}_{key}": 1 for name in "ab" for key in clients}
    for key in clients:
        assert f"s__a_{key}: resource `{key}` has no stable identity" in world.last.log
        [warned] = [
            text for text in world.last.messages if text and text.startswith(f"Resource `{key}`")
        ]
        assert f"`s/a_{key}`, `s/b_{key}` never count as unchanged" in warned
        assert "dg.ConfigurableResource or a frozen dataclass" in warned
        assert "`cache_identity()`" in warned


def test_plan_says_what_has_no_stable_identity(
    pipeline_database: sa.Engine, define: Callable[[dg.Definitions], None]
) -> None:
    define(instance_definitions([asking("client")], resources={"client": Client("h")}))
    result = CliRunner().invoke(main, ["plan", "full"])
    assert result.exit_code == 0, result.output
    assert result.output.count("WARNING: Resource `client` has no stable identity") == 1


def test_a_nested_variable_that_is_not_set_is_said_before_the_run_fails(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TEST_FACTOR", raising=False)
    nesting = Nesting(inner=Settings(factor=dg.EnvVar.int("TEST_FACTOR")))
    assert not world.made(lambda: [asking("mine"), {"mine": nesting}]).success
    assert "a nested resource cannot be configured: is a variable not set?" in world.last.log


def test_secrets_are_kept_as_digests_only(
    world: World, monkeypatch: pytest.MonkeyPatch, pipeline_database: sa.Engine
) -> None:
    monkeypatch.setenv("TEST_PASSWORD", "pa55word-1")
    secret = Secret(password=dg.EnvVar("TEST_PASSWORD"))
    given = {"mine": secret, "other": Model(x=1, token=pydantic.SecretStr("pa55word-3"))}
    asset = asking("mine", "other")
    world.made(lambda: [asset, given])
    monkeypatch.setenv("TEST_PASSWORD", "pa55word-2")
    world.made(lambda: [asset, given])
    assert world.calls == {"a": 1}
    with pipeline_database.connect() as connection:
        kept = connection.scalar(sa.text("SELECT identity::text FROM full_catalog.tables"))
        rows = connection.scalar(sa.text("SELECT t::text FROM full_catalog.tables t"))
    assert "mine" in json.loads(kept or "")["resources"]
    events = repr(world.last.events)
    assert not [text for text in (rows, world.last.log, events) if "pa55word" in (text or "")]


def test_what_was_written_before_resources_counted_is_read(
    world: World, pipeline_database: sa.Engine
) -> None:
    asset = asking()
    world.made(lambda: [asset])
    with pipeline_database.begin() as connection:
        kept = connection.scalar(sa.text("SELECT identity FROM full_catalog.tables"))
        assert "resources" not in kept
    assert runs(world, Settings(), Settings()) == [True, False]
    assert Identity("1").as_json().keys() == kept.keys()


def test_processes_of_steps_agree_on_what_resources_are(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = shared_storage(tmp_path)
    asked: Any = {"builder": "with_resources", "storage": storage}
    for factor, offset, value, again in (
        (1, 0, 1, True),
        (1, 0, 1, False),
        (2, 0, 1, True),
        (2, 1, 1, True),
        (2, 1, 2, True),
        (2, 1, 2, False),
    ):
        monkeypatch.setenv("TEST_FACTOR", f"{factor}")
        world.state["factor"] = value
        config = {"resources": {"inner": {"config": {"offset": offset}}}}
        assert world.run(run_config=config, **asked).success
        assert (world.calls["a"] == 1) == again, (factor, offset, value)


def test_what_a_step_does_to_an_object_does_not_count(world: World) -> None:
    @dataclasses.dataclass
    class Counter:
        value: int = 0

    @dg.asset(key=["s", "a"], **FIXED)
    def a(counter: dg.ResourceParam[Counter]) -> pd.DataFrame:
        called("a")
        counter.value += 1
        return pd.DataFrame({"v": [1]})

    for again in (True, False):
        world.made(lambda: [a, {"counter": Counter()}])
        assert (world.calls["a"] == 1) == again
