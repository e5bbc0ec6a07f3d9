"""The code of a resource counts for the assets that ask for it, and for no others."""

import warnings
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import pytest

from data_pipeline.assembly import instance_definitions, instance_resources
from data_pipeline.code_version.code_version import code_versions
from data_pipeline.definition_metadata import kept_value
from data_pipeline.identity.change_reasons import changed_parts
from data_pipeline.identity.computation import CODE_PARTS_KEY
from data_pipeline_tests.code_version.made_project import MadeProject

RESOURCES = """
import dagster as dg
from dataclasses import dataclass
from .helpers import base, scale

class Settings(dg.ConfigurableResource):
    factor: int = 1
    def scaled(self, x):
        return scale(x) * self.factor

class Outer(dg.ConfigurableResource):
    settings: Settings

@dg.resource(config_schema={"x": dg.Field(int, default_value=1)})
def legacy(context):
    return base(context.resource_config["x"])

@dg.resource(required_resource_keys={"legacy"})
def requiring(context):
    return context.resources.legacy

class Client:
    def get(self):
        return scale(2)

@dataclass
class Held:
    client: object

def made(value):
    @dg.resource
    def inner(context):
        return value
    return inner

def lent():
    return scale(3)

partial = Settings.configure_at_launch()

class Files(dg.ConfigurableIOManager):
    folder: str
    def handle_output(self, context, obj):
        open(self.folder, "w").write(str(obj))
    def load_input(self, context):
        return open(self.folder).read() + "loaded"

class Plain(dg.IOManager):
    def handle_output(self, context, obj):
        pass
    def load_input(self, context):
        return "plain"

@dg.input_manager
def loading(context):
    return "by function"
"""

HELPERS = """
def scale(x):
    return x * 2

def base(x):
    return x + 1
"""

ASSETS = """
import dagster as dg
from . import resources as r

KEYS = "settings outer partial legacy configured requiring client held made function other".split()

def asking(key):
    @dg.asset(name=f"asks_{key}", required_resource_keys={key})
    def load(context):
        return 1
    return load

@dg.asset
def asks_none():
    return 1

@dg.asset(required_resource_keys={"settings"}, code_version="1")
def explicit():
    return 1

@dg.multi_asset(outs={"m": dg.AssetOut(), "n": dg.AssetOut()}, required_resource_keys={"settings"})
def several():
    return 1, 2

@dg.op
def asks(settings: dg.ResourceParam):
    return 1

@dg.graph_asset
def graph():
    return asks()

@dg.asset(io_manager_key="files")
def stored():
    return 1

COLUMNS = {"columns": "a"}
@dg.asset(ins={"x": dg.AssetIn("asks_none", input_manager_key="loading", metadata=COLUMNS)})
def loaded(x):
    return 1

@dg.op(ins={"x": dg.In(input_manager_key="plain")})
def loads(x):
    return 1

@dg.graph_asset(ins={"x": dg.AssetIn("asks_none")})
def graph_that_loads(x):
    return loads(x)

assets = [*map(asking, KEYS), asks_none, explicit, several, graph]
assets += [stored, loaded, graph_that_loads]
resources = {
    "settings": r.Settings(),
    "outer": r.Outer(settings=r.Settings()),
    "partial": r.Outer(settings=r.partial),
    "nested": r.partial,
    "legacy": r.legacy,
    "configured": r.legacy.configured({"x": 2}),
    "requiring": r.requiring,
    "client": r.Client(),
    "held": [r.Held(r.Client())],
    "made": r.made(r.lent),
    "function": r.lent,
    "other": 1,
    "files": r.Files(folder="x"),
    "plain": dg.IOManagerDefinition.hardcoded_io_manager(r.Plain()),
    "loading": r.loading,
}
"""

SETTINGS = {"asks_settings", "asks_outer", "asks_partial", "m", "n", "graph"}
LEGACY = {"asks_legacy", "asks_configured", "asks_requiring"}
CLIENT = {"asks_client", "asks_held"}


def project(folder: Path) -> MadeProject:
    text = ASSETS.replace("dg.ResourceParam", "dg.ResourceParam[object]")
    return MadeProject(
        folder, {"resources.py": RESOURCES, "helpers.py": HELPERS, "assets.py": text}
    )


def versions(made: MadeProject, **options: Any) -> dict[str, str]:
    module = made.load("assets")
    found = code_versions(module.assets, resources=module.resources, **options)
    return {key.to_user_string(): version.version for key, version in found.items()}


