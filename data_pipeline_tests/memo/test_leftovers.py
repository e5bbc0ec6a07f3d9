"""What failed and dead runs left is used again where it is valid, and cleaned up otherwise."""

from typing import Any

import dagster as dg
import pandas as pd
import sqlalchemy as sa

from data_pipeline import Tables
from data_pipeline.instances.partitions import INSTANCE_PARTITIONS
from data_pipeline.store.table_properties import View
from data_pipeline_tests.io_manager.runs import execute, rows
from data_pipeline_tests.memo.stages import asset, constant, failing
from data_pipeline_tests.memo.world import World

STAGED = """
SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
WHERE n.nspname LIKE 'full%staging' AND relkind IN ('r', 'v') ORDER BY 1
"""


def staged(engine: sa.Engine) -> list[str]:
    """Names the relations in staging, and what is on the list."""
    listed = rows(engine, "SELECT name FROM full_catalog.staged ORDER BY 1")
    return [name for (name,) in [*rows(engine, STAGED), *listed]]


def test_what_a_failed_run_staged_is_not_computed_again(
    world: World, pipeline_database: sa.Engine
) -> None:
    assert not world.made(lambda: [constant("s/a", 1), failing("s/b")]).success
    assert staged(pipeline_database) == ["a", "a"]
    run = world.made(lambda: [constant("s/a", 1), constant("s/b", 2)])
    assert run.success
    assert world.calls == {"s/b": 1}
    assert "Swapped back in: s__a, staged by a run that did not commit it" in run.messages
    assert rows(pipeline_database, "SELECT a.v, b.v FROM full_s.a, full_s.b") == [(1, 2)]
    assert staged(pipeline_database) == []


def test_what_a_step_staged_before_it_failed_is_computed_again(world: World) -> None:
    def rows_then_error() -> Any:
        yield dg.Output(pd.DataFrame({"v": [1]}))
        raise ValueError("seen after the rows")

    def error_after_tables() -> Any:
        yield dg.Output(Tables({"one": pd.DataFrame({"v": [1]})}))
        raise ValueError("seen after the tables")

    @dg.op(out=dg.Out(pd.DataFrame))
    def frame() -> Any:
        return pd.DataFrame({"v": [1]})

    @dg.op
    def looked_at(rows: pd.DataFrame) -> Any:
        raise ValueError(f"seen in {len(rows)} row by a check")

    @dg.graph_asset(
        key=["s", "graph"],
        partitions_def=INSTANCE_PARTITIONS,
        check_specs=[dg.AssetCheckSpec("check", asset=["s", "graph"])],
    )
    def graph() -> Any:
        rows = frame()
        return {"result": rows, "s__graph_check": looked_at(rows)}

    several = asset("s/several", error_after_tables, dagster_type=Tables)
    for item in (asset("s/a", rows_then_error), several, graph):
        assert not world.made(lambda item=item: [item, constant("s/z", 1)]).success
        again = world.made(lambda item=item: [item, constant("s/z", 1)])
        assert not again.success
        assert "Swapped back in: s__z, staged by a run that did not commit it" in again.messages


def test_what_was_staged_by_other_code_is_computed_again(
    world: World, pipeline_database: sa.Engine
) -> None:
    assert not world.made(lambda: [constant("s/a", 1), failing("s/b")]).success
    assert world.made(lambda: [constant("s/a", 3), constant("s/b", 2)]).success
    assert world.calls == {"s/a": 1, "s/b": 1}
    assert rows(pipeline_database, "SELECT a.v, b.v FROM full_s.a, full_s.b") == [(3, 2)]
    assert staged(pipeline_database) == []


def test_what_was_staged_from_inputs_that_did_not_come_to_be_is_computed_again(
    world: World, pipeline_database: sa.Engine
) -> None:
    def copy(a: pd.DataFrame) -> pd.DataFrame:
        return a

    def things(value: int, broken: bool) -> Any:
        last = failing("s/z", version=str(value)) if broken else constant("s/z", value)
        return [constant("s/a", value), asset("t/b", copy, "s/a"), last]

    assert world.made(lambda: things(1, broken=False)).success
    assert not world.made(lambda: things(2, broken=True)).success
    # Back at the first version, nothing has changed, and nothing of the second appears.
    run = world.made(lambda: things(1, broken=False))
    assert run.success
    assert run.steps == set()
    assert rows(pipeline_database, "SELECT a.v, b.v FROM full_s.a, full_t.b") == [(1, 1)]
    assert staged(pipeline_database) == []


