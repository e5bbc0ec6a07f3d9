"""The pytest plugin: tables of instances in tests, skipped or built where they are stale."""

import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest
import sqlalchemy as sa

from data_pipeline_tests.cli.made_projects import ASSETS, DEFINITIONS, INSTANCES, PYPROJECT
from data_pipeline_tests.launch.processes import environment

pytest_plugins = "pytester"

# What is installed may be older than this checkout, and a plugin cannot be loaded twice.
_IS_INSTALLED = any(found.name == "data_pipeline" for found in entry_points(group="pytest11"))
PLUGIN = [] if _IS_INSTALLED else ["-p", "data_pipeline.testing.plugin"]

TESTS = """
import pytest

@pytest.mark.part
def test_part(instance_table):
    instance_table("part", "bazaar_result/twice")

@pytest.mark.whole
def test_whole(instance_table, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert len(instance_table("whole", "bazaar_result/twice")) == 3
"""


class Folder:
    """A project with tests, and what pytest says of them."""

    def __init__(self, pytester: pytest.Pytester, url: str) -> None:
        self._pytester = pytester
        self._env = environment(DATA_PIPELINE_DATABASE_URL=url)
        made = {
            "bazaar/__init__.py": "",
            "bazaar/assets.py": ASSETS,
            "bazaar/definitions.py": DEFINITIONS.format(package="bazaar"),
            "instances.yaml": INSTANCES,
            "pyproject.toml": PYPROJECT.format(module="bazaar.definitions"),
            "test_it.py": TESTS,
        }
        for path, text in made.items():
            self.put(path, text)

    def put(self, path: str, text: str) -> None:
        file = self._pytester.path / path
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)

    def run(self, *options: str, started_in: Path | None = None) -> str:
        command = [*PLUGIN, "--strict-markers", "-rs", *options]
        words = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *command]
        ended = subprocess.run(
            words,
            cwd=started_in or self._pytester.path,
            env=self._env,
            capture_output=True,
            text=True,
        )
        return ended.stdout + ended.stderr


@pytest.fixture
def folder(pytester: pytest.Pytester, database_url: sa.URL) -> Folder:
    url = database_url.set(drivername="postgresql").render_as_string(hide_password=False)
    return Folder(pytester, url)


def test_marks_and_the_option_reach_the_fixture(folder: Folder) -> None:
    told = folder.run("--instance-tables=build", "-m", "whole")
    assert "1 passed, 1 deselected" in told, told


def test_the_project_is_that_of_the_tests_where_pytest_starts_outside(
    folder: Folder, pytester: pytest.Pytester, tmp_path_factory: pytest.TempPathFactory
) -> None:
    elsewhere, tests = tmp_path_factory.mktemp("elsewhere"), str(pytester.path)
    options = ("--instance-tables=build", "-m", "whole", f"--rootdir={tests}")
    told = folder.run(*options, f"{tests}/test_it.py", started_in=elsewhere)
    assert "1 passed, 1 deselected" in told, told


def test_it_loads_nothing_and_disturbs_nobody(pytester: pytest.Pytester) -> None:
    code = "import sys, data_pipeline.testing.plugin; print([m for m in sys.modules if m in {}])"
    slow = ("dagster", "sqlalchemy", "pandas", "pyarrow", "pydantic", "yaml", "click")
    told = subprocess.run(
        [sys.executable, "-c", code.format(slow)], capture_output=True, text=True, check=True
    )
    assert told.stdout.strip() == "[]"
    (pytester.path / "instances.yaml").write_text("- [of: somebody else")
    pytester.makepyfile("def test_nothing(): pass")
    result = pytester.runpytest_inprocess(*PLUGIN, "--strict-markers")
    result.assert_outcomes(passed=1)
