"""Code outside the project counts by the versions of tracked packages alone."""

import sys
from pathlib import Path

import pandas as pd
import pytest

from data_pipeline.errors import ConfigurationError
from data_pipeline_tests.code_version.made_project import MadeProject

ASSETS = """
import dagster as dg
import pandas as pd
import yaml
from sqlalchemy import func

def helper(frame: pd.DataFrame):
    return frame

@dg.asset
def a():
    return helper(func.count(1))

@dg.asset
def b():
    return yaml.safe_load("1")

@dg.asset
def c(frame: pd.DataFrame):
    return helper(frame)

assets = [a, b, c]
"""


@pytest.fixture
def project(tmp_path: Path) -> MadeProject:
    return MadeProject(tmp_path, {"assets.py": ASSETS})


def differing(project: MadeProject, old: dict[str, str], new: dict[str, str]) -> set[str]:
    before = project.versions(tracked_packages=old)
    after = project.versions(tracked_packages=new)
    return {name for name in before if before[name] != after[name]}


def test_the_version_of_a_package_reaches_the_assets_that_use_it(project: MadeProject) -> None:
    old = {"sqlalchemy": "1", "pandas": "1", "PyYAML": "1", "numpy": "1"}
    assert differing(project, old, {**old, "sqlalchemy": "2"}) == {"a"}
    # Its modules are named otherwise than the package.
    assert differing(project, old, {**old, "PyYAML": "2"}) == {"b"}
    assert differing(project, old, {**old, "numpy": "2"}) == set()


def test_a_package_that_only_tells_types_counts_where_they_are_read(project: MadeProject) -> None:
    assert "c" in differing(project, {"pandas": "1"}, {"pandas": "2"})


def test_no_package_counts_by_default(project: MadeProject) -> None:
    assert not any("package" in said for said in project.version("a").parts.values())


def test_the_installed_version_counts(project: MadeProject) -> None:
    parts = project.version("c", tracked_packages=["pandas"]).parts
    assert parts["pandas"] == f"package {pd.__version__}"


def test_a_package_that_is_not_installed_is_an_error(project: MadeProject) -> None:
    with pytest.raises(ConfigurationError, match="`no-such-package` is not installed"):
        project.versions(tracked_packages=["no-such-package"])


def test_a_text_is_no_list(project: MadeProject) -> None:
    with pytest.raises(ConfigurationError, match="Give a list"):
        project.versions(tracked_packages="pandas")


def installed(folder: Path, direct_url: str | None, version: str | None) -> None:
    info = folder / "tracked_thing-1.0.dist-info"
    info.mkdir(parents=True)
    stated = f"Version: {version}\n" if version else ""
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: tracked-thing\n{stated}")
    if direct_url:
        (info / "direct_url.json").write_text(direct_url)


def test_an_editable_package_is_an_error(
    project: MadeProject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = '{"url": "file:///elsewhere", "dir_info": {"editable": true}}'
    installed(tmp_path / "libraries", url, "1.0")
    monkeypatch.syspath_prepend(tmp_path / "libraries")
    with pytest.raises(ConfigurationError, match="editable mode") as error:
        project.versions(tracked_packages=["tracked-thing"])
    assert "give its version in the configuration" in str(error.value)
    project.versions(tracked_packages={"tracked-thing": "1"})


def test_a_package_without_a_version_is_an_error(
    project: MadeProject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed(tmp_path / "libraries", None, None)
    monkeypatch.syspath_prepend(tmp_path / "libraries")
    with pytest.raises(ConfigurationError, match="states no version"):
        project.versions(tracked_packages=["tracked-thing"])


def beside(tmp_path: Path) -> tuple[MadeProject, MadeProject]:
    """Gives a project, and a package that lies beside it."""
    common = MadeProject(tmp_path / "common" / "src", {"rates.py": "RATE = 1\nOTHER = 10\n"})
    text = f"""
    import dagster as dg
    from {common.name} import rates
    @dg.asset
    def a():
        return rates.RATE
    @dg.asset
    def b():
        from {common.name}.rates import RATE
        return RATE
    assets = [a, b]
    """
    made = MadeProject(tmp_path / "app", {"assets.py": text})
    (tmp_path / "app" / "pyproject.toml").write_text("")
    return made, common


def test_code_of_a_package_beside_the_project_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, common = beside(tmp_path)
    monkeypatch.syspath_prepend(common.folder.parent)
    before = made.versions()
    common.edit("rates.py", "OTHER = 10", "OTHER = 11")
    forget(common)
    assert made.versions() == before
    common.edit("rates.py", "RATE = 1", "RATE = 2")
    forget(common)
    after = made.versions()
    assert before["a"] != after["a"]
    assert before["b"] != after["b"]


def test_a_function_from_beside_that_a_factory_gets_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    common = MadeProject(tmp_path / "common", {"made.py": "def f():\n    return 1\n"})
    text = f"""
    import dagster as dg
    from {common.name}.made import f
    def made(function):
        @dg.asset
        def a():
            return function()
        return a
    assets = [made(f)]
    """
    made = MadeProject(tmp_path / "app", {"assets.py": text})
    (tmp_path / "app" / "pyproject.toml").write_text("")
    monkeypatch.syspath_prepend(tmp_path / "common")
    before = made.versions()
    common.edit("made.py", "return 1", "return 2")
    forget(common)
    assert made.versions() != before


def test_a_package_that_a_version_is_given_of_counts_by_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, common = beside(tmp_path)
    monkeypatch.syspath_prepend(common.folder.parent)
    before = made.versions(tracked_packages={common.name: "1"})
    common.edit("rates.py", "RATE = 1", "RATE = 2")
    forget(common)
    assert made.versions(tracked_packages={common.name: "1"}) == before
    assert made.versions(tracked_packages={common.name: "2"}) != before


def test_libraries_in_a_folder_of_any_name_do_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, common = beside(tmp_path)
    (common.folder.parent / "common-1.0.dist-info").mkdir()
    monkeypatch.syspath_prepend(common.folder.parent)
    before = made.versions()
    common.edit("rates.py", "RATE = 1", "RATE = 2")
    forget(common)
    assert made.versions() == before


def forget(made: MadeProject) -> None:
    """Lets a package be imported anew."""
    for name in [name for name in sys.modules if name.partition(".")[0] == made.name]:
        del sys.modules[name]
