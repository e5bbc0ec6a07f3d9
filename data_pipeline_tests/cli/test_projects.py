"""The command line works on the project of the current directory, whatever its layout."""

import re
import shlex
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa
from click.testing import CliRunner

from data_pipeline.cli import main
from data_pipeline.instances.code_location import code_modules
from data_pipeline.instances.project import (
    build_command,
    command,
    configuration_file,
    home,
    working_on,
)
from data_pipeline_tests.cli.made_projects import (
    ASSETS,
    DEFINITIONS,
    INSTANCES,
    PYPROJECT,
    Project,
)
from data_pipeline_tests.io_manager.runs import rows
from data_pipeline_tests.launch.conftest import databases as databases
from data_pipeline_tests.launch.processes import environment


@pytest.fixture
def project(tmp_path: Path, database_url: sa.URL) -> Project:
    """A folder with a space in its name, which a database belongs to."""
    folder = tmp_path / "my bazaar"
    folder.mkdir()
    url = database_url.set(drivername="postgresql").render_as_string(hide_password=False)
    return Project(folder, environment(DATA_PIPELINE_DATABASE_URL=url))


Layout = Callable[[Project], str]


def usual(project: Project) -> None:
    project.package("bazaar")
    project.put("instances.yaml", INSTANCES)
    project.put("pyproject.toml", PYPROJECT.format(module="bazaar.definitions"))


@pytest.fixture
def engine(database_url: sa.URL) -> sa.Engine:
    return sa.create_engine(database_url, poolclass=sa.NullPool)


def in_package(project: Project) -> str:
    usual(project)
    return "bazaar.definitions"


def below_src(project: Project) -> str:
    project.package("src/market_place")
    project.put("instances.yaml", INSTANCES)
    project.put("pyproject.toml", PYPROJECT.format(module="market_place.definitions"))
    return "market_place.definitions"


def for_dg(project: Project) -> str:
    project.package("src/bazaar")
    project.put("src/bazaar/instances.yaml", INSTANCES)
    project.put("pyproject.toml", '[tool.dg.project]\nroot_module = "bazaar"\n')
    return "bazaar.definitions"


def as_file(project: Project) -> str:
    project.put("code/assets.py", ASSETS)
    project.put("code/all.py", DEFINITIONS.replace("{package}.", ""))
    project.put("instances.yaml", INSTANCES)
    entry = "python_file: {relative_path: code/all.py, working_directory: code}"
    project.put("workspace.yaml", f"load_from:\n  - {entry}\n")
    return "code/all.py"


def as_module(project: Project) -> str:
    project.package("bazaar")
    project.put("bazaar/instances.yaml", INSTANCES)
    entry = "python_module: {module_name: bazaar.definitions, attribute: defs, location_name: b}"
    project.put("workspace.yaml", f"load_from:\n  - {entry}\n")
    return "bazaar.definitions"


def as_package(project: Project) -> str:
    project.package("bazaar")
    project.put("bazaar/__init__.py", "from .definitions import defs as defs\n")
    project.put("instances.yaml", INSTANCES)
    project.put("workspace.yaml", "load_from: [{python_package: bazaar}]\n")
    return "bazaar"


def by_a_function(project: Project) -> str:
    usual(project)
    project.put(
        "bazaar/build.py",
        DEFINITIONS.format(package="bazaar").replace("defs = ", "def build():\n    return "),
    )
    text = "import dagster as dg\nfrom bazaar.build import build\n\n"
    project.put(
        "bazaar/definitions.py", f"{text}@dg.definitions\ndef defs():\n    return build()\n"
    )
    return "bazaar.definitions"


