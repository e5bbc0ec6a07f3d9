"""What another IO manager keeps is up to date where it is, or where everybody can load it.

Where the files of a `UPathIOManager` lie is not documented: see
`data_pipeline/memo/other_io_managers.py`.
"""

import os
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import pytest
import sqlalchemy as sa

from data_pipeline.instances.partitions import INSTANCE_PARTITIONS
from data_pipeline.memo.other_io_managers import (
    shared_output,
)
from data_pipeline_tests.io_manager.runs import rows
from data_pipeline_tests.memo.jobs import called
from data_pipeline_tests.memo.stages import asset, constant, failing
from data_pipeline_tests.memo.step_processes import BY_PROCESSES
from data_pipeline_tests.memo.world import World, new_storage, shared_storage

KINDS = "SELECT name, kind FROM full_catalog.tables ORDER BY 1"


class Shelf(dg.IOManager):
    """Keeps values in this process; those of `lost` cannot be loaded."""

    def __init__(self) -> None:
        self.values: dict[tuple[str, ...], Any] = {}
        self.lost: set[str] = set()

    def handle_output(self, context: dg.OutputContext, obj: Any) -> None:
        self.values[*context.asset_key.path, context.asset_partition_key] = obj

    def load_input(self, context: dg.InputContext) -> Any:
        if context.asset_key.path[-1] in self.lost:
            raise OSError("the shelf is locked")
        return self.values[*context.asset_key.path, context.asset_partition_key]


def model(version: str = "1", **options: Any) -> dg.AssetsDefinition:
    def fit() -> Any:
        called("model")
        return {"weight": int(version)}

    return asset("s/model", fit, version=version, **{"io_manager_key": "other", **options})


def score() -> dg.AssetsDefinition:
    def scored(model: Any) -> pd.DataFrame:
        called("score")
        return pd.DataFrame({"v": [model["weight"]]})

    return asset("s/score", scored, "s/model")


def files(folder: Path) -> dict[str, Any]:
    return {"other": dg.FilesystemIOManager(base_dir=str(folder))}


@pytest.fixture(params=["files", "shelf"])
def other(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Any]:
    """The resource `other`: an IO manager that is not ours."""
    if request.param == "files":
        return files(tmp_path / "laptop")
    shelf = Shelf()
    return {"other": shelf if request.param == "shelf" else dg.io_manager()(lambda _: shelf)}


def steps(world: World, *things: Any, **settings: Any) -> set[str]:
    run = world.made(lambda: list(things), **settings)
    assert run.success
    return run.steps


BOTH = {"s__model", "s__score"}


@pytest.mark.parametrize("other", ["files", "shelf", "a function"], indirect=True)
def test_it_is_computed_when_its_code_or_inputs_change(
    world: World, pipeline_database: sa.Engine, other: dict[str, Any]
) -> None:
    assert steps(world, model(), score(), other) == BOTH
    assert rows(pipeline_database, KINDS) == [("model", "elsewhere"), ("score", "table")]
    assert steps(world, model(), score(), other) == set()
    assert steps(world, model("2"), score(), other) == BOTH
    assert steps(world, model("2"), score(), other) == set()
    assert rows(pipeline_database, "SELECT v FROM full_s.score") == [(2,)]
    assert steps(world, constant("s/a", 1), model("2", deps=[["s", "a"]]), score(), other) == {
        "s__a",
        *BOTH,
    }


def test_what_follows_reads_it_though_it_is_not_computed(
    world: World, pipeline_database: sa.Engine, other: dict[str, Any]
) -> None:
    assert steps(world, model(), other) == {"s__model"}
    assert steps(world, model(), score(), other) == {"s__score"}
    assert rows(pipeline_database, "SELECT v FROM full_s.score") == [(1,)]


@pytest.mark.usefixtures("forkserver")
def test_in_several_processes_it_is_computed_once(world: World, tmp_path: Path) -> None:
    world.state["folder"] = str(tmp_path / "laptop")
    settings: dict[str, Any] = {
        "builder": "kept_by_files",
        "storage": shared_storage(tmp_path),
        "run_config": BY_PROCESSES,
    }
    assert world.run(**settings).success
    assert world.calls == {"model": 1, "score": 1}
    assert world.run(**settings).steps == set()


