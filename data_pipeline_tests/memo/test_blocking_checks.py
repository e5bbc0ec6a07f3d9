"""Nothing is built on a table whose blocking check has not passed, in later runs neither."""

from typing import Any

import dagster as dg
import pandas as pd
import pytest
import sqlalchemy as sa

from data_pipeline.instances.partitions import INSTANCE_PARTITIONS
from data_pipeline_tests.io_manager.runs import execute
from data_pipeline_tests.memo.jobs import called
from data_pipeline_tests.memo.world import World, new_storage

KEY = dg.AssetKey(["s", "b"])


def made(*, apart: bool, passes: bool, version: str = "1") -> Any:
    """Gives an asset with a blocking check, apart from it or within it, and one built on it."""
    spec = dg.AssetCheckSpec("good", asset=KEY, blocking=True)

    @dg.asset(
        key=KEY,
        partitions_def=INSTANCE_PARTITIONS,
        code_version=version,
        check_specs=[] if apart else [spec],
    )
    def b() -> Any:
        called("b")
        yield dg.Output(pd.DataFrame({"v": [version]}))
        if not apart:
            yield dg.AssetCheckResult(passed=passes)

    @dg.asset_check(asset=KEY, blocking=True)
    def good() -> dg.AssetCheckResult:
        called("good")
        return dg.AssetCheckResult(passed=passes)

    @dg.asset(
        key=["s", "c"],
        ins={"b": dg.AssetIn(KEY)},
        partitions_def=INSTANCE_PARTITIONS,
        code_version="1",
    )
    def c(b: pd.DataFrame) -> pd.DataFrame:
        called("c")
        return b

    return lambda: [b, c, good] if apart else [b, c]


@pytest.mark.parametrize("apart", [True, False], ids=["apart", "within the asset"])
def test_what_failed_is_checked_again(world: World, apart: bool) -> None:
    checked = "good" if apart else "b"
    assert not world.made(made(apart=apart, passes=False)).success
    assert not world.made(made(apart=apart, passes=False)).success
    assert world.calls == {checked: 1}
    assert world.made(made(apart=apart, passes=True)).success
    assert world.calls == {checked: 1, "c": 1}
    assert world.made(made(apart=apart, passes=True)).steps == set()


@pytest.mark.parametrize("apart", [True, False], ids=["apart", "within the asset"])
def test_a_version_that_was_swapped_back_in_is_checked(world: World, apart: bool) -> None:
    assert world.made(made(apart=apart, passes=True)).success
    assert world.made(made(apart=apart, passes=True, version="2")).success
    assert not world.made(made(apart=apart, passes=False)).success
    assert world.calls == {"good" if apart else "b": 1}


def test_the_outcome_on_one_instance_says_nothing_of_another(world: World) -> None:
    for name in ("full", "mini"):
        assert world.made(made(apart=True, passes=True), name).success
    assert not world.made(made(apart=True, passes=False, version="2"), "mini").success
    assert world.made(made(apart=True, passes=True)).steps == set()


def test_everybody_who_shares_the_database_knows_the_outcome(
    world: World, pipeline_database: sa.Engine
) -> None:
    world.made(made(apart=True, passes=True))
    world.made(made(apart=True, passes=True), storage=new_storage())
    assert world.calls == {}
    execute(pipeline_database, "UPDATE full_catalog.checks SET passed = false")
    again = world.made(made(apart=True, passes=True), storage=new_storage())
    assert world.calls == {"good": 1}
    assert "good: blocking check `good` of `s/b` failed" in again.log
