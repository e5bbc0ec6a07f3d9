"""Functions that other functions made: what they close over counts by its value."""

import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from data_pipeline.code_version.code_version import code_version_of
from data_pipeline.code_version.code_warnings import UnresolvedCodeWarning
from data_pipeline_tests.code_version.made_project import MadeProject


@pytest.fixture(autouse=True)
def _no_warning() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("error", UnresolvedCodeWarning)
        yield


FACTORY = """
import dagster as dg
from . import helpers

def made(name, value, default=None):
    unused = object()
    @dg.asset(name=name, description=f"Made of {value}.")
    def load():
        return (value, default)
    return load

assets = [made("a", VALUE_A), made("b", VALUE_B)]
"""

HELPERS = """
import collections
import enum
import functools
from dataclasses import dataclass

def used(x=0):
    return x + 1

def unused():
    return 10

def outer(n):
    def inner():
        return n + used()
    return inner

class Model:
    def __init__(self, rate):
        self.rate = rate

    def f(self):
        return used()

@dataclass
class Settings:
    rate: float

    def f(self):
        return used()

class Colour(enum.Enum):
    RED = 1
    BLUE = 2

class Names(dict):
    pass

class Numbers(list):
    pass

class Name(str):
    pass

class Pair(collections.namedtuple("Pair", "a b")):
    pass

class Slots:
    __slots__ = ("rate",)

    def __init__(self, rate):
        self.rate = rate
"""


SPEC = (
    "dg.AssetSpec('a', partitions_def=dg.StaticPartitionsDefinition(['full']), "
    "metadata={{'n': {number}}}, deps=['d']{more})"
)


def project_of(tmp_path: Path, a: str, b: str) -> MadeProject:
    assets = FACTORY.replace("VALUE_A", a).replace("VALUE_B", b)
    return MadeProject(tmp_path, {"assets.py": assets, "helpers.py": HELPERS})


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("1", "2"),
        ("1", "1.0"),
        ("'dfa'", "'dfb'"),
        ("[1, {'x': (2, 3)}]", "[1, {'x': (2, 4)}]"),
        ("helpers.used", "helpers.unused"),
        ("helpers.Model", "helpers.Settings"),
        ("helpers.Model(1)", "helpers.Model(2)"),
        ("helpers.Settings(1)", "helpers.Settings(2)"),
        ("helpers.Colour.RED", "helpers.Colour.BLUE"),
        ("helpers.outer(1)", "helpers.outer(2)"),
        ("[helpers.outer(1), helpers.outer(2)]", "[helpers.outer(1), helpers.outer(3)]"),
        ("[helpers.outer(1), helpers.outer(3)]", "[helpers.outer(2), helpers.outer(3)]"),
        ("helpers.functools.partial(max, 1)", "helpers.functools.partial(max, 2)"),
        ("helpers.functools.partial(max, 1)", "helpers.functools.partial(min, 1)"),
        ("dg.AssetKey('a')", "dg.AssetKey('b')"),
        (
            "dg.DailyPartitionsDefinition('2026-01-01')",
            "dg.DailyPartitionsDefinition('2026-01-02')",
        ),
        ("dg.TableColumn('a', 'int')", "dg.TableColumn('a', 'text')"),
        (
            "dg.AssetSpec('a', metadata={'n': 1, 'm': dg.MetadataValue.md('x')})",
            "dg.AssetSpec('a', metadata={'n': 1, 'm': dg.MetadataValue.md('y')})",
        ),
        (SPEC.format(number=1, more=""), SPEC.format(number=2, more="")),
        ("int", "float"),
        ("list[int]", "list[float]"),
        ("(lambda: 1)", "(lambda: 2)"),
        ("helpers.Names(a=1)", "helpers.Names(a=2)"),
        ("helpers.Numbers([1])", "helpers.Numbers([2])"),
        ("helpers.Name('a')", "helpers.Name('b')"),
        ("helpers.Pair(1, 2)", "helpers.Pair(1, 3)"),
        ("helpers.Slots(1)", "helpers.Slots(2)"),
    ],
)
def test_other_values_give_other_versions(tmp_path: Path, a: str, b: str) -> None:
    versions = project_of(tmp_path, a, b).versions()
    assert versions["a"] != versions["b"]


