"""A blob whose file is not what was committed is named, and built again by the next run."""

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import sqlalchemy as sa

from data_pipeline.instances.partitions import INSTANCE_PARTITIONS
from data_pipeline_tests.io_manager.runs import rows
from data_pipeline_tests.memo.jobs import called
from data_pipeline_tests.memo.stages import asset, constant, failing
from data_pipeline_tests.memo.world import World

OTHER = "stage_2__c: file of blob `stage_2/c` has other content than was committed"


def file_of(folder: Path, name: str = "c") -> Path:
    (file,) = (folder / "home").rglob(f"{name}.*.pickle")
    return file


def other(file: Path) -> None:
    content = pickle.loads(file.read_bytes())
    file.write_bytes(pickle.dumps({name: value + 1 for name, value in content.items()}, protocol=5))


def empty(file: Path) -> None:
    file.write_bytes(b"")


def larger(file: Path) -> None:
    file.write_bytes(pickle.dumps({"sum": 777, "more": "text"}))


@pytest.mark.parametrize("damage", [other, empty, larger])
def test_a_damaged_blob_is_built_again(
    world: World, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    assert world.run().success
    file = file_of(tmp_path)
    before = file.read_bytes()
    damage(file)
    run = world.run()
    assert run.success
    assert OTHER in run.log
    assert run.steps == {"stage_2__c"}
    assert world.calls == {"c": 1}
    assert file_of(tmp_path).read_bytes() == before
    assert world.run().steps == set()


def model() -> dict[str, int]:
    called("m")
    return {"weight": 1}


def reading(m: Any) -> dict[str, int]:
    called("r")
    return {"read": m["weight"]}


def assets(version: str = "1") -> list[dg.AssetsDefinition]:
    return [asset("s/m", model), asset("t/r", reading, "s/m", version=version)]


def test_what_only_a_step_finds_fails_it_and_is_built_again_by_the_next_run(
    world: World, tmp_path: Path
) -> None:
    """A disk that loses bytes keeps size and time."""
    assert world.made(assets).success
    file = file_of(tmp_path, "m")
    before = file.stat()
    other(file)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    failed = world.made(lambda: assets("2"))
    assert not failed.success
    assert world.calls == {}
    assert f"its file {file} has other content than was committed" in str(failed.events)
    again = world.made(lambda: assets("2"))
    assert again.success
    assert "s__m: file of blob `s/m` has other content than was committed" in again.log
    assert world.calls == {"m": 1, "r": 1}
    assert pickle.loads(file_of(tmp_path, "r").read_bytes()) == {"read": 1}


def test_what_read_an_undamaged_blob_is_not_computed_again(world: World, tmp_path: Path) -> None:
    assert world.made(assets).success
    empty(file_of(tmp_path, "m"))
    assert world.made(assets).success
    assert world.calls == {"m": 1}


def test_a_damaged_blob_in_a_slot_is_not_swapped_in(world: World, tmp_path: Path) -> None:
    def switch(version: int) -> None:
        world.state["versions"] |= {"b": str(version), "c": str(version)}
        world.state["factor"] = version
        assert world.run().success

    switch(1)
    kept = file_of(tmp_path)
    switch(2)
    other(kept)
    switch(1)
    assert world.calls == {"c": 1}
    assert world.run().steps == set()


def test_a_damaged_blob_takes_no_slot(
    world: World, pipeline_database: sa.Engine, tmp_path: Path
) -> None:
    """It would push out an earlier version that is there."""
    assert world.made(assets).success
    empty(file_of(tmp_path, "m"))

    def changed() -> list[dg.AssetsDefinition]:
        return [asset("s/m", lambda: {"weight": 2}, version="2"), assets()[1]]

    assert world.made(changed).success
    assert rows(pipeline_database, "SELECT name FROM full_catalog.slots WHERE name = 'm'") == []
    assert pickle.loads(file_of(tmp_path, "m").read_bytes()) == {"weight": 2}


def test_a_damaged_blob_that_a_failed_run_staged_is_built_again(
    world: World, tmp_path: Path
) -> None:
    assert not world.made(lambda: [asset("s/m", model), failing("s/z")]).success
    other(file_of(tmp_path, "m"))
    assert world.made(lambda: [asset("s/m", model), constant("s/z", 2)]).success
    assert world.calls == {"m": 1, "s/z": 1}
    assert pickle.loads(file_of(tmp_path, "m").read_bytes()) == {"weight": 1}


def test_a_damaged_part_of_a_step_is_not_taken_for_there(world: World, tmp_path: Path) -> None:
    """The other part is kept in a slot, but what is damaged is in none."""

    def things(version: str) -> list[dg.AssetsDefinition]:
        versions = {"m": version, "n": "1"}

        @dg.multi_asset(
            outs={k: dg.AssetOut(key=["s", k], code_version=v) for k, v in versions.items()},
            partitions_def=INSTANCE_PARTITIONS,
        )
        def two() -> tuple[dict[str, str], dict[str, int]]:
            called("two")
            return {"version": version}, {"weight": 1}

        return [two]

    for version in "121":
        assert world.made(lambda version=version: things(version)).success
    assert not world.calls  # swapped back in
    assert world.made(lambda: things("2")).success
    other(file_of(tmp_path, "n"))
    assert world.made(lambda: things("1")).success
    assert world.calls == {"two": 1}
    assert "Swapped back in" not in world.last.log
    assert pickle.loads(file_of(tmp_path, "n").read_bytes()) == {"weight": 1}
