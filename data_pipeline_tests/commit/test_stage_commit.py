"""Runs without the memoised executor (`materialize`) commit each stage with the last of its tables.

They rely on private parts of Dagster (see `data_pipeline/runs/dagster_plan.py`): these tests
fail when Dagster changes them.
"""

from itertools import product
from typing import Any

import dagster as dg
import pandas as pd
import pytest
import sqlalchemy as sa

from data_pipeline import instance_resources
from data_pipeline.instances.partitions import INSTANCE_PARTITIONS
from data_pipeline.store.table_properties import View
from data_pipeline_tests.io_manager.runs import rows
from data_pipeline_tests.memo.stages import asset

TRANSACTIONS = "SELECT count(DISTINCT xmin::text), count(*) FROM full_catalog.tables"


def materialize(*assets: dg.AssetsDefinition, **options: Any) -> dg.ExecuteInProcessResult:
    resources = instance_resources("full")
    return dg.materialize(assets, partition_key="full", resources=resources, **options)


def table(key: str, value: int, *inputs: str) -> dg.AssetsDefinition:
    """Gives an asset that depends on `inputs` and does not load them."""
    deps = [dg.AssetKey(name.split("/")) for name in inputs]
    return asset(key, lambda: pd.DataFrame({"v": [value]}), deps=deps)


def broken(key: str, *inputs: str) -> dg.AssetsDefinition:
    def fail() -> None:
        raise ValueError("broken")

    return asset(key, fail, deps=[dg.AssetKey(name.split("/")) for name in inputs])


def there(engine: sa.Engine, name: str) -> bool:
    return bool(rows(engine, f"SELECT to_regclass('{name}') IS NOT NULL")[0][0])


def test_tables_of_a_stage_appear_all_at_once(pipeline_database: sa.Engine) -> None:
    def last(a: pd.DataFrame) -> pd.DataFrame:
        assert not there(pipeline_database, "full_s.a")
        return a

    assert materialize(table("s/a", 1), asset("s/b", last, "s/a")).success
    assert rows(pipeline_database, "SELECT a.v, b.v FROM full_s.a, full_s.b") == [(1, 1)]
    assert rows(pipeline_database, TRANSACTIONS) == [(1, 2)]


def test_a_stage_commits_before_the_next_one_is_computed(pipeline_database: sa.Engine) -> None:
    def next_one(a: pd.DataFrame) -> pd.DataFrame:
        assert there(pipeline_database, "full_s.a")
        return a

    assert materialize(table("s/a", 1), asset("t/b", next_one, "s/a")).success


def test_a_failing_table_keeps_its_stage_as_it_was(
    pipeline_database: sa.Engine, capfd: pytest.CaptureFixture[str]
) -> None:
    assert materialize(table("s/a", 1), table("s/b", 1)).success
    result = materialize(
        table("r/x", 2), table("s/a", 2), broken("s/b", "s/a"), raise_on_error=False
    )
    assert not result.success
    assert rows(pipeline_database, "SELECT a.v, b.v FROM full_s.a, full_s.b") == [(1, 1)]
    assert rows(pipeline_database, "SELECT a.v FROM full_s__staging.a, full_r.x") == [(2,)]
    assert (
        "Not committed: stage `s` of instance `full` keeps its earlier content as a whole, since "
        "`s/b` did not succeed. What was made for it stays for inspection:\n  full_s__staging.a"
    ) in capfd.readouterr().err


def test_a_selection_commits_what_it_selects(pipeline_database: sa.Engine) -> None:
    assert materialize(table("s/a", 1), table("s/b", 1)).success
    result = materialize(table("s/a", 2), table("s/b", 2), selection=[dg.AssetKey(["s", "a"])])
    assert result.success
    assert rows(pipeline_database, "SELECT a.v, b.v FROM full_s.a, full_s.b") == [(2, 1)]


def test_stages_that_read_from_each_other_commit_together(pipeline_database: sa.Engine) -> None:
    assert materialize(table("s/a", 1), table("t/b", 1, "s/a"), table("s/c", 1, "t/b")).success
    assert rows(pipeline_database, TRANSACTIONS) == [(1, 3)]


@pytest.mark.parametrize("made", [("x", "y"), ("x",)], ids=["all outputs", "one of them"])
def test_a_multi_asset_commits_its_stages_together(
    pipeline_database: sa.Engine, made: tuple[str, ...]
) -> None:
    @dg.multi_asset(
        outs={
            "x": dg.AssetOut(key=["s", "x"], is_required=False),
            "y": dg.AssetOut(key=["t", "y"], is_required=False),
        },
        partitions_def=INSTANCE_PARTITIONS,
    )
    def both():
        for name in made:
            yield dg.Output(pd.DataFrame({"v": [1]}), name)

    assert materialize(both, table("s/a", 1)).success
    assert rows(pipeline_database, TRANSACTIONS) == [(1, 3)]
    kinds = "SELECT name, kind FROM full_catalog.tables ORDER BY 1"
    last = ("y", "table" if "y" in made else "absent")
    assert rows(pipeline_database, kinds) == [("a", "table"), ("x", "table"), last]


def test_views_commit_with_the_table_of_their_stage(pipeline_database: sa.Engine) -> None:
    """Whatever the names, in whose order steps are executed: a stage for each of these."""

    def by_query(x: sa.Table) -> View:
        return View(sa.select(x))

    def by_name(x: sa.Table) -> View:
        return View(x)

    cases = {
        f"{made}_{shown.__name__}": (made, shown)
        for made, shown in product(("abc", "cba", "bac"), (by_query, by_name))
    }

    def trio(stage: str, value: int) -> list[dg.AssetsDefinition]:
        (source, view, second), shown = cases[stage]

        def of(name: str, other: str) -> dg.AssetsDefinition:
            ins = {"x": dg.AssetIn([stage, other])}
            return dg.asset(key=[stage, name], ins=ins, partitions_def=INSTANCE_PARTITIONS)(shown)

        return [table(f"{stage}/{source}", value), of(view, source), of(second, view)]

    for value in (1, 2, 3):
        assert materialize(*(asset for stage in cases for asset in trio(stage, value))).success
        for stage, ((_, _, second), _) in cases.items():
            found = rows(pipeline_database, f"SELECT v FROM full_{stage}.{second}")
            assert found == [(value,)], stage


def test_steps_read_what_their_run_has_staged(pipeline_database: sa.Engine) -> None:
    def frame(a: pd.DataFrame) -> pd.DataFrame:
        return a

    def reference(a: sa.Table) -> Any:
        return sa.select(a)

    def things(value: int) -> list[dg.AssetsDefinition]:
        return [
            table("s/a", value),
            asset("s/frame", frame, "s/a"),
            asset("s/reference", reference, "s/a"),
        ]

    for value in (1, 2):
        assert materialize(*things(value)).success
    query = "SELECT f.v, r.v FROM full_s.frame f, full_s.reference r"
    assert rows(pipeline_database, query) == [(2, 2)]


def test_nothing_is_left_open_or_staged(pipeline_database: sa.Engine) -> None:
    assert materialize(table("s/a", 1), table("t/b", 1, "s/a")).success
    held = "SELECT count(*) FROM pg_locks JOIN pg_database d ON d.oid = database WHERE datname = "
    query = f"{held} current_database() AND locktype = 'advisory'"
    assert rows(pipeline_database, query) == [(0,)]
    assert rows(pipeline_database, "SELECT run_id FROM full_catalog.runs") == []
    assert rows(pipeline_database, "SELECT name FROM full_catalog.staged") == []
