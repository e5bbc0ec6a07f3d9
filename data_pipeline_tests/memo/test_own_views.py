"""Views that the pipeline makes are never in the way of its own commits."""

from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import pytest
import sqlalchemy as sa

from data_pipeline import View, table_properties
from data_pipeline.memo.sources import outside_input
from data_pipeline.sampling import copy_filtered_inputs
from data_pipeline_tests.io_manager.runs import by_hand, execute, rows
from data_pipeline_tests.memo.jobs import called
from data_pipeline_tests.memo.settings import cache_slots
from data_pipeline_tests.memo.stages import asset
from data_pipeline_tests.memo.world import World


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


SHAPES = {
    "dropped": {"k": [1, 2], "v": [5, 6]},
    "renamed": {"k": [1, 2], "v": [5, 6], "new": [7, 8]},
    "retyped": {"k": ["1", "2"], "v": [5.5, 6.5], "old": ["7", "8"]},
    "all others": {"x": ["a", "b"]},
}
LAYOUTS = [
    {"t": "a", "v": "a", "w": "a"},
    {"t": "a", "v": "b", "w": "b"},
    {"t": "a", "v": "a", "w": "b"},
    {"t": "a", "v": "c", "w": "b"},
]


COMBINED = [
    pytest.param(shape, layout, (i + j) % 2, id=f"{shape}, {''.join(layout.values())}")
    for i, shape in enumerate(SHAPES)
    for j, layout in enumerate(LAYOUTS)
]


def views_of_all(world: World, stages: dict[str, str]) -> Any:
    """Gives a loaded table, a view of its columns, a view of that, and a count of the last."""

    def t() -> pd.DataFrame:
        return pd.DataFrame(world.state["frame"])

    def v(t: sa.Table) -> Any:
        return View(sa.select(*t.c))

    def w(v: sa.Table) -> Any:
        return View(sa.select(*v.c).where(v.c[0].is_not(None)))

    def total(w: sa.Table) -> Any:
        return sa.select(sa.func.count().label("total")).select_from(w)

    def things() -> list[Any]:
        source = outside_input(lambda: repr(world.state["frame"]))
        key = {name: f"{stage}/{name}" for name, stage in stages.items()}
        return [
            asset(key["t"], t, metadata=source),
            asset(key["v"], v, key["t"]),
            asset(key["w"], w, key["v"]),
            asset("sums/total", total, key["w"]),
        ]

    return things


@pytest.mark.usefixtures("owner")
@pytest.mark.parametrize(("shape", "stages", "slots"), COMBINED)
def test_views_follow_when_their_source_has_other_columns(
    world: World,
    superuser: sa.Engine,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    shape: str,
    stages: dict[str, str],
    slots: int,
) -> None:
    cache_slots(slots, tmp_path, monkeypatch)
    first = {"k": [1, 2], "v": [5, 6], "old": [7, 8]}
    world.state["frame"] = first
    things = views_of_all(world, stages)
    assert world.made(things).success
    view = f"full_{stages['w']}.w"
    execute(superuser, "CREATE ROLE its_reader", f"GRANT SELECT ON {view} TO its_reader")
    tags = {"data_pipeline/cache_validation": "force_cache_invalid"}
    try:
        for frame, forced in ((SHAPES[shape], None), (first, tags), (SHAPES[shape], tags)):
            world.state["frame"] = frame
            run = world.made(things, tags=forced)
            assert run.success, run.failure
            with superuser.connect() as connection:
                found = connection.exec_driver_sql(f"SELECT * FROM {view}").mappings().all()
            assert {name: [row[name] for row in found] for name in found[0]} == frame
            may = f"SELECT has_table_privilege('its_reader', '{view}', 'SELECT')"
            assert rows(superuser, may) == [(True,)]
        assert world.made(things).success
        assert not world.last.steps
    finally:
        execute(superuser, "DROP OWNED BY its_reader", "DROP ROLE its_reader")