EDITS = {
    "a method": ("self.factor", "self.factor + 1", SETTINGS),
    "a field": ("factor: int = 1", "factor: int = 2", SETTINGS),
    "an outer class": ("settings: Settings", "settings: Settings\n    x: int = 1", {"asks_outer"}),
    "a function": ('base(context.resource_config["x"])', "3", LEGACY),
    "a function that requires": ("context.resources.legacy", "2", {"asks_requiring"}),
    "the class of an object": ("scale(2)", "scale(4)", CLIENT),
    "a dataclass": ("client: object", "client: object\n    x: int = 1", {"asks_held"}),
    "a factory": ("return value", "return value or 1", {"asks_made"}),
    "a function as it is": ("scale(3)", "scale(4)", {"asks_made", "asks_function"}),
    "an IO manager": ('+ "loaded"', '+ "again"', {"stored"}),
    "an IO manager that is an object": ('"plain"', '"simple"', {"graph_that_loads"}),
    "an input manager": ('"by function"', '"by code"', {"loaded"}),
    "nothing that says anything": ("class Settings", "# A comment.\nclass Settings", set()),
}


@pytest.mark.parametrize("edit", EDITS)
def test_changed_code_counts_where_the_resource_is_asked_for(tmp_path: Path, edit: str) -> None:
    old, new, expected = EDITS[edit]
    if edit == "an outer class":
        expected = expected | {"asks_partial"}
    made = project(tmp_path)
    before = versions(made)
    made.edit("resources.py", old, new)
    after = versions(made)
    assert {name for name in before if before[name] != after[name]} == expected


def test_what_an_input_says_to_its_manager_counts(tmp_path: Path) -> None:
    made = project(tmp_path)
    before = versions(made)
    made.edit("assets.py", '{"columns": "a"}', '{"columns": "b"}')
    after = versions(made)
    assert {name for name in before if before[name] != after[name]} == {"loaded"}


def test_files_of_an_io_manager_are_no_input_from_outside(tmp_path: Path) -> None:
    made = project(tmp_path)
    module = made.load("assets")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        code_versions([module.stored], resources=module.resources)


def test_helpers_of_resources_count(tmp_path: Path) -> None:
    made = project(tmp_path)
    before = versions(made)
    made.edit("helpers.py", "x * 2", "x * 3")
    after = versions(made)
    changed = {name for name in before if before[name] != after[name]}
    assert changed == SETTINGS | CLIENT | {"asks_made", "asks_function"}


def test_a_changed_resource_is_named(tmp_path: Path) -> None:
    made = project(tmp_path)

    def parts() -> Any:
        module = made.load("assets")
        found = code_versions(module.assets, resources=module.resources)
        return next(v.parts for k, v in found.items() if k.to_user_string() == "asks_settings")

    before = parts()
    made.edit("resources.py", "self.factor", "self.factor + 1")
    assert changed_parts(before, parts()) == ["class `Settings`"]


def test_definitions_hand_their_resources_over(tmp_path: Path) -> None:
    text = """
    import dagster as dg
    from data_pipeline.instances.partitions import INSTANCE_PARTITIONS
    class Settings(dg.ConfigurableResource):
        x: int = 1
    @dg.asset(
        key=["s", "a"], required_resource_keys={"mine"}, partitions_def=INSTANCE_PARTITIONS
    )
    def a():
        return 1
    """
    made = MadeProject(tmp_path, {"assets.py": text})
    module = made.load("assets")
    definitions = instance_definitions([module.a], resources={"mine": module.Settings()})
    (spec,) = definitions.resolve_all_asset_specs()
    assert f"{made.name}.assets.Settings" in kept_value(spec.metadata, CODE_PARTS_KEY)


def test_classes_of_libraries_count_by_the_version_of_their_package(tmp_path: Path) -> None:
    text = """
    import dagster as dg
    import pandas as pd
    from .resources import Settings
    @dg.asset(required_resource_keys={"frame"})
    def a():
        return 1
    @dg.asset(required_resource_keys={"settings"})
    def b():
        return 1
    assets = [a, b]
    resources = {"frame": pd.DataFrame({"a": [1]}), "settings": Settings()}
    """
    settings = "import dagster as dg\nclass Settings(dg.ConfigurableResource):\n    x: int = 1\n"
    made = MadeProject(tmp_path, {"assets.py": text, "resources.py": settings})
    before = versions(made, tracked_packages={"pandas": "3.0", "dagster": "1"})
    after = versions(made, tracked_packages={"pandas": "3.1", "dagster": "1"})
    assert before["a"] != after["a"]
    assert before["b"] == after["b"]
    assert before["b"] != versions(made, tracked_packages={"dagster": "2"})["b"]


def test_our_own_resources_and_foreign_objects_do_no_harm(tmp_path: Path) -> None:
    text = """
    import dagster as dg
    @dg.asset(required_resource_keys={"io_manager", "instance", "mock", "missing"})
    def a():
        return 1
    assets = [a]
    """
    made = MadeProject(tmp_path, {"assets.py": text})
    module = made.load("assets")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = code_versions(
            module.assets, resources={**instance_resources(), "mock": MagicMock()}
        )
    (version,) = found.values()
    assert version == next(iter(code_versions(module.assets).values()))