def test_a_file_that_is_not_here_is_made_here(world: World, tmp_path: Path) -> None:
    mine, yours = files(tmp_path / "mine"), files(tmp_path / "yours")
    assert steps(world, model(), score(), mine) == BOTH
    assert steps(world, model(), score(), yours) == {"s__model"}
    assert "its value, kept by IO manager `other`, cannot be loaded here" in world.last.log
    # Both are the same now.
    assert steps(world, model(), score(), yours) == set()
    assert steps(world, model(), score(), mine) == set()
    # Mine is an old one now.
    assert steps(world, model("2"), score(), yours) == BOTH
    assert steps(world, model("2"), score(), mine) == {"s__model"}
    assert "is another one" in world.last.log
    assert steps(world, model("2"), score(), yours) == set()


@pytest.mark.parametrize("what", ["removed", "written anew", "of a failed run"])
def test_a_file_that_is_another_one_is_made_again(world: World, tmp_path: Path, what: str) -> None:
    laptop = files(tmp_path / "laptop")
    file = tmp_path / "laptop" / "s" / "model" / "full"
    things = [model(), score(), constant("t/z", 1, "s/score"), laptop]
    assert len(steps(world, *things)) == 3
    if what == "of a failed run":
        broken = failing("s/score", "s/model", version="2")
        assert not world.made(lambda: [model("2"), broken, laptop]).success
    else:
        file.unlink()
        if what == "written anew":
            file.write_bytes(b"something else")
    assert steps(world, *things) == {"s__model"}
    assert steps(world, *things) == set()


def test_what_others_cannot_load_here_is_made_again(world: World) -> None:
    shelf = Shelf()
    things = [model(), score(), {"other": shelf}]
    assert steps(world, *things) == BOTH
    shelf.lost.add("model")
    assert steps(world, *things) == {"s__model"}
    assert "cannot be loaded here: OSError: the shelf is locked" in world.last.log
    shelf.lost.clear()
    assert steps(world, *things) == set()


def test_what_is_declared_shared_is_not_looked_for(world: World, tmp_path: Path) -> None:
    shelf = Shelf()
    shelf.lost.add("model")
    shared = model(metadata=shared_output())
    assert steps(world, shared, {"other": shelf}) == {"s__model"}
    assert steps(world, shared, {"other": shelf}) == set()
    assert steps(world, shared, {"other": Shelf()}) == set()
    # What was made without the declaration may be anywhere.
    assert steps(world, model(), {"other": Shelf()}) == {"s__model"}


def test_its_configuration_is_that_of_the_run(world: World, tmp_path: Path) -> None:
    class Folder(dg.ConfigurableIOManagerFactory[dg.IOManager]):
        place: str

        def create_io_manager(self, context: dg.InitResourceContext) -> dg.IOManager:
            made = dg.FilesystemIOManager(base_dir=f"{tmp_path}/{self.place}")
            return made.create_io_manager(context)

    things = [model(), score(), {"other": Folder.configure_at_launch()}]

    def run(place: str) -> set[str]:
        config = {"resources": {"other": {"config": {"place": place}}}}
        return steps(world, *things, run_config=config)

    assert [run("a"), run("a"), run("b")] == [BOTH, set(), {"s__model"}]


@pytest.mark.parametrize("first", ["other", "io_manager"])
def test_another_io_manager_takes_over(
    world: World, pipeline_database: sa.Engine, tmp_path: Path, first: str
) -> None:
    laptop = files(tmp_path / "laptop")
    second = "io_manager" if first == "other" else "other"
    kinds = {"other": "elsewhere", "io_manager": "table"}

    def table(manager: str) -> dg.AssetsDefinition:
        return asset("s/t", lambda: pd.DataFrame({"v": [1]}), io_manager_key=manager)

    for number, manager in enumerate((first, second, first)):
        # An earlier table lies in its slot, and an earlier file is not known any more.
        is_kept = number == 2 and manager == "io_manager"
        assert steps(world, table(manager), laptop) == (set() if is_kept else {"s__t"})
        assert steps(world, table(manager), laptop) == set()
        assert rows(pipeline_database, KINDS) == [("t", kinds[manager])]
        [(there,)] = rows(pipeline_database, "SELECT to_regclass('full_s.t') IS NOT NULL")
        assert there == (manager == "io_manager")