def test_views_and_blobs_are_used_again_too(world: World, pipeline_database: sa.Engine) -> None:
    def view(a: sa.Table) -> Any:
        return View(sa.select(a.c.v))

    def model() -> Any:
        return {"weight": 1}

    def things(last: dg.AssetsDefinition) -> Any:
        return [constant("s/a", 1), asset("s/view", view, "s/a"), asset("s/model", model), last]

    assert not world.made(lambda: things(failing("s/z"))).success
    run = world.made(lambda: things(constant("s/z", 2)))
    assert run.steps == {"s__z"}
    assert rows(pipeline_database, "SELECT v FROM full_s.view") == [(1,)]
    assert rows(pipeline_database, "SELECT count(*) FROM full_catalog.tables") == [(4,)]
    assert staged(pipeline_database) == []


def test_a_staged_table_that_somebody_emptied_is_computed_again(
    world: World, pipeline_database: sa.Engine
) -> None:
    assert not world.made(lambda: [constant("s/a", 1), failing("s/b")]).success
    execute(pipeline_database, "TRUNCATE full_s__staging.a")
    assert world.made(lambda: [constant("s/a", 1), constant("s/b", 2)]).success
    assert world.calls == {"s/a": 1, "s/b": 1}
    assert rows(pipeline_database, "SELECT v FROM full_s.a") == [(1,)]


def test_what_a_killed_run_left_half_built_is_collected_although_nothing_is_to_do(
    world: World, pipeline_database: sa.Engine
) -> None:
    assert world.made(lambda: [constant("s/a", 1)]).success
    execute(
        pipeline_database,
        "CREATE SCHEMA IF NOT EXISTS full_s__staging",
        "CREATE TABLE full_s__staging.half (v int)",
        "CREATE VIEW full_s__staging.on_half AS SELECT * FROM full_s__staging.half",
        "INSERT INTO full_catalog.runs (run_id, username, host, started_at, stages) "
        """VALUES ('killed', 'u', 'h', now(), '["s"]')""",
    )
    run = world.made(lambda: [constant("s/a", 1)])
    assert run.success
    assert run.steps == set()
    assert staged(pipeline_database) == []
    assert rows(pipeline_database, "SELECT * FROM full_catalog.runs") == []


def test_what_is_staged_of_other_stages_is_left_alone(
    world: World, pipeline_database: sa.Engine
) -> None:
    assert not world.made(
        lambda: [constant("s/a", 1), failing("s/b"), constant("t/c", 1), failing("t/d")]
    ).success
    selection = [dg.AssetKey(["s", name]) for name in "ab"]
    assert world.made(
        lambda: [constant("s/a", 1), constant("s/b", 1), constant("t/c", 1), failing("t/d")],
        selection=selection,
    ).success
    assert staged(pipeline_database) == ["c", "c"]


def test_a_run_that_was_taken_for_dead_writes_nothing_any_more(
    world: World, pipeline_database: sa.Engine
) -> None:
    def lost() -> pd.DataFrame:
        execute(
            pipeline_database,
            "SELECT pg_terminate_backend(backend_pid) FROM full_catalog.runs",
            "UPDATE full_catalog.runs SET is_buried = true",
        )
        return pd.DataFrame({"v": [1]})

    run = world.made(lambda: [asset("s/a", lost)])
    assert not run.success
    assert "other runs took it for dead" in str(run.events)
    assert rows(pipeline_database, "SELECT * FROM full_catalog.tables") == []
    assert world.made(lambda: [constant("s/a", 2)]).success
    assert rows(pipeline_database, "SELECT v FROM full_s.a") == [(2,)]
    assert staged(pipeline_database) == []
