"""What a code version cannot follow is reported once, with its place."""

import warnings
from pathlib import Path
from textwrap import dedent

import pytest

from data_pipeline.code_version.code_version import (
    code_version_of,
    code_versions,
)
from data_pipeline.code_version.code_warnings import UnresolvedCodeWarning
from data_pipeline.errors import ConfigurationError
from data_pipeline_tests.code_version.made_project import MadeProject

START = """\
import importlib
import sys
import dagster as dg
from data_pipeline import sql_file
from . import helpers
from .helpers import K, f
NAME = "f"

"""

# The code of a helper, and what its warning says of the line marked with `!`.
CASES = {
    "getattr of a module": ("return getattr(helpers, NAME)  # !", "`helpers` with a computed"),
    "getattr of a class": ("return getattr(K, NAME + 'x')  # !", "`K` with a computed name"),
    "exec": ("exec('x = 1')  # !", "`exec`"),
    "eval": ("return eval(NAME)  # !", "`eval`"),
    "globals": ("return globals()[NAME]()  # !", "`globals()`"),
    "resolve_name": ("import pkgutil\n    return pkgutil.resolve_name(NAME)  # !", "by its name"),
    "a module that runs": ("import runpy\n    return runpy.run_module(NAME)  # !", "`runpy` runs"),
    "import_module": ("return importlib.import_module(NAME)  # !", "imports by a computed name"),
    "__import__": ("return __import__(NAME)  # !", "imports by a computed name"),
    "a missing module": ("from . import nowhere\n    return nowhere.x  # !", ".nowhere`"),
    "a missing attribute": ("return helpers.nothing()  # !", ".helpers.nothing`"),
    "a missing name": ("return nothing()  # !", "the name `nothing`"),
    "a computed SQL file": ("return sql_file(NAME + '.sql')  # !", "a computed path"),
    "a SQL file that is missing": ("return sql_file('none.sql')  # !", "does not exist"),
    "a loader that is passed on": ("return list(map(sql_file, []))  # !", "passed on"),
    "in a decorator": (
        "@getattr(helpers, NAME)  # !\n    def g():\n        pass",
        "`helpers` with a computed name",
    ),
}

HELPERS = "def f():\n    return 1\n\nclass K:\n    fx = 1\n"


def made(tmp_path: Path, code: str) -> MadeProject:
    text = f"{START}def run():\n    {code}\n\n"
    for name in "ab":
        text += f"@dg.asset\ndef {name}():\n    return run()\n\n"
    return MadeProject(tmp_path, {"assets.py": text + "assets = [a, b]", "helpers.py": HELPERS})


@pytest.mark.parametrize("name", CASES)
def test_it_is_reported_once_with_its_place(tmp_path: Path, name: str) -> None:
    code, words = CASES[name]
    project = made(tmp_path, code)
    module = project.load("assets")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        versions = code_versions(module.assets)
    lines = (project.folder / "assets.py").read_text().splitlines()
    line = next(number for number, text in enumerate(lines, 1) if text.endswith("# !"))
    assert [warning.category for warning in caught] == [UnresolvedCodeWarning]
    message = str(caught[0].message)
    assert message.startswith(f"{project.folder / 'assets.py'}:{line}: ")
    assert words in message
    assert "unnoticed by a, b." in message
    assert "explicit code_version" in message
    for version in versions.values():
        assert [place for place, _ in version.unresolved] == [f"{project.folder}/assets.py:{line}"]


RESOLVED = {
    "getattr of a value": "return getattr([1], NAME)",
    "getattr of an argument": "return (lambda x: getattr(x, NAME))(1)",
    "eval as a method": "return f().eval('a + b')",
    "eval as an argument": "return (lambda eval: eval(1))(f)",
    "getattr of a library": "return getattr(sys, NAME)",
    "a name of the module": "return __name__, __file__, helpers.__name__, helpers.__doc__",
    "a missing attribute of a library": "return sys.nothing",
    "a name that only tells a type": "x: 'Nothing' = 1\n    return x",
}


@pytest.mark.filterwarnings("error::data_pipeline.code_version.code_warnings.UnresolvedCodeWarning")
@pytest.mark.parametrize("name", RESOLVED)
def test_what_cannot_be_code_of_the_project_is_not_reported(tmp_path: Path, name: str) -> None:
    made(tmp_path, RESOLVED[name]).versions()


@pytest.mark.filterwarnings("error::data_pipeline.code_version.code_warnings.UnresolvedCodeWarning")
def test_nothing_is_reported_for_an_explicit_version(tmp_path: Path) -> None:
    project = made(tmp_path, "exec('x = 1')")
    project.edit("assets.py", "@dg.asset\n", "@dg.asset(code_version='1')\n")
    assert project.versions() == {"a": "1", "b": "1"}


def test_a_value_without_stable_content_is_reported(tmp_path: Path) -> None:
    text = """
    import dagster as dg
    def made(name, value):
        @dg.asset(name=name)
        def load():
            return value
        return load
    none = dg.ResourceDefinition.none_resource()
    assets = [made("a", object()), made("b", none), made("c", [iter([])])]
    """
    module = MadeProject(tmp_path, {"assets.py": text}).load("assets")
    with pytest.warns(UnresolvedCodeWarning) as caught:
        code_versions(module.assets)
    messages = [str(warning.message) for warning in caught]
    assert len(messages) == 3
    assert all("assets.py:4: code versions do not cover `value`" in text for text in messages)
    assert "`builtins.object`" in messages[0]
    assert "ResourceDefinition`" in messages[1]
    assert "`value[0]`" in messages[2]


def test_an_argument_of_a_library_decorator_within_a_factory_is_reported(tmp_path: Path) -> None:
    text = """
    import dagster as dg
    from hypothesis import settings
    def made(name, number):
        @dg.asset(name=name)
        @settings(max_examples=number)
        def load():
            return 1
        return load
    assets = [made("a", 1)]
    """
    module = MadeProject(tmp_path, {"assets.py": text}).load("assets")
    with pytest.warns(UnresolvedCodeWarning, match=r"`number`, which is given to the decorator"):
        code_versions(module.assets)


def test_a_function_without_a_file_is_reported(tmp_path: Path) -> None:
    text = """
    import dagster as dg
    exec("def load(): return 1")
    assets = [dg.asset(load)]
    """
    module = MadeProject(tmp_path, {"assets.py": text}).load("assets")
    with pytest.warns(UnresolvedCodeWarning, match="a function that was made without a file"):
        code_versions(module.assets)


def test_a_file_that_changed_since_its_import_is_an_error(tmp_path: Path) -> None:
    project = MadeProject(tmp_path, {"assets.py": "def load():\n    return 1\n"})
    module = project.load("assets")
    project.write("assets.py", dedent("\n\n\ndef load():\n    return 1\n"))
    with pytest.raises(ConfigurationError, match="changed since it was imported"):
        code_version_of(module.load)
    project.write("assets.py", "def load(:\n")
    with pytest.raises(ConfigurationError, match=r"assets\.py cannot be read"):
        code_version_of(module.load)
