"""What a step costs the server: so many round trips, however many steps there are."""

from collections.abc import Iterator
from typing import Any

import dagster as dg
import pandas as pd
import pytest
import sqlalchemy as sa

from data_pipeline.instances.partitions import INSTANCE_PARTITIONS
from data_pipeline_tests.memo.round_trips import RoundTrips, counted
from data_pipeline_tests.memo.world import World

FEW, MANY = 4, 12


@pytest.fixture
def trips(database_url: sa.URL, monkeypatch: pytest.MonkeyPatch) -> Iterator[RoundTrips]:
    with counted(database_url) as (url, trips):
        text = url.set(drivername="postgresql").render_as_string(hide_password=False)
        monkeypatch.setenv("DATA_PIPELINE_DATABASE_URL", text)
        yield trips


def queries(stage: str, size: int, factor: int = 1) -> list[Any]:
    """Gives a chain of tables that queries make; of the factor, the second one makes use."""

    def link(number: int) -> dg.AssetsDefinition:
        by = factor if number == 1 else 1

        @dg.asset(
            key=[stage, f"t{number}"],
            ins={"before": dg.AssetIn(key=[stage, f"t{number - 1}"])} if number else {},
            code_version=str(by),
            partitions_def=INSTANCE_PARTITIONS,
        )
        def table(**before: sa.Table) -> sa.Select[Any]:
            if not before:
                return sa.select(sa.literal(1).label("x"))
            return sa.select((before["before"].c.x * by).label("x"))

        return table

    return [link(number) for number in range(size)]


def frames(stage: str, size: int) -> list[Any]:
    """Gives a chain of tables that frames make."""

    def link(number: int) -> dg.AssetsDefinition:
        @dg.asset(
            key=[stage, f"t{number}"],
            ins={"before": dg.AssetIn(key=[stage, f"t{number - 1}"])} if number else {},
            partitions_def=INSTANCE_PARTITIONS,
        )
        def table(**before: pd.DataFrame) -> pd.DataFrame:
            return before.get("before", pd.DataFrame({"x": [1]}))

        return table

    return [link(number) for number in range(size)]


def of_run(world: World, trips: RoundTrips, assets: list[Any]) -> int:
    before = trips.count
    assert world.made(lambda: assets).success
    return trips.count - before


@pytest.mark.parametrize(("chain", "most"), [(queries, 8), (frames, 28)])
def test_a_step(world: World, trips: RoundTrips, chain: Any, most: int) -> None:
    of_run(world, trips, chain("first", FEW))  # what a process needs once
    # What happens now and then, such as a session that is opened anew, is none of the step's: it is
    # less than one round trip of each step, which the whole number leaves out.
    few = min(of_run(world, trips, chain(stage, FEW)) for stage in ("few", "as_few"))
    many = min(of_run(world, trips, chain(stage, MANY)) for stage in ("many", "as_many"))
    assert (many - few) // (MANY - FEW) <= most


def test_a_step_behind_a_change(world: World, trips: RoundTrips) -> None:
    of_run(world, trips, queries("few", FEW))
    of_run(world, trips, queries("many", MANY))
    few = of_run(world, trips, queries("few", FEW, 2))
    many = of_run(world, trips, queries("many", MANY, 2))
    assert (many - few) // (MANY - FEW) <= 11


def test_a_run_with_nothing_to_do(world: World, trips: RoundTrips) -> None:
    chain = queries("many", MANY)
    of_run(world, trips, chain)
    assert min(of_run(world, trips, chain) for _ in range(2)) <= 33  # however many tables