def test_one_step_may_use_several(
    world: World, pipeline_database: sa.Engine, other: dict[str, Any]
) -> None:
    @dg.multi_asset(
        outs={
            "a": dg.AssetOut(key=["s", "a"], code_version="1", io_manager_key="other"),
            "b": dg.AssetOut(key=["s", "b"], code_version="1"),
            "c": dg.AssetOut(key=["s", "c"], code_version="1", dagster_type=dg.Nothing),
        },
        internal_asset_deps={
            "a": set(),
            "b": {dg.AssetKey(["s", "a"])},
            "c": {dg.AssetKey(["s", "a"]), dg.AssetKey(["s", "b"])},
        },
        partitions_def=INSTANCE_PARTITIONS,
    )
    def several() -> Any:
        yield dg.Output({"v": 1}, "a")
        yield dg.Output(pd.DataFrame({"v": [1]}), "b")

    assert steps(world, several, other) == {"several"}
    assert rows(pipeline_database, KINDS) == [("a", "elsewhere"), ("b", "table"), ("c", "none")]
    assert steps(world, several, other) == set()


@pytest.mark.parametrize("is_here", [True, False])
def test_what_a_failed_run_made_is_used_where_it_is(
    world: World, tmp_path: Path, is_here: bool
) -> None:
    laptop = files(tmp_path / "laptop")
    assert not world.made(lambda: [model(), failing("s/z", "s/model"), laptop]).success
    if not is_here:
        os.remove(tmp_path / "laptop" / "s" / "model" / "full")
    last = constant("s/z", 1, "s/model")
    assert steps(world, model(), last, laptop) == {"s__z"} | (set() if is_here else {"s__model"})
    assert steps(world, model(), last, laptop) == set()


def test_a_data_version_that_its_code_gives_counts(world: World, other: dict[str, Any]) -> None:
    def made(code: str, version: str) -> list[Any]:
        def fit() -> Any:
            return dg.MaterializeResult(
                value={"weight": int(code)}, data_version=dg.DataVersion(version)
            )

        return [asset("s/model", fit, version=code, io_manager_key="other"), score(), other]

    assert steps(world, *made("1", "a")) == BOTH
    assert steps(world, *made("2", "a")) == {"s__model"}
    assert steps(world, *made("3", "b")) == BOTH


def test_it_is_not_recorded_in_every_run(world: World, other: dict[str, Any]) -> None:
    def count(storage: dg.DagsterInstance) -> int:
        filters = dg.AssetRecordsFilter(asset_key=dg.AssetKey(["s", "model"]))
        return len(storage.fetch_materializations(filters, limit=100).records)

    colleague = new_storage()
    steps(world, model(), score(), other)
    for storage in (world.storage, colleague, colleague, world.storage):
        assert steps(world, model(), score(), other, storage=storage) == set()
    assert count(world.storage) == count(colleague) == 1


def test_an_io_manager_that_cannot_be_made_is_a_reason_to_run(world: World) -> None:
    @dg.io_manager
    def moody() -> dg.IOManager:
        if moods:
            raise OSError(moods[0])
        return shelf

    shelf = Shelf()
    moods: list[str] = []
    assert steps(world, model(), {"other": moody}) == {"s__model"}
    moods.append("not today")
    run = world.made(lambda: [model(), {"other": moody}])
    assert not run.success
    assert "s__model: its value, kept by IO manager `other`, cannot be loaded here" in run.log
    moods.clear()
    assert steps(world, model(), {"other": moody}) == set()
