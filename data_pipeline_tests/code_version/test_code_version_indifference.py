"""What does not count: a code version stays the same under edits that change no behaviour."""

import ast
from pathlib import Path

import pytest

from data_pipeline.code_version.project_code import ProjectFiles
from data_pipeline_tests.code_version.made_project import MadeProject

ASSETS = '''
"""Assets."""

import math
import dagster as dg
from .helpers import Model, parse
from .other import LIMIT


@dg.asset(
    group_name="one",
    description="Text.",
    owners=["team:data"],
    tags={"a": "b"},
    kinds={"python"},
    metadata={"x": 1},
)
def a(context: dg.AssetExecutionContext):
    """Docstring."""
    import os
    import re

    text = f"{math.pi:.3f}" 'abc'  # comment
    return parse(text, 1_000) + LIMIT


@dg.asset
def b():
    return Model().f(1)


@dg.asset
def c():
    return 3


assets = [a, b, c]
'''

HELPERS = '''
Text = str


def parse(text: Text, number=1):
    """Parses."""
    # why
    result = text.strip()
    return result * number


def unrelated():
    return 1


class Model:
    """A model."""

    rate: int = 1
    """Its rate."""

    def f(self, x):
        """Computes."""
        return x
'''

OTHER = '''
LIMIT = 1
"""Limit."""
UNRELATED = 2
'''

EDITS = {
    "a comment": ("helpers.py", "# why", "# for no reason"),
    "no comment": ("helpers.py", "    # why\n", ""),
    "blank lines": ("helpers.py", "# why", "# why\n\n\n"),
    "a docstring": ("helpers.py", '"""Parses."""', '"""Parses text."""'),
    "no docstring": ("helpers.py", '    """Parses."""\n', ""),
    "the docstring of a class": ("helpers.py", '"""A model."""', '"""The model."""'),
    "the docstring of a method": ("helpers.py", '        """Computes."""\n', ""),
    "the docstring of an attribute": ("helpers.py", '"""Its rate."""', ""),
    "the docstring of a constant": ("other.py", '"""Limit."""', '"""The limit."""'),
    "the docstring of a module": ("assets.py", '"""Assets."""', '"""The assets."""'),
    "lines": ("helpers.py", "text.strip()", "(\n        text\n        .strip()\n    )"),
    "an unrelated function": ("helpers.py", "return 1\n", "return 2\n"),
    "an unrelated constant": ("other.py", "UNRELATED = 2", "UNRELATED = 3"),
    "a new function above": ("helpers.py", "def parse", "def new():\n    pass\n\n\ndef parse"),
    "an annotation": ("helpers.py", "number=1):", "number: 'int' = 1) -> str:"),
    "an annotated variable": ("helpers.py", "result = ", "result: str = "),
    "what only tells a type": ("helpers.py", "Text = str", "Text = bytes"),
    "`pass`": ("helpers.py", "    return result", "    pass\n    return result"),
    "quotes": ("assets.py", "'abc'", '"abc"'),
    "how a text is put together": ("assets.py", "'abc'", '"a" "bc"'),
    "how a number is written": ("assets.py", "1_000", "1000"),
    "the order of imports": ("assets.py", "import os\n    import re", "import re, os"),
    "the group": ("assets.py", 'group_name="one"', 'group_name="two"'),
    "the description": ("assets.py", '"Text."', '"Other text."'),
    "owners, tags and kinds": (
        "assets.py",
        'owners=["team:data"],\n    tags={"a": "b"},\n    kinds={"python"},',
        "kinds=set(),",
    ),
    "metadata": ("assets.py", '{"x": 1}', '{"x": 2}'),
    "the docstring of an asset": ("assets.py", '"""Docstring."""', ""),
    "another asset": ("assets.py", "return 3", "return 3  # c"),
    "a re-export instead of the module": ("assets.py", "from .other import", "from . import"),
    "the way of an import": (
        "assets.py",
        "from .helpers import Model, parse",
        "from {pkg}.helpers import (\n    parse,\n    Model,\n)",
    ),
}


@pytest.mark.parametrize("name", EDITS)
def test_it_does_not_count(tmp_path: Path, name: str) -> None:
    files = {"assets.py": ASSETS, "helpers.py": HELPERS, "other.py": OTHER}
    project = MadeProject(tmp_path, files)
    project.write("__init__.py", "from .other import LIMIT")
    assert project.changed_by(lambda it: it.edit(*EDITS[name])) == set()


def test_a_folder_elsewhere_does_not_count(tmp_path: Path) -> None:
    project = MadeProject(tmp_path / "a", {"assets.py": ASSETS, "helpers.py": HELPERS})
    project.write("other.py", OTHER)
    before = project.versions()
    project.folder = project.folder.parent.rename(tmp_path / "b") / project.name
    assert project.versions() == before


def test_libraries_within_the_project_folder_do_not_count(tmp_path: Path) -> None:
    text = """
    import sys, pathlib
    import dagster as dg
    sys.path.insert(0, str(pathlib.Path(__file__).parent / "venv/lib/site-packages"))
    import library_of_{pkg}
    sys.path.pop(0)
    @dg.asset
    def a():
        return library_of_{pkg}.f()
    assets = [a]
    """
    project = MadeProject(tmp_path, {"assets.py": text})
    file = f"venv/lib/site-packages/library_of_{project.name}.py"
    project.write(file, "def f():\n    return 1\n")
    assert project.changed_by(lambda it: it.edit(file, "return 1", "return 2")) == set()


def test_the_standard_library_within_the_project_folder_does_not_count(tmp_path: Path) -> None:
    files = ProjectFiles([Path(ast.__file__).parents[1], tmp_path])
    assert not files.holds(Path(ast.__file__))
    assert files.holds(tmp_path / "a.py")


def test_each_change_reaches_exactly_the_assets_that_use_it(tmp_path: Path) -> None:
    files = {"assets.py": ASSETS, "helpers.py": HELPERS, "other.py": OTHER}
    project = MadeProject(tmp_path, files)
    edits = {
        ("helpers.py", "text.strip()", "text.lstrip()"): {"a"},
        ("other.py", "LIMIT = 1", "LIMIT = 2"): {"a"},
        ("helpers.py", "rate: int = 1", "rate: int = 2"): {"b"},
        ("helpers.py", "return x", "return -x"): {"b"},
        ("assets.py", "return 3", "return 4"): {"c"},
        ("assets.py", "import math", "import cmath as math"): {"a"},
    }
    for edit, changed in edits.items():
        assert project.changed_by(lambda it, edit=edit: it.edit(*edit)) == changed