def test_how_an_asset_is_planned_does_not_count(tmp_path: Path) -> None:
    planned = ", automation_condition=dg.AutomationCondition.eager()"
    a, b = (SPEC.format(number=1, more=more) for more in ("", planned))
    versions = project_of(tmp_path, a, b).versions()
    assert versions["a"] == versions["b"]


@pytest.mark.parametrize(
    "value",
    [
        *(
            "1",
            "{'x', 'y', 2}",
            "helpers.used",
            "helpers.Model(1)",
            "helpers.outer(1)",
            "dg",
            "len",
        ),
        *("helpers.Names(a=1)", "helpers.Numbers([1])", "helpers.Slots(1)"),
    ],
)
def test_equal_values_give_equal_versions(tmp_path: Path, value: str) -> None:
    versions = project_of(tmp_path, value, value).versions()
    assert versions["a"] == versions["b"]


@pytest.mark.parametrize(
    "value",
    [
        "helpers.used",
        "helpers",
        "{'f': [helpers.used]}",
        "helpers.outer(1)",
        "helpers.Model",
        "helpers.Model(1)",
        "helpers.Model(1).f",
        "helpers.Settings(1)",
        "helpers.functools.partial(helpers.used, 1)",
        "helpers.functools.lru_cache(helpers.used)",
        "helpers.functools.wraps(len)(helpers.used)",
        "helpers.functools.singledispatch(helpers.used)",
    ],
)
def test_code_in_a_value_counts(tmp_path: Path, value: str) -> None:
    project = project_of(tmp_path, value, "None")
    assert project.changed_by(lambda it: it.edit("helpers.py", "x + 1", "x + 2")) == {"a"}
    if value != "helpers":
        assert (
            project.changed_by(lambda it: it.edit("helpers.py", "return 10", "return 9")) == set()
        )


def test_what_the_factory_does_besides_does_not_count(tmp_path: Path) -> None:
    project = project_of(tmp_path, "1", "2")
    change = ("assets.py", "unused = object()", "unused = print('made')")
    assert project.changed_by(lambda it: it.edit(*change)) == set()
    change = ("assets.py", "Made of", "Made from")
    assert project.changed_by(lambda it: it.edit(*change)) == set()


def test_defaults_of_a_made_function_count_by_value(tmp_path: Path) -> None:
    text = """
    import dagster as dg
    def made(name, number):
        def inner(x=number, *, y=0):
            return x
        @dg.asset(name=name)
        def load():
            return inner()
        return load
    assets = [made("a", 1), made("b", 2), made("c", 2)]
    """
    versions = MadeProject(tmp_path, {"assets.py": text}).versions()
    assert versions["a"] != versions["b"] == versions["c"]


def test_a_class_made_by_a_function_counts_with_what_it_closes_over(tmp_path: Path) -> None:
    text = """
    import dagster as dg
    def made(name, number):
        class Base:
            def f(self):
                return number
        class Local(Base):
            pass
        @dg.asset(name=name)
        def load():
            return Local().f()
        return load
    assets = [made("a", 1), made("b", 2)]
    """
    project = MadeProject(tmp_path, {"assets.py": text})
    versions = project.versions()
    assert versions["a"] != versions["b"]
    change = ("assets.py", "return number", "return -number")
    assert project.changed_by(lambda it: it.edit(*change)) == {"a", "b"}


LOCAL_CLASSES = {
    "a property": ("@property\n        def f(self): return number", "Local().f"),
    "a cached property": ("@cached_property\n        def f(self): return number", "Local().f"),
    "a class method": ("@classmethod\n        def f(cls): return number", "Local.f()"),
    "a static method": ("@staticmethod\n        def f(): return number", "Local.f()"),
    "a default": ("def f(self, x=number): return x", "Local().f()"),
    "an attribute": ("f = number", "Local.f"),
    "an attribute that is computed": ("f = [number, number + 1]", "Local.f"),
}


def made_of_local_classes(tmp_path: Path, statement: str, body: str, used: str) -> MadeProject:
    text = f"""
    import dagster as dg
    import enum
    from dataclasses import dataclass, field
    from functools import cached_property, wraps
    from pydantic import BaseModel
    def made(name, number):
        {statement}:
            {body.replace(chr(10), chr(10) + "    ")}
        @dg.asset(name=name)
        def load():
            return {used}
        return load
    assets = [made("a", 1), made("b", 2), made("c", 2)]
    """
    return MadeProject(tmp_path, {"assets.py": text})


