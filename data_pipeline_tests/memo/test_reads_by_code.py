"""What the code of a step reads by the instance resource counts as an input of its asset."""

from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import pytest
import sqlalchemy as sa

from data_pipeline import InstanceResource, instance_resources
from data_pipeline.instances.partitions import INSTANCE_PARTITIONS
from data_pipeline_tests.io_manager.runs import rows
from data_pipeline_tests.memo.jobs import called
from data_pipeline_tests.memo.stages import constant
from data_pipeline_tests.memo.step_processes import BY_PROCESSES
from data_pipeline_tests.memo.world import World, shared_storage


def of_full(kind: Any) -> dg.AssetsDefinition:
    """Gives `t/compared`: `v` of its own `s/a` beside full's."""

    @dg.asset(
        key=["t", "compared"],
        ins={"a": dg.AssetIn(["s", "a"])},
        partitions_def=INSTANCE_PARTITIONS,
        code_version="1",
    )
    def compared(a: sa.Table, instance: InstanceResource) -> Any:
        called("compared")
        full = instance.read("s/a", kind, of="full")
        if kind is sa.Table:
            full = full.alias("f")  # on full it is the same table as its own
            return sa.select(a.c.v, full.c.v.label("of_full"))
        own = instance.read(["s", "a"], kind)
        return own.assign(of_full=full["v"])

    return compared


@pytest.mark.parametrize("kind", [sa.Table, pd.DataFrame])
def test_it_runs_again_when_that_has_new_data(
    world: World, pipeline_database: sa.Engine, kind: Any
) -> None:
    def steps(on: str, value: int) -> set[str]:
        made = world.made(lambda: [constant("s/a", value), of_full(kind)], on)
        assert made.success, made.log
        return made.steps

    assert steps("full", 1) == steps("mini", 5) == {"s__a", "t__compared"}
    assert rows(pipeline_database, "SELECT v, of_full FROM mini_t.compared") == [(5, 1)]
    assert steps("mini", 5) == set()
    assert steps("full", 2) == {"s__a", "t__compared"}
    assert steps("mini", 5) == {"t__compared"}
    assert rows(pipeline_database, "SELECT v, of_full FROM mini_t.compared") == [(5, 2)]
    assert steps("full", 1) == set()
    assert steps("mini", 5) == set()  # swapped back in
    assert rows(pipeline_database, "SELECT v, of_full FROM mini_t.compared") == [(5, 1)]


@pytest.mark.usefixtures("forkserver")
def test_steps_in_other_processes_do_so_too(
    world: World, pipeline_database: sa.Engine, tmp_path: Path
) -> None:
    storage = shared_storage(tmp_path)

    def steps(on: str, value: int) -> set[str]:
        world.state["source"] = value
        settings = {"storage": storage, "run_config": BY_PROCESSES}
        made = world.run(on, builder="comparing_by_processes", **settings)
        assert made.success, made.log
        return made.steps

    assert steps("full", 1) == steps("mini", 5) == {"s__a", "t__compared"}
    assert rows(pipeline_database, "SELECT v, of_full FROM mini_t.compared") == [(5, 1)]
    assert steps("full", 2) == {"s__a", "t__compared"}
    assert steps("mini", 5) == {"t__compared"}
    assert rows(pipeline_database, "SELECT v, of_full FROM mini_t.compared") == [(5, 2)]


def test_what_stores_nothing_runs_again_too(world: World) -> None:
    @dg.asset(partitions_def=INSTANCE_PARTITIONS, code_version="1")
    def mail(instance: InstanceResource) -> None:
        assert len(instance.read(dg.AssetKey(["s", "a"]), pd.DataFrame, of="full")) == 1

    def steps(on: str, value: int) -> set[str]:
        return world.made(lambda: [constant("s/a", value), mail], on).steps

    assert world.made(lambda: [constant("s/a", 1)]).success
    assert steps("mini", 5) == {"s__a", "mail"}
    assert steps("mini", 5) == set()
    assert world.made(lambda: [constant("s/a", 2)]).success
    assert steps("mini", 5) == {"mail"}


def test_what_it_may_read_before_it_is_made_is_refused(world: World) -> None:
    @dg.asset(key=["t", "b"], partitions_def=INSTANCE_PARTITIONS, code_version="1")
    def b(instance: InstanceResource) -> None:
        instance.read("s/a")

    run = world.made(lambda: [constant("s/a", 1), b])
    [error] = [e.step_failure_data.error for e in run.events if e.is_step_failure]
    assert 'deps=[dg.AssetKey(["s", "a"])]' in str(error)


def test_outside_of_steps_it_gives_what_is_committed(world: World) -> None:
    assert world.made(lambda: [constant("s/a", 1)]).success
    with dg.build_resources(instance_resources("mini", io_manager=False)) as built:
        assert len(built.instance.read("s/a", pd.DataFrame, of="full")) == 1
