"""Views that the pipeline makes are never in the way of its own commits."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import pytest
import sqlalchemy as sa

from data_pipeline import View, table_properties
from data_pipeline.sampling import copy_filtered_inputs
from data_pipeline.sources.fingerprints import (
    outside_input,
)
from data_pipeline_tests.io_manager.runs import by_hand, execute, rows
from data_pipeline_tests.memo.settings import cache_slots
from data_pipeline_tests.memo.stages import asset
from data_pipeline_tests.memo.world import World

LAYOUTS = ("aaa", "abb", "aab", "acb")
"""The stages of a table, of a view of it, and of a view of that."""


def in_stages(layout: str, label: str) -> dict[str, str]:
    """Give the keys of `t`, `v` and `w`, in stages that belong to a label alone."""
    return {name: f"{stage}_{label}/{name}" for name, stage in zip("tvw", layout, strict=True)}


def summed(world: World, layout: str) -> list[Any]:
    """Gives a loaded table, a view of it, a view of that, and a sum of the last."""

    def t() -> pd.DataFrame:
        return pd.DataFrame({"k": [1, 2], "v": [world.state["source"]] * 2})

    def v(t: sa.Table) -> Any:
        return View(sa.select(t.c.k, t.c.v))

    def w(v: sa.Table) -> Any:
        return View(sa.select(v.c.v))

    def total(w: sa.Table) -> Any:
        return sa.select(sa.func.sum(w.c.v).label("total"))

    source = outside_input(lambda: world.state["source"])
    key = in_stages(layout, layout)
    return [
        asset(key["t"], t, metadata=source),
        asset(key["v"], v, key["t"]),
        asset(key["w"], w, key["v"]),
        asset(f"sums_{layout}/total", total, key["w"]),
    ]


@pytest.mark.parametrize("forced", [False, True], ids=["new data", "forced"])
def test_a_view_of_a_view_follows_in_every_run(
    world: World, pipeline_database: sa.Engine, forced: bool
) -> None:
    def things() -> list[Any]:
        return [made for layout in (*LAYOUTS, "abc") for made in summed(world, layout)]

    tags = {"data_pipeline/cache_validation": "force_cache_invalid"} if forced else None
    for source in (1, 2, 3):
        world.state["source"] = source
        assert world.made(things, tags=tags).success
        for layout in (*LAYOUTS, "abc"):
            query = f"SELECT total FROM full_sums_{layout}.total"
            assert rows(pipeline_database, query) == [(2 * source,)], layout
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
FIRST = {"k": [1, 2], "v": [5, 6], "old": [7, 8]}


def views_of_all(
    frame: Callable[[], Mapping[str, list[Any]]], keys: Mapping[str, str], total_in: str = "sums"
) -> list[Any]:
    """Gives a loaded table, a view of its columns, a view of that, and a count of the last."""

    def t() -> pd.DataFrame:
        return pd.DataFrame(frame())

    def v(t: sa.Table) -> Any:
        return View(sa.select(*t.c))

    def w(v: sa.Table) -> Any:
        return View(sa.select(*v.c).where(v.c[0].is_not(None)))

    def total(w: sa.Table) -> Any:
        return sa.select(sa.func.count().label("total")).select_from(w)

    return [
        asset(keys["t"], t, metadata=outside_input(lambda: repr(frame()))),
        asset(keys["v"], v, keys["t"]),
        asset(keys["w"], w, keys["v"]),
        asset(f"{total_in}/total", total, keys["w"]),
    ]


def of_state(world: World, stages: Mapping[str, str]) -> Callable[[], list[Any]]:
    keys = {name: f"{stage}/{name}" for name, stage in stages.items()}
    return lambda: views_of_all(lambda: world.state["frame"], keys)


@pytest.mark.usefixtures("owner")
@pytest.mark.parametrize("slots", [0, 1])
def test_views_follow_when_their_source_has_other_columns(
    world: World,
    superuser: sa.Engine,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    slots: int,
) -> None:
    cache_slots(slots, tmp_path, monkeypatch)
    combined = {
        f"{shape}_{layout}".replace(" ", "_"): (shape, in_stages(layout, f"{i}{j}"))
        for i, shape in enumerate(SHAPES)
        for j, layout in enumerate(LAYOUTS)
        if (i + j) % 2 == slots
    }

    def frame(shape: str) -> Mapping[str, list[Any]]:
        return SHAPES[shape] if world.state["changed"] else FIRST

    def things() -> list[Any]:
        return [
            made
            for label, (shape, keys) in combined.items()
            for made in views_of_all(lambda shape=shape: frame(shape), keys, f"sums_{label}")
        ]

    world.state["changed"] = False
    assert world.made(things).success
    views = {f"full_{keys['w'].replace('/', '.')}": shape for shape, keys in combined.values()}
    grants = [f"GRANT SELECT ON {view} TO its_reader" for view in views]
    execute(superuser, "CREATE ROLE its_reader", *grants)
    tags = {"data_pipeline/cache_validation": "force_cache_invalid"}
    try:
        for changed, forced in ((True, None), (False, tags), (True, tags)):
            world.state["changed"] = changed
            run = world.made(things, tags=forced)
            assert run.success, run.failure
            with superuser.connect() as connection:
                for view, shape in views.items():
                    found = connection.exec_driver_sql(f"SELECT * FROM {view}").mappings().all()
                    shown = {name: [row[name] for row in found] for name in found[0]}
                    assert shown == frame(shape), view
            may = "SELECT has_table_privilege('its_reader', '{}', 'SELECT')"
            assert all(rows(superuser, may.format(view)) == [(True,)] for view in views)
        assert world.made(things).success
        assert not world.last.steps
    finally:
        execute(superuser, "DROP OWNED BY its_reader", "DROP ROLE its_reader")


@pytest.mark.usefixtures("owner")
@pytest.mark.parametrize(("name", "slots"), [("full", 0), ("midi", 1)])
def test_input_tables_with_weights_follow_when_their_source_has_other_columns(
    world: World,
    superuser: sa.Engine,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    slots: int,
) -> None:
    cache_slots(slots, tmp_path, monkeypatch)
    tables = {shape.replace(" ", "_"): shape for shape in SHAPES}

    def key(shape: str) -> str:
        return "x" if shape == "all others" else "k"

    def frame(shape: str) -> Mapping[str, list[Any]]:
        first = {key(shape): [1, 2], "v": [5, 6], "old": [7, 8]}
        return SHAPES[shape] if world.state["changed"] else first

    def raw(table: str, shape: str) -> dg.AssetsDefinition:
        source = outside_input(lambda: repr(frame(shape)))
        metadata = {**source, **table_properties(primary_key=key(shape))}
        return asset(f"raw/{table}", lambda: pd.DataFrame(frame(shape)), metadata=metadata)

    def things() -> list[Any]:
        made = [raw(table, shape) for table, shape in tables.items()]
        return [*made, copy_filtered_inputs(stage="inp", raw=made, weights=True)]

    for changed in (False, True):
        world.state["changed"] = changed
        for each in dict.fromkeys(["full", name]):
            assert world.made(things, each).success, world.last.failure
        with superuser.connect() as connection:
            for table, shape in tables.items():
                view = f"{name}_sample.inp__{table}_weighted"
                found = connection.exec_driver_sql(f"SELECT * FROM {view}")
                assert set(frame(shape)) <= set(found.keys()), view
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
        made = of_state(world, {"t": "a", "v": "b", "w": "b"})()
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
    things = of_state(world, {"t": "a", "v": "b", "w": "c"})
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