LAYOUTS = [in_package, below_src, for_dg, as_file, as_module, as_package]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_project_is_found_whatever_its_layout(
    project: Project, layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = layout(project)
    for folder in (project.folder, *(item for item in project.folder.iterdir() if item.is_dir())):
        monkeypatch.chdir(folder)
        [module] = code_modules(folder)
        with working_on(module):
            shown = module.file.relative_to(project.folder) if module.by_file else module.name
            assert str(shown) == name
            configuration = configuration_file({})
            assert configuration is not None
            assert configuration.read_text() == INSTANCES
            assert home() == project.folder / ".data_pipeline"
            assert command("plan", "part") == "data-pipeline plan part"
            words = shlex.split(build_command("part"))
            assert words[:3] == ["dagster", "job", "execute"]
            assert words[-2:] == ["-j", "part"]


@pytest.mark.parametrize(
    "layout", [pytest.param(below_src, marks=pytest.mark.soak), as_file, by_a_function]
)
def test_commands_run_what_is_found(project: Project, layout: Layout, engine: sa.Engine) -> None:
    module = layout(project)
    said = re.compile(f"project (/.*/)?{module}, configuration {project.folder}/.*instances.yaml")
    text = project.fail("data-pipeline", "run", "part")
    assert said.search(text), text
    told = re.search(f"Build it: (dagster job execute -[mf] {module} .*-j whole)", text)
    assert told, text
    project.succeed(*shlex.split(told[1]))
    project.succeed("data-pipeline", "run", "part")
    assert rows(engine, "SELECT count(*) FROM part_bazaar_result.twice") == [(2,)]


def test_a_module_can_be_named(project: Project) -> None:
    project.package("bazaar")
    project.put("bazaar/instances.yaml", INSTANCES)
    given = ("-m", "bazaar.definitions")
    assert "would run" in project.succeed("data-pipeline", *given, "plan", "whole")
    project.succeed("data-pipeline", "run", *given, "whole")
    text = project.succeed("data-pipeline", "drop", "whole", "--force", *given)
    assert "To drop it: data-pipeline -m bazaar.definitions drop whole --yes --force" in text
    assert (project.folder / ".data_pipeline").is_dir()


def test_dagster_loads_it_with_its_configuration_from_anywhere(
    project: Project, engine: sa.Engine, tmp_path: Path
) -> None:
    usual(project)
    other = tmp_path / "other"
    other.mkdir()
    (other / "instances.yaml").write_text("instances: {elsewhere: {}}")
    (other / "pyproject.toml").write_text(PYPROJECT.format(module="other"))
    options = ("-m", "bazaar.definitions", "-d", str(project.folder))
    outside = replace(project, folder=other)
    text = outside.fail("dagster", "job", "execute", *options, "-j", "part")
    again = shlex.join(["dagster", "job", "execute", *options, "-j", "whole"])
    assert f"Build it: {again}" in text
    outside.succeed(*shlex.split(again))
    assert rows(engine, "SELECT count(*) FROM whole_bazaar_result.twice") == [(3,)]
    assert not (other / ".data_pipeline").exists()


SAMPLED = INSTANCES.replace("copy_filter_cnt: 2", "sample: {roots: {flihgts: {rows: 1}}}")
BROKEN = "from bazaar.assets import assets\n\ndefs = none_such(assets)\n"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"bazaar/definitions.py": BROKEN}, "line 3, in <module>.*name 'none_such' is not defined"),
        ({"bazaar/definitions.py": "x ="}, "line 1.*SyntaxError"),
        ({"bazaar/assets.py": "import lost"}, r"assets.py.*No module named 'lost'"),
        (
            {"instances.yaml": SAMPLED},
            "instances.part.attrs.sample.roots: there is no input table `flihgts`",
        ),
    ],
)
def test_errors_of_the_project_are_told_with_what_was_loaded_from_where(
    project: Project, change: dict[str, str], told: str
) -> None:
    usual(project)
    text = DEFINITIONS.format(package="bazaar").replace("import ", "import check_samples, ", 1)
    project.put("bazaar/definitions.py", f"{text}check_samples(assets)\n")
    for path, content in change.items():
        project.put(path, content)
    text = project.fail("data-pipeline", "plan", "part")
    assert re.search(told, text, re.DOTALL), text
    assert f"`bazaar.definitions` ({project.folder / 'bazaar/definitions.py'}, named by" in text
    assert f"[tool.dagster] in {project.folder / 'pyproject.toml'}" in text
    assert "data_pipeline/cli" not in text
    assert "_core" not in text


