"""Dagster's "re-execute from failure" resumes: what was staged commits with what failed before."""

from typing import Any

import dagster as dg
import pandas as pd
import sqlalchemy as sa

from data_pipeline_tests.io_manager.runs import rows
from data_pipeline_tests.memo.stages import asset, constant, failing
from data_pipeline_tests.memo.world import Run, World


def from_failure(world: World, failed: Run, things: Any) -> Run:
    """Runs the steps that failed, and what follows them."""
    options = dg.ReexecutionOptions.from_failure(failed.run_id, world.storage)
    return world.made(things, reexecution_options=options)


def copy(a: pd.DataFrame) -> pd.DataFrame:
    return a


def test_the_stage_commits_with_what_was_staged_before(
    world: World, pipeline_database: sa.Engine
) -> None:
    assert world.made(lambda: [constant("s/a", 1), constant("s/b", 1)]).success
    failed = world.made(lambda: [constant("s/a", 2), failing("s/b", version="2")])
    assert not failed.success
    resumed = from_failure(world, failed, lambda: [constant("s/a", 2), constant("s/b", 2)])
    assert resumed.success
    assert resumed.steps == {"s__b"}
    assert rows(pipeline_database, "SELECT a.v, b.v FROM full_s.a, full_s.b") == [(2, 2)]
    assert rows(pipeline_database, "SELECT * FROM full_catalog.staged") == []


def test_steps_read_what_the_failed_run_had_staged(
    world: World, pipeline_database: sa.Engine
) -> None:
    assert world.made(lambda: [constant("s/a", 1), asset("s/b", copy, "s/a")]).success

    def broken(a: pd.DataFrame) -> pd.DataFrame:
        raise ValueError(a)

    failed = world.made(lambda: [constant("s/a", 2), asset("s/b", broken, "s/a", version="2")])
    assert not failed.success
    resumed = from_failure(
        world, failed, lambda: [constant("s/a", 2), asset("s/b", copy, "s/a", version="2")]
    )
    assert resumed.success
    assert rows(pipeline_database, "SELECT a.v, b.v FROM full_s.a, full_s.b") == [(2, 2)]


def test_what_failed_again_is_resumed_again(world: World, pipeline_database: sa.Engine) -> None:
    def things(last: dg.AssetsDefinition) -> Any:
        return lambda: [constant("s/a", 1), last]

    failed = world.made(things(failing("s/b")))
    again = from_failure(world, failed, things(failing("s/b")))
    assert not again.success
    assert rows(pipeline_database, "SELECT * FROM full_catalog.tables") == []
    resumed = from_failure(world, again, things(constant("s/b", 1)))
    assert resumed.success
    assert resumed.steps == {"s__b"}
    assert rows(pipeline_database, "SELECT a.v, b.v FROM full_s.a, full_s.b") == [(1, 1)]


def test_a_later_run_of_all_has_nothing_to_do(world: World) -> None:
    failed = world.made(lambda: [constant("s/a", 1), failing("s/b")])
    assert from_failure(world, failed, lambda: [constant("s/a", 1), constant("s/b", 1)]).success
    assert world.made(lambda: [constant("s/a", 1), constant("s/b", 1)]).steps == set()
