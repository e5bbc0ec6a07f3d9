"""Views that the pipeline makes are never in the way of its own commits."""

from typing import Any

import pandas as pd
import pytest
import sqlalchemy as sa

from data_pipeline.caching.sources import outside_input
from data_pipeline.sampling import copy_filtered_inputs
from data_pipeline.tables import View, table_properties
from data_pipeline_tests.caching.jobs import called
from data_pipeline_tests.caching.stages import asset
from data_pipeline_tests.caching.world import World
from data_pipeline_tests.io_manager.runs import by_hand, rows


def pipeline(world: World, stages: dict[str, str]) -> Any:
    """Gives a loaded table, a view of it, a view of that, and a sum of the last."""

    def t() -> pd.DataFrame:
        return pd.DataFrame({"k": [1, 2], "v": [world.state["source"]] * 2})

    def v(t: sa.Table) -> Any:
        called("v")
        return View(sa.select(t.c.k, t.c.v))

    def w(v: sa.Table) -> Any:
        called("w")
        return View(sa.select(v.c.v))

    def total(w: sa.Table) -> Any:
        return sa.select(sa.func.sum(w.c.v).label("total"))

    def things() -> list[Any]:
        source = outside_input(lambda: world.state["source"])
        key = {name: f"{stage}/{name}" for name, stage in stages.items()}
        return [
            asset(key["t"], t, metadata=source),
            asset(key["v"], v, key["t"]),
            asset(key["w"], w, key["v"]),
            asset("sums/total", total, key["w"]),
        ]

    return things


@pytest.mark.parametrize(
    "stages",
    [
        {"t": "a", "v": "a", "w": "a"},
        {"t": "a", "v": "b", "w": "b"},
        {"t": "a", "v": "a", "w": "b"},
        {"t": "a", "v": "b", "w": "c"},
    ],
    ids=lambda stages: "".join(stages.values()),
)
@pytest.mark.parametrize("forced", [False, True], ids=["new data", "forced"])
def test_a_view_of_a_view_follows_in_every_run(
    world: World, pipeline_database: sa.Engine, stages: dict[str, str], forced: bool
) -> None:
    things = pipeline(world, stages)
    tags = {"data_pipeline/cache_validation": "force_cache_invalid"} if forced else None
    for source in (1, 2, 3):
        world.state["source"] = source
        assert world.made(things, tags=tags).success
        assert rows(pipeline_database, "SELECT total FROM full_sums.total") == [(2 * source,)]
    assert world.made(things).success
    assert not world.last.steps


def test_a_copy_below_a_view_with_weights_is_built_again(
    world: World, pipeline_database: sa.Engine
) -> None:
    def things() -> list[Any]:
        def t() -> pd.DataFrame:
            return pd.DataFrame({"k": [1, 2, 3], "v": [5, 6, 7]})

        metadata = {**outside_input(lambda: 1), **table_properties(primary_key="k")}
        raw = asset("raw/t", t, metadata=metadata)
        return [raw, copy_filtered_inputs(stage="inp", raw=[raw], weights=True)]

    for name in ("full", "midi"):
        assert world.made(things, name).success
    by_hand(pipeline_database, "UPDATE midi_inp.t SET v = 0")
    assert world.made(things, "midi").success
    weighted = "SELECT sum(v) FROM midi_sample.inp__t_weighted"
    assert rows(pipeline_database, weighted) == [(11,)]
    assert world.made(things, "midi").success
    assert not world.last.steps