RESOURCE = """
import dagster as dg
from data_pipeline import instance_definitions
from bazaar.assets import INSTANCE_PARTITIONS

class Till(dg.ConfigurableResource):
    drawer: str

    def setup_for_execution(self, context):
        raise ValueError(f"drawer {self.drawer} is stuck")

@dg.asset(key=["bazaar", "coins"], partitions_def=INSTANCE_PARTITIONS)
def coins(till: Till):
    return 1

defs = instance_definitions([coins], resources={"till": Till(drawer=dg.EnvVar("BAZAAR_DRAWER"))})
"""


def test_errors_of_resources_are_told_with_their_line_and_no_traceback(project: Project) -> None:
    usual(project)
    project.put("bazaar/definitions.py", RESOURCE)
    for word in ("plan", "run"):
        text = project.fail("data-pipeline", word, "whole")
        assert 'the environment variable "BAZAAR_DRAWER" which is not set' in text
        assert "Traceback" not in text
        assert "_config/" not in text
    opened = replace(project, env={**project.env, "BAZAAR_DRAWER": "left"})
    text = opened.fail("data-pipeline", "run", "whole")
    file = project.folder / "bazaar/definitions.py"
    assert "ResourceDefinition till\n" in text
    assert f"ValueError: drawer left is stuck ({file}, line 10)\n" in text
    assert "Traceback" not in text


def refused(*words: str) -> str:
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 1, result.output
    return result.output


@pytest.mark.parametrize("words", [("plan", "full"), ("run", "full"), ("db", "url"), ("gc",)])
def test_without_a_project_it_is_said_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    text = refused(*words)
    assert f"No project is found in {tmp_path} or above it" in text
    assert "data-pipeline init shop" in text


def test_of_several_modules_one_has_to_be_named(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project.folder)
    project.put("workspace.yaml", "load_from: [{python_module: a}, {python_file: b/c.py}]")
    text = refused("plan", "full")
    assert "workspace.yaml names several modules. Say which one is meant:" in text
    assert f"-m a\n  -m {project.folder / 'b/c.py'}" in text


def test_a_module_that_is_not_there_is_told_with_where_it_was_looked_for(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project.folder)
    usual(project)
    text = refused("plan", "part", "-m", "bazar.definitions")
    assert "There is no module `bazar.definitions` (-m names it)" in text
    assert str(project.folder) in text


def test_a_name_of_a_module_that_is_no_text_is_told(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project.folder)
    project.put("pyproject.toml", "[tool.dagster]\nmodule_name = 5\n")
    assert "pyproject.toml: 5 is no name of a module." in refused("plan", "part")


def test_a_project_without_configuration_is_told_what_to_write(project: Project) -> None:
    usual(project)
    (project.folder / "instances.yaml").unlink()
    for words in (
        ["data-pipeline", "plan", "part"],
        ["dagster", "job", "execute", "-m", "bazaar.definitions", "-j", "part"],
    ):
        text = project.fail(*words)
        assert "There is no configuration for `bazaar.definitions`" in text
        assert f"\n  {project.folder / 'instances.yaml'}" in text


def test_a_relative_configuration_starts_at_the_current_directory(project: Project) -> None:
    usual(project)
    project.put("config/other.yaml", INSTANCES.replace("part", "little"))
    for below, path in (("", "config/other.yaml"), ("bazaar", "../config/other.yaml")):
        text = project.succeed(
            "data-pipeline", "plan", "little", below=below, DATA_PIPELINE_CONFIG=path
        )
        assert "config/other.yaml" in text
