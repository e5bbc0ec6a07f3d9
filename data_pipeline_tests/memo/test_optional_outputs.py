"""An optional output that its step does not make any more leaves its stage with the next commit."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import pytest
import sqlalchemy as sa
from click.testing import CliRunner

from data_pipeline import instance_resources, table_properties
from data_pipeline.cli import main
from data_pipeline.instances.partitions import INSTANCE_PARTITIONS
from data_pipeline.sampling import copy_filtered_inputs
from data_pipeline.sampling.checks import table_checks
from data_pipeline.store.table_properties import View
from data_pipeline_tests.io_manager.runs import execute, rows
from data_pipeline_tests.memo.jobs import called
from data_pipeline_tests.memo.settings import cache_slots, table_store
from data_pipeline_tests.memo.stages import asset, constant, failing
from data_pipeline_tests.memo.step_processes import BY_PROCESSES
from data_pipeline_tests.memo.world import World, new_storage, shared_storage

KINDS = "SELECT stage || '/' || name, kind FROM full_catalog.tables ORDER BY 1"
STAGES = {"x": "s", "y": "s", "z": "t"}


def some(
    *made: str,
    version: str = "1",
    value: Callable[[str], Any] = lambda name: pd.DataFrame({"v": [name]}),
    metadata: dict[str, Any] | None = None,
    **options: Any,
) -> dg.AssetsDefinition:
    """Gives a step with the optional outputs `s/x`, `s/y` and `t/z`, which makes some of them."""

    @dg.multi_asset(
        outs={
            name: dg.AssetOut(
                key=[stage, name], code_version=version, is_required=False, metadata=metadata
            )
            for name, stage in STAGES.items()
        },
        partitions_def=INSTANCE_PARTITIONS,
        **options,
    )
    def some_of_them(context: dg.AssetExecutionContext) -> Any:
        called("some")
        for name in made:
            if name in context.op_execution_context.selected_output_names:
                yield dg.Output(value(name), name)

    return some_of_them


def reads(key: str, source: str, version: str = "1") -> dg.AssetsDefinition:
    """Gives an asset that is a copy of another one."""
    name = source.split("/")[1]

    def copy(**inputs: Any) -> Any:
        called(key)
        return inputs[name]

    def made(source: pd.DataFrame) -> pd.DataFrame:
        return copy(**{name: source})

    return dg.asset(
        key=key.split("/"),
        ins={"source": dg.AssetIn(source.split("/"))},
        partitions_def=INSTANCE_PARTITIONS,
        code_version=version,
    )(made)


def there(engine: sa.Engine, *names: str) -> list[bool]:
    return [rows(engine, f"SELECT to_regclass('{name}') IS NOT NULL")[0][0] for name in names]


def kinds(engine: sa.Engine) -> dict[str, str]:
    return dict(rows(engine, KINDS))


def steps(world: World, *things: Any, **options: Any) -> set[str]:
    run = world.made(lambda: list(things), **options)
    assert run.success
    return run.steps


@pytest.mark.parametrize("slots", [1, 0])
def test_it_leaves_with_the_commit_and_its_step_is_up_to_date(
    world: World,
    pipeline_database: sa.Engine,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    slots: int,
) -> None:
    cache_slots(slots, tmp_path, monkeypatch)
    assert steps(world, some("x", "y", "z")) == {"some_of_them"}
    assert steps(world, some("x", "z", version="2")) == {"some_of_them"}
    assert there(pipeline_database, "full_s.x", "full_s.y", "full_t.z") == [True, False, True]
    assert kinds(pipeline_database) == {"s/x": "table", "s/y": "absent", "t/z": "table"}
    kept = rows(pipeline_database, "SELECT name FROM full_catalog.slots WHERE name = 'y'")
    assert kept == [("y",)] * slots
    assert steps(world, some("x", "z", version="2")) == set()
    # Back at the first version, or at another one, it is there again.
    assert (steps(world, some("x", "y", "z")) == set()) == bool(slots)
    assert there(pipeline_database, "full_s.x", "full_s.y", "full_t.z") == [True, True, True]
    assert steps(world, some("x", "y", "z", version="3")) == {"some_of_them"}
    assert set(kinds(pipeline_database).values()) == {"table"}


def test_one_that_was_never_made_is_no_reason_to_run(
    world: World, pipeline_database: sa.Engine
) -> None:
    assert steps(world, some("x")) == {"some_of_them"}
    assert steps(world, some("x")) == set()
    assert "leaves" not in world.last.log
    assert kinds(pipeline_database) == {"s/x": "table", "s/y": "absent", "t/z": "absent"}
    assert "full_t" not in sa.inspect(pipeline_database).get_schema_names()
    assert steps(world, some(version="2")) == {"some_of_them"}
    assert steps(world, some(version="2")) == set()
    assert set(kinds(pipeline_database).values()) == {"absent"}


def test_a_blob_leaves_too(world: World, pipeline_database: sa.Engine, tmp_path: Path) -> None:
    def blob(version: str) -> Callable[[str], Any]:
        return lambda name: {"made": name + version}

    for version in ("1", "2", "3"):
        made = ("x",) if version == "2" else ("x", "y")
        steps(world, some(*made, version=version, value=blob(version)))
        found = {path.name.split(".")[0] for path in (tmp_path / "home/blobs/full/s").iterdir()}
        assert found == {"x", "y"}  # in its slot
        assert (kinds(pipeline_database)["s/y"] == "blob") == ("y" in made)


def test_what_reads_it_waits_until_it_is_made_again(
    world: World, pipeline_database: sa.Engine
) -> None:
    def things(*made: str, version: str, reader: str = "1") -> list[Any]:
        return [
            some(*made, version=version, value=lambda name: pd.DataFrame({"v": [version]})),
            reads("s/copy", "s/y", reader),
            reads("u/second", "s/copy", reader),
            reads("u/other", "s/x"),
        ]

    seen = "SELECT c.v, s.v FROM full_s.copy c, full_u.second s"
    assert len(steps(world, *things("x", "y", version="1"))) == 4
    assert steps(world, *things("x", version="2")) == {"some_of_them", "u__other"}
    said = [message for message in world.last.messages if "`s/y` was not made by" in message]
    assert len(said) == 1
    assert "leaves stage `s` with the next commit" in said[0]
    assert "kept as an earlier version" in said[0]
    assert "read by `s/copy`:" in said[0]
    assert "s__copy: not run, since `s/y` was not made" in world.last.log
    assert rows(pipeline_database, seen) == [("1", "1")]
    assert there(pipeline_database, "full_s.y") == [False]
    # Nothing changes that, and other code of theirs neither.
    assert steps(world, *things("x", version="2")) == set()
    assert "s__copy: not run, since `s/y` was not made" in world.last.log
    assert steps(world, *things("x", version="2", reader="2")) == set()
    assert "u__second: not run, since `s/copy` was not run" in world.last.log
    selection = [dg.AssetKey(["s", "copy"]), dg.AssetKey(["u", "second"])]
    assert steps(world, *things("x", version="2", reader="2"), selection=selection) == set()
    assert steps(world, *things("x", "y", version="3", reader="2")) == {
        "some_of_them",
        "s__copy",
        "u__second",
        "u__other",
    }
    assert rows(pipeline_database, seen) == [("3", "3")]
    assert steps(world, *things("x", "y", version="3", reader="2")) == set()


@pytest.mark.parametrize("reader", ["not built yet", "changed"])
def test_a_reader_that_has_something_to_do_is_left_out_too(
    world: World, pipeline_database: sa.Engine, reader: str
) -> None:
    if reader == "changed":
        steps(world, some("x", "y"), reads("s/copy", "s/y"), reads("t/more", "s/copy"))
    things = [
        some("x", version="2"),
        reads("s/copy", "s/y", "2"),
        reads("t/more", "s/copy", "2"),
        constant("t/a", 1),
    ]
    assert steps(world, *things) == {"some_of_them", "t__a"}
    assert kinds(pipeline_database)["s/y"] == "absent"
    assert there(pipeline_database, "full_s.copy") == [reader == "changed"]
    assert steps(world, *things) == set()


@pytest.mark.usefixtures("forkserver")
def test_in_several_processes_it_is_the_same(
    world: World, pipeline_database: sa.Engine, tmp_path: Path
) -> None:
    options: dict[str, Any] = {
        "builder": "optional_by_processes",
        "storage": shared_storage(tmp_path),
        "run_config": BY_PROCESSES,
    }
    world.state |= {"made": ["x", "y"], "versions": {"some": "1"}}
    assert world.run(**options).success
    assert world.calls == {"some": 1, "copy": 1, "more": 1}
    world.state |= {"made": ["x"], "versions": {"some": "2"}}
    assert world.run(**options).success
    assert world.calls == {"some": 1}
    assert kinds(pipeline_database) == {
        "s/copy": "table",
        "s/x": "table",
        "s/y": "absent",
        "t/more": "table",
    }
    assert world.run(**options).steps == set()


def test_what_a_run_does_not_select_is_not_gone(world: World, pipeline_database: sa.Engine) -> None:
    subset: dict[str, Any] = {"can_subset": True}
    steps(world, some("x", "y", "z", **subset))
    selection = [dg.AssetKey(["s", "x"]), dg.AssetKey(["s", "y"])]
    chosen = some("x", version="2", **subset)
    assert steps(world, chosen, selection=selection) == {"some_of_them"}
    assert kinds(pipeline_database) == {"s/x": "table", "s/y": "absent", "t/z": "table"}
    assert there(pipeline_database, "full_s.x", "full_s.y", "full_t.z") == [True, False, True]
    assert steps(world, chosen, selection=selection) == set()


def test_what_the_same_step_makes_of_it_is_up_to_date_without_it(
    world: World, pipeline_database: sa.Engine
) -> None:
    def chain(*made: str, version: str) -> dg.AssetsDefinition:
        keys = [dg.AssetKey(["s", "x"]), dg.AssetKey(["s", "y"])]
        deps = {"x": set(), "y": {keys[0]}, "z": set(keys)}
        return some(*made, version=version, internal_asset_deps=deps)

    for number, made in enumerate((("x", "y", "z"), ("y", "z"), ("x", "z"), ("z",), ("y",))):
        assert steps(world, chain(*made, version=str(number))) == {"some_of_them"}
        assert steps(world, chain(*made, version=str(number))) == set()


@pytest.mark.parametrize("when", ["later", "now"])
def test_a_failing_step_or_stage_lets_it_stay(
    world: World, pipeline_database: sa.Engine, when: str
) -> None:
    steps(world, some("x", "y"), constant("s/b", 1))
    if when == "now":

        def fails(name: str) -> Any:
            raise ValueError(name)

        assert not world.made(lambda: [some("x", version="2", value=fails)]).success
    else:
        things = [some("x", version="2"), failing("s/b", "s/x", version="2")]
        assert not world.made(lambda: things).success
    assert there(pipeline_database, "full_s.x", "full_s.y") == [True, True]
    assert kinds(pipeline_database)["s/y"] == "table"
    last = [some("x", version="2"), constant("s/b", 2, "s/x")]
    # What the failed run has found out is used again.
    assert steps(world, *last) == {"s__b"} | ({"some_of_them"} if when == "now" else set())
    assert there(pipeline_database, "full_s.x", "full_s.y") == [True, False]


def test_an_attempt_that_made_it_does_not_count(world: World, pipeline_database: sa.Engine) -> None:
    attempts: list[int] = []

    @dg.multi_asset(
        outs={
            name: dg.AssetOut(key=["s", name], code_version="1", is_required=False)
            for name in ("x", "y")
        },
        partitions_def=INSTANCE_PARTITIONS,
    )
    def moody() -> Any:
        attempts.append(1)
        yield dg.Output(pd.DataFrame({"v": [1]}), "x" if len(attempts) == 1 else "y")
        if len(attempts) == 1:
            raise dg.RetryRequested

    assert steps(world, moody) == {"moody"}
    assert kinds(pipeline_database) == {"s/x": "absent", "s/y": "table"}
    assert there(pipeline_database, "full_s.x", "full_s__staging.x") == [False, False]
    assert steps(world, moody) == set()


def view_of_y() -> dg.AssetsDefinition:
    def view(y: sa.Table) -> View:
        return View(y)

    return asset("u/view", view, "s/y")


def valued(version: str) -> Callable[[str], Any]:
    return lambda name: pd.DataFrame({"v": [name + version]})


def test_views_stay_on_the_kept_table_until_it_is_made_again(
    world: World, pipeline_database: sa.Engine
) -> None:
    def things(*made: str, version: str) -> list[Any]:
        return [some(*made, version=version, value=valued(version)), view_of_y()]

    steps(world, *things("x", "y", version="1"))
    execute(
        pipeline_database,
        "CREATE SCHEMA users",
        "CREATE VIEW users.alone AS SELECT v FROM full_s.y",
        "CREATE VIEW users.pair AS SELECT y.v, x.v AS other FROM full_s.y JOIN full_s.x ON true",
        "CREATE VIEW users.second AS SELECT pair.v, other FROM users.pair",
        "CREATE MATERIALIZED VIEW users.stored AS SELECT v FROM users.pair",
        "GRANT SELECT ON users.alone TO PUBLIC",
    )
    seen = (
        "SELECT a.v, b.v, b.other, s.v, m.v, u.v "
        "FROM users.alone a, users.pair b, users.second s, users.stored m, full_u.view u"
    )
    assert rows(pipeline_database, seen) == [("y1", "y1", "x1", "y1", "y1", "y1")]
    steps(world, *things("x", version="2"))
    assert rows(pipeline_database, seen) == [("y1", "y1", "x2", "y1", "y1", "y1")]
    steps(world, *things("x", version="3"))
    assert rows(pipeline_database, seen) == [("y1", "y1", "x3", "y1", "y1", "y1")]
    # What others look at is neither dropped nor taken away from under them.
    text = CliRunner().invoke(main, ["gc", "full"], catch_exceptions=False).output
    assert "kept, since others use them: full_s__slots." in text
    steps(world, *things("x", "y", version="4"))
    assert rows(pipeline_database, seen) == [("y4", "y4", "x4", "y4", "y4", "y4")]
    steps(world, *things("x", "y", version="5"))
    assert rows(pipeline_database, seen) == [("y5", "y5", "x5", "y5", "y5", "y5")]
    granted = "SELECT has_table_privilege('public', 'users.alone', 'SELECT')"
    assert rows(pipeline_database, granted) == [(True,)]
    text = CliRunner().invoke(main, ["gc", "full"], catch_exceptions=False).output
    assert "others" not in text


def test_what_is_built_on_a_kept_table_keeps_it_from_being_swapped_in(
    world: World, pipeline_database: sa.Engine
) -> None:
    steps(world, some("x", "y", "z", version="1", value=valued("1")))
    execute(pipeline_database, "CREATE VIEW public.v AS SELECT v FROM full_s.y")
    steps(world, some("x", "z", version="2", value=valued("2")))
    # Staging, where it would come to lie, is cleared without asking.
    assert steps(world, some("x", "y", "z", version="1", value=valued("1"))) == {"some_of_them"}
    execute(pipeline_database, "INSERT INTO full_s.y VALUES ('mine')")
    assert rows(pipeline_database, "SELECT v FROM public.v") == [("y1",), ("mine",)]


@pytest.mark.parametrize("policy", ["fail", "drop"])
def test_views_of_a_table_that_is_dropped_are_what_does_not_fit(
    world: World,
    pipeline_database: sa.Engine,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    policy: str,
) -> None:
    cache_slots(0, tmp_path, monkeypatch)
    table_store(f"on_broken_view: {policy}", tmp_path, monkeypatch)
    steps(world, some("x", "y", version="1"))
    execute(
        pipeline_database,
        "CREATE VIEW public.v AS SELECT v FROM full_s.y",
        "CREATE VIEW public.w AS SELECT count(*) AS n FROM full_s.y",
        "CREATE VIEW public.x AS SELECT v FROM full_s.x",
    )
    run = world.made(lambda: [some("x", version="2")])
    assert run.success == (policy == "drop")
    views = there(pipeline_database, "public.v", "public.w", "full_s.y", "public.x")
    if policy == "drop":
        assert views == [False, False, False, True]
        assert "is gone with its table" in run.log
    else:
        assert views == [True, True, True, True]
        assert "View public.v" in run.failure or "View public.w" in run.failure


@pytest.mark.parametrize("blocking", [True, False])
def test_checks_of_it_are_left_out_and_others_are_not(world: World, blocking: bool) -> None:
    def check(name: str) -> dg.AssetChecksDefinition:
        @dg.asset_check(asset=dg.AssetKey(["s", name]), name=f"check_{name}", blocking=blocking)
        def checked() -> dg.AssetCheckResult:
            called(f"check_{name}")
            return dg.AssetCheckResult(passed=True)

        return checked

    @dg.multi_asset_check(
        specs=[
            dg.AssetCheckSpec("of_both", asset=dg.AssetKey(["s", name]), blocking=blocking)
            for name in ("x", "y")
        ]
    )
    def both() -> Any:
        called("check_both")
        for name in ("x", "y"):
            yield dg.AssetCheckResult(
                passed=True, asset_key=dg.AssetKey(["s", name]), check_name="of_both"
            )

    def things(*made: str, version: str) -> list[Any]:
        return [some(*made, version=version), check("x"), check("y"), both]

    steps(world, *things("x", "y", version="1"))
    assert world.calls == {"some": 1, "check_x": 1, "check_y": 1, "check_both": 1}
    steps(world, *things("x", version="2"))
    assert world.calls == {"some": 1, "check_x": 1, "check_both": 1}
    assert steps(world, *things("x", version="2")) == set()
    steps(world, *things("x", "y", version="3"))
    assert world.calls == {"some": 1, "check_x": 1, "check_y": 1, "check_both": 1}
    assert steps(world, *things("x", "y", version="3")) == set()


def test_the_checks_of_tables_find_nothing_to_check(world: World) -> None:
    def things(*made: str, version: str) -> list[Any]:
        step = some(*made, version=version, metadata=table_properties(primary_key="v"))
        return [step, *table_checks([step])]

    for made, version in ((("x", "y"), "1"), (("x",), "2"), (("x",), "2")):
        run = world.made(lambda made=made, version=version: things(*made, version=version))
        assert run.success
        found = [
            event.asset_check_evaluation_data
            for event in run.events
            if event.event_type is dg.DagsterEventType.ASSET_CHECK_EVALUATION
        ]
        assert all(check.passed for check in found)
        assert {check.asset_key.path[-1] for check in found} == set(made)


def test_copies_of_it_wait_in_other_instances_too(
    world: World, pipeline_database: sa.Engine
) -> None:
    def things(*made: str, version: str) -> list[Any]:
        step = some(*made, version=version, value=valued(version))
        return [step, copy_filtered_inputs(stage="inputs", raw=[step])]

    for made, version in ((("x", "y", "z"), "1"), (("x", "z"), "2"), (("x", "y", "z"), "3")):
        for name in ("full", "mini"):
            assert world.made(lambda m=made, v=version: things(*m, version=v), name).success
        last = "3" if version == "3" else "1"
        seen = "SELECT x.v, y.v FROM mini_inputs.x, mini_inputs.y"
        assert rows(pipeline_database, seen) == [(f"x{last}", f"y{last}")]
        # Without a fingerprint, what leaves is not kept, so a view of it cannot stay.
        assert there(pipeline_database, "full_inputs.y") == [version != "2"]
    seen = "SELECT x.v, y.v FROM full_inputs.x, full_inputs.y"
    assert rows(pipeline_database, seen) == [("x3", "y3")]


@pytest.mark.parametrize("policy", ["fail", "drop"])
def test_own_views_of_a_table_that_is_dropped_go_with_it(
    world: World,
    pipeline_database: sa.Engine,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    policy: str,
) -> None:
    def things(*made: str, version: str) -> list[Any]:
        def on_view(view: sa.Table) -> View:
            return View(sa.select(view.c.v))

        view, other = view_of_y(), asset("s/other", on_view, "u/view")
        return [some(*made, version=version, value=valued(version)), view, other]

    cache_slots(0, tmp_path, monkeypatch)
    table_store(f"on_broken_view: {policy}", tmp_path, monkeypatch)
    steps(world, *things("x", "y", version="1"))
    assert steps(world, *things("x", version="2")) == {"some_of_them"}
    assert there(pipeline_database, "full_s.x", "full_u.view", "full_s.other") == [
        True,
        False,
        False,
    ]
    assert steps(world, *things("x", version="2")) == set()
    steps(world, *things("x", "y", version="3"))
    seen = "SELECT v.v, o.v FROM full_u.view v, full_s.other o"
    assert rows(pipeline_database, seen) == [("y3", "y3")]
    execute(pipeline_database, "CREATE VIEW public.mine AS SELECT v FROM full_s.other")
    run = world.made(lambda: things("x", version="4"))
    assert run.success == (policy == "drop")
    assert there(pipeline_database, "public.mine", "full_s.y") == [policy == "fail"] * 2


def test_dagster_is_not_told_that_it_is_there(world: World) -> None:
    steps(world, some("x"))
    colleague = new_storage()
    assert steps(world, some("x"), storage=colleague) == set()
    for name, count in (("x", 1), ("y", 0)):
        filters = dg.AssetRecordsFilter(asset_key=dg.AssetKey(["s", name]))
        assert len(colleague.fetch_materializations(filters, limit=9).records) == count


def test_a_graph_whose_result_is_not_made_is_the_same(
    world: World, pipeline_database: sa.Engine
) -> None:
    def graph(made: bool, version: str) -> dg.AssetsDefinition:
        @dg.op(out=dg.Out(is_required=False, io_manager_key="parts"), code_version=version)
        def load() -> Any:
            called("load")
            if made:
                yield dg.Output(1)

        @dg.op(code_version=version)
        def frame(x: Any) -> pd.DataFrame:
            called("frame")
            return pd.DataFrame({"v": [x]})

        @dg.graph_asset(key=["s", "graph"], partitions_def=INSTANCE_PARTITIONS)
        def both() -> Any:
            return frame(load())

        return both

    parts = {"parts": dg.mem_io_manager}
    copy = reads("s/copy", "s/graph")
    steps(world, graph(True, "1"), copy, parts)
    assert world.calls == {"load": 1, "frame": 1, "s/copy": 1}
    steps(world, graph(False, "2"), copy, parts)
    assert world.calls == {"load": 1}
    assert kinds(pipeline_database) == {"s/copy": "table", "s/graph": "absent"}
    steps(world, graph(False, "2"), copy, parts)
    assert world.calls == {}


def test_in_a_run_that_leads_itself_it_leaves_too(pipeline_database: sa.Engine) -> None:
    def materialize(*things: Any) -> dg.ExecuteInProcessResult:
        return dg.materialize(things, partition_key="full", resources=instance_resources("full"))

    def quiet(name: str) -> Any:
        return pd.DataFrame({"v": [name]})

    def things(*made: str) -> list[Any]:
        return [unnoted(*made, value=quiet), simple("s/copy", "s/y"), simple("u/more", "s/copy")]

    assert materialize(*things("x", "y", "z")).success
    assert there(pipeline_database, "full_s.y", "full_u.more") == [True, True]
    assert materialize(*things("x", "z")).success
    assert there(pipeline_database, "full_s.x", "full_s.y", "full_t.z") == [True, False, True]
    assert kinds(pipeline_database)["s/y"] == "absent"
    assert rows(pipeline_database, "SELECT v FROM full_u.more") == [("y",)]
    assert materialize(*things("x", "y")).success
    assert there(pipeline_database, "full_s.x", "full_s.y", "full_t.z") == [True, True, False]


def unnoted(*made: str, value: Callable[[str], Any]) -> dg.AssetsDefinition:
    @dg.multi_asset(
        outs={n: dg.AssetOut(key=[stage, n], is_required=False) for n, stage in STAGES.items()},
        partitions_def=INSTANCE_PARTITIONS,
    )
    def some_of_them() -> Any:
        for name in made:
            yield dg.Output(value(name), name)

    return some_of_them


def simple(key: str, source: str) -> dg.AssetsDefinition:
    def copy(source: pd.DataFrame) -> pd.DataFrame:
        return source

    return dg.asset(
        key=key.split("/"),
        ins={"source": dg.AssetIn(source.split("/"))},
        partitions_def=INSTANCE_PARTITIONS,
    )(copy)