@pytest.mark.parametrize("name", LOCAL_CLASSES)
def test_what_a_class_made_by_a_function_holds_counts(tmp_path: Path, name: str) -> None:
    body, used = LOCAL_CLASSES[name]
    versions = made_of_local_classes(tmp_path, "class Local", body, used).versions()
    assert versions["a"] != versions["b"] == versions["c"]


FIELDS = {
    "a dataclass": ("@dataclass\n        class Local", "f: int = number"),
    "a factory of a dataclass": (
        "@dataclass\n        class Local",
        "f: int = field(default_factory=lambda: number)",
    ),
    "a model": ("class Local(BaseModel)", "f: int = number"),
    "an enum": ("class Local(enum.Enum)", "f = number"),
}


@pytest.mark.parametrize("name", FIELDS)
def test_defaults_of_fields_count_by_value(tmp_path: Path, name: str) -> None:
    statement, body = FIELDS[name]
    used = "Local.f.value" if name == "an enum" else "Local().f"
    versions = made_of_local_classes(tmp_path, statement, body, used).versions()
    assert versions["a"] != versions["b"] == versions["c"]


def test_a_class_of_a_library_that_a_local_class_is_made_of_counts(tmp_path: Path) -> None:
    text = """
    import collections
    import dagster as dg
    def made(name, base):
        class Local(base):
            pass
        @dg.asset(name=name)
        def load():
            return Local()
        return load
    assets = [made("a", dict), made("b", collections.OrderedDict)]
    """
    versions = MadeProject(tmp_path, {"assets.py": text}).versions()
    assert versions["a"] != versions["b"]


def test_what_a_wrapper_also_closes_over_is_known(tmp_path: Path) -> None:
    text = """
    import dagster as dg
    import functools
    def times(number):
        def decorate(function):
            @functools.wraps(function)
            def run():
                return number * function()
            return run
        return decorate
    @dg.asset(name="a")
    @times(2)
    def a():
        return 1
    assets = [a]
    """
    project = MadeProject(tmp_path, {"assets.py": text})
    assert project.changed_by(lambda it: it.edit("assets.py", "times(2)", "times(3)")) == {"a"}
    assert project.changed_by(lambda it: it.edit("assets.py", "return 1", "return 2")) == {"a"}


def test_metadata_from_a_factory_count_where_code_reads_them(tmp_path: Path) -> None:
    text = """
    import dagster as dg
    def made(name, number):
        @dg.asset(name=name, metadata={"number": number})
        def load(context):
            return context.assets_def.metadata_by_key[context.asset_key]["number"]
        return load
    assets = [made("a", 1), made("b", 2)]
    """
    project = MadeProject(tmp_path, {"assets.py": text})
    change = ("assets.py", '("b", 2)', '("b", 3)')
    assert project.changed_by(lambda it: it.edit(*change)) == {"b"}


def test_a_function_that_closes_over_itself(tmp_path: Path) -> None:
    text = """
    import dagster as dg
    def made(name, last):
        def count(n):
            return last if n == 0 else count(n - 1)
        @dg.asset(name=name)
        def load():
            return count(3)
        return load
    assets = [made("a", 1), made("b", 2)]
    """
    versions = MadeProject(tmp_path, {"assets.py": text}).versions()
    assert versions["a"] != versions["b"]


def test_assets_of_one_function_name_are_told_apart(tmp_path: Path) -> None:
    text = """
    import dagster as dg
    @dg.asset(name="a")
    def load():
        return 1
    assets = [load]
    @dg.asset(name="b")
    def load():
        return 2
    assets.append(load)
    """
    project = MadeProject(tmp_path, {"assets.py": text})
    change = ("assets.py", "return 2", "return 3")
    assert project.changed_by(lambda it: it.edit(*change)) == {"b"}


def test_a_callable_object_and_a_partial_can_make_an_asset(tmp_path: Path) -> None:
    text = """
    import functools
    class Load:
        def __init__(self, n):
            self.n = n
        def __call__(self):
            return used()
    def used():
        return 1
    def add(x, y):
        return x + y + used()
    loads = [Load(1), Load(2), functools.partial(add, 1), functools.partial(add, 2)]
    """
    project = MadeProject(tmp_path, {"assets.py": text})

    def versions() -> list[str]:
        return [code_version_of(load).version for load in project.load("assets").loads]

    before = versions()
    assert len(set(before)) == 4
    project.edit("assets.py", "return 1", "return 3")
    assert not set(before) & set(versions())
