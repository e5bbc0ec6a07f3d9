"""Code versions of Dagster's assets, whatever kind, and their way into its events.

They rely on where Dagster keeps an asset's function (see `asset_function.py` in `caching`): these
tests fail when Dagster changes it.
"""

from pathlib import Path
from types import ModuleType

import dagster as dg
import pytest

from data_pipeline.code_version.code_version import CodeVersion, code_versions
from data_pipeline.pipelines import flights, quickstart
from data_pipeline_tests.code_version.made_project import MadeProject

ASSETS = """
import dagster as dg

def one():
    return 1

def two():
    return 2

@dg.asset
def plain():
    return one()

@dg.asset(code_version="mine")
def explicit():
    return one()

@dg.multi_asset(outs={"x": dg.AssetOut(), "y": dg.AssetOut(code_version="mine")})
def several():
    return two(), two()

@dg.op
def start():
    return one()

@dg.op
def add(a, b):
    return a + two()

@dg.op
def more():
    return 3

@dg.graph_asset
def graph():
    return add(start(), more())

@dg.asset(deps=["plain"])
async def asynchronous():
    return two()

external = dg.AssetsDefinition(specs=[dg.AssetSpec("external")])

assets = [plain, explicit, several, graph, asynchronous, external]
"""


@pytest.fixture
def project(tmp_path: Path) -> MadeProject:
    return MadeProject(tmp_path, {"assets.py": ASSETS})


def test_each_asset_without_a_version_gets_one(project: MadeProject) -> None:
    found = code_versions(project.load("assets").assets)
    versions = {key.path[-1]: version.version for key, version in found.items()}
    assert "external" not in versions  # nothing of ours makes it
    assert versions.pop("explicit") == versions.pop("y") == "mine"
    assert len(set(versions.values())) == len(versions) == 4
    assert all(len(version or "") == 16 for version in versions.values())


@pytest.mark.parametrize(
    ("old", "new", "changed"),
    [
        ("return 1", "return 4", {"plain", "graph"}),
        ("return 2", "return 4", {"x", "graph", "asynchronous"}),
        ("return 3", "return 4", {"graph"}),
        ("add(start(), more())", "add(more(), start())", {"graph"}),
        ("def several():\n", "def several():\n    print()\n", {"x"}),
        ('deps=["plain"]', 'deps=["x"]', set()),
    ],
)
def test_a_change_reaches_assets_of_every_kind(
    project: MadeProject, old: str, new: str, changed: set[str]
) -> None:
    assert project.changed_by(lambda it: it.edit("assets.py", old, new)) == changed


def test_an_explicit_version_is_not_computed(project: MadeProject) -> None:
    versions = code_versions(project.load("assets").assets)
    assert versions[dg.AssetKey("explicit")] == CodeVersion("mine")
    assert versions[dg.AssetKey("plain")].parts.keys() == {
        f"{project.name}.assets.plain",
        f"{project.name}.assets.one",
    }


@pytest.mark.filterwarnings("error::data_pipeline.code_version.code_warnings.UnresolvedCodeWarning")
@pytest.mark.parametrize("pipeline", [flights, quickstart])
def test_the_pipelines_are_covered_whole(pipeline: ModuleType) -> None:
    versions = code_versions(pipeline.assets)
    assert {key for asset in pipeline.assets for key in asset.keys} == versions.keys()
    assert not any(version.unresolved for version in versions.values())
