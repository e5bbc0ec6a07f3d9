"""Two code versions compared, in words for the log of a run."""

from pathlib import Path

from data_pipeline.identity.change_reasons import changed_parts
from data_pipeline_tests.code_version.made_project import MadeProject

ASSETS = """
import dagster as dg
from data_pipeline import sql_file
from .helpers import Model, parse_wind
from . import other

LIMIT = 1

@dg.asset
def clean_weather():
    sql_file("clean.sql")
    return parse_wind(LIMIT), Model(), other.clean()

def made(value):
    @dg.asset(name="made")
    def load():
        return value
    return load

load = made(1)
"""

HELPERS = "def parse_wind(x):\n    return x\n\nclass Model:\n    rate = 1\n"


def project_of(tmp_path: Path) -> MadeProject:
    other = "def parse_wind(x):\n    return 2\n\ndef clean():\n    return 3\n"
    files = {"assets.py": ASSETS, "helpers.py": HELPERS, "other.py": other}
    return MadeProject(tmp_path, {**files, "clean.sql": "SELECT 1"})


def words(project: MadeProject, *edits: tuple[str, str, str], name: str = "clean_weather") -> str:
    before = project.version(name).parts
    for edit in edits:
        project.edit(*edit)
    return "; ".join(changed_parts(before, project.version(name).parts))


def test_it_names_what_changed(tmp_path: Path) -> None:
    project = project_of(tmp_path)
    assert words(project) == ""
    assert words(project, ("helpers.py", "return x", "return 2 * x")) == "helper `parse_wind`"
    assert words(project, ("assets.py", "LIMIT = 1", "LIMIT = 2")) == "constant `LIMIT`"
    assert words(project, ("helpers.py", "rate = 1", "rate = 2")) == "class `Model`"
    assert words(project, ("clean.sql", "1", "2")) == "SQL file `clean.sql`"
    edit = ("assets.py", "parse_wind(LIMIT)", "parse_wind(-LIMIT)")
    assert words(project, edit) == "its own code `clean_weather`"


def test_its_own_code_comes_first(tmp_path: Path) -> None:
    project = project_of(tmp_path)
    edits = [("assets.py", "LIMIT = 1", "LIMIT = 2"), ("assets.py", "(LIMIT)", "(-LIMIT)")]
    assert words(project, *edits) == "its own code `clean_weather`; constant `LIMIT`"


def test_what_is_new_or_gone_is_said(tmp_path: Path) -> None:
    edit = ("other.py", "return 3", "return parse_wind(4)")
    project = project_of(tmp_path)
    assert words(project, edit) == "helper `clean`; helper `parse_wind` is new"
    edit = ("assets.py", "parse_wind(LIMIT)", "parse_wind(3)")
    said = "its own code `clean_weather`; constant `LIMIT` is not used any more"
    assert words(project, edit) == said


def test_names_that_are_not_clear_are_whole(tmp_path: Path) -> None:
    project = project_of(tmp_path)
    project.edit("other.py", "return 3", "return parse_wind(4)")
    edits = [("helpers.py", "return x", "return -x"), ("other.py", "return 2", "return 4")]
    said = words(project, *edits)
    one, other = (f"helper `{project.name}.{module}.parse_wind`" for module in ("helpers", "other"))
    assert said == f"{one}; {other}"


def test_a_value_is_named_with_its_function(tmp_path: Path) -> None:
    edit = ("assets.py", "made(1)", "made(2)")
    assert words(project_of(tmp_path), edit, name="load") == "value `value` of `load`"


def test_a_package_is_named_with_its_versions() -> None:
    old = {"pandas": "package 2.2", "polars": "package 1.0"}
    new = {"pandas": "package 3.0", "pyarrow": "package 20.0"}
    assert changed_parts(old, new) == [
        "package `pandas` (2.2 to 3.0)",
        "package `pyarrow` is new",
        "package `polars` is not used any more",
    ]
