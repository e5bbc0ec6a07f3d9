"""The ops of a graph asset run together, or not at all."""

from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import pytest
import sqlalchemy as sa

from data_pipeline import instance_resources
from data_pipeline.instances.partitions import INSTANCE_PARTITIONS
from data_pipeline_tests.io_manager.runs import rows
from data_pipeline_tests.memo import graphs
from data_pipeline_tests.memo.jobs import called
from data_pipeline_tests.memo.step_processes import BY_PROCESSES
from data_pipeline_tests.memo.world import World, shared_storage


@dg.op
def load() -> int:
    called("load")
    return 1


@dg.op
def frame(x: Any) -> pd.DataFrame:
    called("frame")
    return pd.DataFrame({"v": [x] if isinstance(x, int) else list(x)})


@dg.op(out=dg.DynamicOut())
def many() -> Any:
    called("many")
    for number in range(2):
        yield dg.DynamicOutput(number, str(number))


@dg.op
def each(x: int) -> int:
    called("each")
    return x


@dg.graph_asset(key=["s", "plain"], partitions_def=INSTANCE_PARTITIONS)
def plain() -> Any:
    return frame(load())


@dg.graph_asset(key=["s", "dynamic"], partitions_def=INSTANCE_PARTITIONS)
def dynamic() -> Any:
    return frame(many().map(each).collect())


@dg.graph_multi_asset(
    outs={"one": dg.AssetOut(key=["s", "one"]), "two": dg.AssetOut(key=["s", "two"])},
    partitions_def=INSTANCE_PARTITIONS,
)
def several() -> Any:
    return {
        "one": frame.alias("first")(load()),
        "two": frame.alias("second")(load.alias("other")()),
    }


@pytest.mark.parametrize(
    ("asset", "name", "calls"),
    [
        (plain, "plain", {"load": 1, "frame": 1}),
        (dynamic, "dynamic", {"many": 1, "each": 2, "frame": 1}),
        (several, "one", {"load": 2, "frame": 2}),
    ],
    ids=["plain", "dynamic", "several assets"],
)
def test_ops_run_together_or_not_at_all(
    world: World, asset: dg.AssetsDefinition, name: str, calls: dict[str, int]
) -> None:
    ins = {"x": dg.AssetIn(["s", name])}

    @dg.asset(key=["s", "after"], ins=ins, partitions_def=INSTANCE_PARTITIONS, code_version="1")
    def after(x: pd.DataFrame) -> pd.DataFrame:
        called("after")
        return x

    assert world.made(lambda: [asset, after]).success
    assert world.calls == {**calls, "after": 1}
    assert world.made(lambda: [asset, after]).steps == set()
    tags = {"dagster/partition": "full", "data_pipeline/cache_validation": "force_cache_invalid"}
    assert world.made(lambda: [asset, after], tags=tags).success
    assert world.calls == {**calls, "after": 1}


OPS = {
    "files": 1,
    "load": 4,
    "concat": 1,
    "behind": 1,  # one of the three is tried again
    "two": 1,
    "as_it_is": 1,
    "of_its_table": 1,
    "nothing": 1,
    "after_all": 1,
    "done": 1,
    "total": 1,
    "times": 1,
}
FEW_OPS = {"files": 1, "load": 2, "concat": 1, "two": 1, "as_it_is": 1, "of_its_table": 1}


def settings(executor: str, folder: Path) -> dict[str, Any]:
    """Gives what a run of the assets of `graphs` needs."""
    config = BY_PROCESSES if executor.endswith("by_processes") else {}
    return {
        "module": graphs.__name__,
        "builder": executor,
        "storage": shared_storage(folder),
        "run_config": config,
    }


def test_values_go_from_op_to_op(
    world: World, tmp_path: Path, pipeline_database: sa.Engine
) -> None:
    how = settings("in_process", tmp_path)
    assert world.run(**how).success
    assert world.calls == OPS
    seen = {
        name: rows(pipeline_database, f"SELECT * FROM full_s.{name}")
        for name in ("x", "z", "read", "nested", "behind")
    }
    assert sorted(seen.pop("behind")) == [(0,), (0,), (2,), (4,), (20,), (40,)]
    assert seen == {"x": [(1,)], "z": [(2,)], "read": [(2,)], "nested": [("full",)]}
    assert world.run(**how).steps == set()
    assert left_in(how["storage"]) == []