@pytest.mark.usefixtures("owner")
@pytest.mark.parametrize(("name", "slots"), [("full", 0), ("midi", 1)])
@pytest.mark.parametrize("shape", SHAPES)
def test_input_tables_with_weights_follow_when_their_source_has_other_columns(
    world: World,
    superuser: sa.Engine,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    slots: int,
    shape: str,
) -> None:
    cache_slots(slots, tmp_path, monkeypatch)
    key = {"all others": "x"}.get(shape, "k")

    def things() -> list[Any]:
        def t() -> pd.DataFrame:
            return pd.DataFrame(world.state["frame"])

        source = outside_input(lambda: repr(world.state["frame"]))
        raw = asset("raw/t", t, metadata={**source, **table_properties(primary_key=key)})
        return [raw, copy_filtered_inputs(stage="inp", raw=[raw], weights=True)]

    for frame in ({key: [1, 2], "v": [5, 6], "old": [7, 8]}, SHAPES[shape]):
        world.state["frame"] = frame
        for each in dict.fromkeys(["full", name]):
            assert world.made(things, each).success, world.last.failure
        with superuser.connect() as connection:
            found = connection.exec_driver_sql(f"SELECT * FROM {name}_sample.inp__t_weighted")
            assert set(frame) <= set(found.keys())
    assert world.made(things, name).success
    assert not world.last.steps


def test_a_view_of_a_later_stage_is_there_until_it_is_replaced(
    world: World, superuser: sa.Engine, owner: str
) -> None:
    seen: list[Any] = []

    def look() -> pd.DataFrame:
        if world.state["frame"]["k"] == [2]:
            seen.append(rows(superuser, "SELECT * FROM full_b.v, public.mine"))
        return pd.DataFrame({"x": [1]})

    def things() -> list[Any]:
        made = views_of_all(world, {"t": "a", "v": "b", "w": "b"})()
        deps = [dg.AssetKey(["a", "t"])]
        return [*made, asset("b/look", look, version=repr(world.state["frame"]), deps=deps)]

    world.state["frame"] = {"k": [1], "v": [5], "old": [7]}
    assert world.made(things).success
    mine = f"SET ROLE {owner}; CREATE VIEW public.mine AS SELECT k FROM full_b.v"
    execute(superuser, mine)
    world.state["frame"] = {"k": [2], "v": [6]}
    run = world.made(things)
    assert run.success, run.failure
    assert seen == [[(1, 5, 7, 1)]]
    assert "Stage `a` will be committed together with stage `b`: view full_b.v does not" in run.log
    assert rows(superuser, "SELECT * FROM full_b.v, public.mine") == [(2, 6, 2)]


@pytest.mark.usefixtures("owner")
def test_a_view_that_the_run_does_not_make_is_left_out_and_made_by_the_next(
    world: World, superuser: sa.Engine, owner: str
) -> None:
    things = views_of_all(world, {"t": "a", "v": "b", "w": "c"})
    world.state["frame"] = {"k": [1], "old": [7]}
    assert world.made(things).success
    world.state["frame"] = {"k": [2]}
    run = world.made(things, selection=[dg.AssetKey(["a", "t"])])
    assert run.success, run.failure
    assert "view full_b.v does not fit the new columns: column full_a.t.old is gone" in run.log
    assert rows(superuser, "SELECT * FROM full_a.t") == [(2,)]
    assert world.made(things).success
    assert rows(superuser, "SELECT * FROM full_c.w") == [(2,)]
    mine = f"SET ROLE {owner}; CREATE VIEW public.mine AS SELECT k FROM full_c.w"
    execute(superuser, mine)
    world.state["frame"] = {"x": [3]}
    run = world.made(things, selection=[dg.AssetKey(["a", "t"])])
    assert not run.success  # users' views are another matter
    assert "View public.mine is built on view full_c.w, which is left out" in run.failure