@pytest.mark.usefixtures("forkserver")
def test_they_go_to_other_processes(
    world: World, tmp_path: Path, pipeline_database: sa.Engine
) -> None:
    world.state["files"] = 1
    how = settings("by_processes", tmp_path)
    assert world.run(**how).success
    assert world.calls == FEW_OPS
    assert rows(pipeline_database, "SELECT * FROM full_s.z") == [(2,)]
    assert world.run(**how).steps == set()
    assert left_in(how["storage"]) == []


def left_in(storage: dg.DagsterInstance) -> list[Path]:
    """Gives the values of ops that are still in a storage."""
    return [path for path in Path(storage.storage_directory()).rglob("result*") if path.is_file()]


@pytest.mark.parametrize("job", ["ops_alone", "ops_of_an_instance"])
def test_jobs_of_ops_run_beside_the_assets(world: World, tmp_path: Path, job: str) -> None:
    how = settings("in_process", tmp_path)
    if job == "ops_of_an_instance":
        how["tags"] = {"dagster/partition": "mini"}
    how["run_config"]["ops"] = {
        "load": {"config": {"factor": 2}},
        "summed": {"inputs": {"scale": 3}},
    }
    ops = {"files": 1, "load": 4, "noted_189": 1}
    more = {"nothing": 1, "done": 1, "after_all": 1} if job == "ops_of_an_instance" else {}
    for _ in range(2):  # jobs of ops always run
        assert world.run(job, **how).success
        assert world.calls == {**ops, **more}
    assert left_in(how["storage"])  # a part of it can be executed again


def test_a_graph_asset_goes_on_where_it_failed(world: World, tmp_path: Path) -> None:
    how = {
        **settings("breaking_in_process", tmp_path),
        "run_config": {"ops": {"s__resumed": {"ops": {"summed": {"inputs": {"scale": 1}}}}}},
    }
    failed = world.run(**how)
    assert not failed.success
    assert world.calls == {"files": 1, "load": 4, "noted_33": 1, "breaking": 1}
    world.state["source"] = 2
    options = dg.ReexecutionOptions.from_failure(failed.run_id, how["storage"])
    assert world.run(**how, reexecution_options=options).success
    assert world.calls == {"breaking": 1}
    assert world.run(**how).steps == set()


def test_what_cannot_be_pickled_goes_by_memory(world: World, tmp_path: Path) -> None:
    assert world.run(**settings("unpicklable_in_process", tmp_path)).success
    assert world.calls == {"applied_2": 1}


@pytest.mark.usefixtures("forkserver")
def test_it_cannot_go_to_another_process(world: World, tmp_path: Path) -> None:
    how = settings("unpicklable_by_processes", tmp_path)
    run = world.run(**how)
    assert not run.success
    errors = [e.step_failure_data.error for e in run.events if e.is_step_failure]
    assert "cannot be pickled" in str(errors)
    assert "`s__unpicklable.apply` in another process wants it" in str(errors)


@pytest.mark.usefixtures("world")
def test_tests_materialize_them(world: World, pipeline_database: sa.Engine) -> None:
    world.save()
    assets = [graphs.fanned, graphs.handed_on, graphs.nested, graphs.of_tables, graphs.numbers]
    assert dg.materialize(
        assets, partition_key="mini", resources=instance_resources("mini")
    ).success
    assert rows(pipeline_database, "SELECT * FROM mini_s.z") == [(2,)]
    resources = instance_resources("mini", io_manager=False)
    found = dg.materialize_to_memory([graphs.fanned], partition_key="mini", resources=resources)
    assert len(found.asset_value(["s", "fanned"])) == 6


def test_a_changed_op_is_changed_code(world: World) -> None:
    def things(factor: int) -> list[Any]:
        @dg.op(name="scaled")
        def scaled(x: int) -> pd.DataFrame:
            called("scaled")
            return pd.DataFrame({"v": [x * factor]})

        @dg.op
        def plus_one(x: int) -> int:
            called("plus_one")
            return x + 1

        @dg.graph
        def within(x):  # type: ignore[no-untyped-def]
            return scaled(plus_one(x))

        @dg.graph_asset(key=["s", "made"], partitions_def=INSTANCE_PARTITIONS)
        def made() -> Any:
            return within(plus_one.alias("first")(load_one()))

        return [made]

    @dg.op
    def load_one() -> int:
        called("load_one")
        return 1

    assert world.made(lambda: things(2)).success
    assert world.made(lambda: things(2)).steps == set()
    assert world.made(lambda: things(3)).success
    assert world.calls == {"load_one": 1, "plus_one": 2, "scaled": 1}
