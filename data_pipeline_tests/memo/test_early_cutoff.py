"""What is made of a table of a query is not made again when that is rebuilt to the same rows."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import pytest
import sqlalchemy as sa

from data_pipeline import INSTANCE_PARTITIONS, Table, table_properties
from data_pipeline.instances import load_configuration
from data_pipeline.sampling import copy_filtered_inputs
from data_pipeline.sources.fingerprints import (
    outside_input,
)
from data_pipeline_tests.io_manager.runs import execute, rows
from data_pipeline_tests.memo.jobs import called
from data_pipeline_tests.memo.stages import asset
from data_pipeline_tests.memo.world import World

# Pairs of values that PostgreSQL's own hashes or comparisons take for equal, or refuse.
UNLIKE = {
    "scale of a number": ("1.0::numeric", "1.00::numeric"),
    "minus zero": ("0::float8", "'-0'::float8"),
    "minus zero, single": ("0::float4", "'-0'::float4"),
    "month and days": ("'1 mon'::interval", "'30 days'::interval"),
    "days and hours": ("'1 day'::interval", "'24:00'::interval"),
    "text of json": ("'{\"a\":1}'::json", "'{\"a\": 1}'::json"),
    "point": ("point(1,2)", "point(1,3)"),
    "bits": ("b'101'", "b'100'"),
    "bit varying": ("b'1'::varbit", "b'10'::varbit"),
    "tsvector": ("'a b'::tsvector", "'a c'::tsvector"),
    "composed letters": ("U&'\\00e9'", "U&'e\\0301'"),
    "trailing space": ("'a'::char(3)::text", "'a  '::text"),
    "null and empty": ("NULL::text", "''::text"),
    "array of null": ("ARRAY[NULL]::int[]", "ARRAY[]::int[]"),
    "bounds of an array": ("'[0:1]={1,2}'::int[]", "'{1,2}'::int[]"),
    "record": ("ROW(1, 'a')::pair", "ROW(1, 'b')::pair"),
    "range": ("'[1,5)'::int4range", "'[1,4)'::int4range"),
    "enum": ("'a'::mood", "'b'::mood"),
    "bytes": ("'\\x00'::bytea", "'\\x0000'::bytea"),
    "rights": ("'{=r/data_pipeline}'::aclitem[]", "'{=w/data_pipeline}'::aclitem[]"),
    "money": ("1::money", "2::money"),
    "box of equal area": ("box '(1,1),(0,0)'", "box '(2,1),(1,0)'"),
}
TYPES = ("CREATE TYPE pair AS (a int, b text)", "CREATE TYPE mood AS ENUM ('a', 'b')")


def chain(make: Callable[[], Any], version: str = "1") -> Callable[[], list[Any]]:
    """Gives `s/made`, and `later/read`, which is made of it."""

    def read(made: sa.Table) -> Any:
        called("read")
        return sa.select(sa.func.count().label("n")).select_from(made)

    def things() -> list[Any]:
        return [asset("s/made", make, version=version), asset("later/read", read, "s/made")]

    return things


def query(sql: str) -> Callable[[], Any]:
    return lambda: sa.text(sql.replace(":", "\\:"))


@pytest.fixture(autouse=True)
def _types(pipeline_database: sa.Engine) -> None:
    execute(pipeline_database, *TYPES)


def follows(world: World, first: Callable[[], Any], then: Callable[[], Any]) -> bool:
    """Whether what is made of a table is made again when its code changes."""
    assert world.made(chain(first)).success
    assert world.made(chain(then, version="2")).success
    assert world.calls.keys() <= {"read"}
    return bool(world.calls)


def test_values_that_differ_in_any_byte_are_other_values(
    world: World, pipeline_database: sa.Engine
) -> None:
    owner = rows(pipeline_database, "SELECT current_user")[0][0]
    values = [[v.replace("data_pipeline", owner) for v in pair] for pair in UNLIKE.values()]

    def reading(what: str, number: int) -> Any:
        def read(table: sa.Table) -> Any:
            called(what.replace(" ", "_"))
            return sa.select(sa.func.count().label("n")).select_from(table)

        return dg.asset(
            key=["later", f"read_{number}"],
            ins={"table": dg.AssetIn(["s", f"made_{number}"])},
            partitions_def=INSTANCE_PARTITIONS,
            code_version="1",
        )(read)

    def things(text: str, version: str) -> list[Any]:
        texts = [text.format(one=one, other=other) for one, other in values]
        made = [asset(f"s/made_{i}", query(t), version=version) for i, t in enumerate(texts)]
        return made + [reading(what, number) for number, what in enumerate(UNLIKE)]

    base = "SELECT 1 AS k, {one} AS v UNION ALL SELECT 2, {one}"
    assert world.made(lambda: things(base, "1")).success
    same = "SELECT v.* FROM (SELECT 2 AS k, {one} AS v UNION ALL SELECT 1, {one}) v"
    assert world.made(lambda: things(same, "2")).success
    assert not world.calls
    changed = "SELECT 1 AS k, {other} AS v UNION ALL SELECT 2, {one}"
    assert world.made(lambda: things(changed, "3")).success
    assert world.calls == {what.replace(" ", "_"): 1 for what in UNLIKE}


@pytest.mark.parametrize(
    "then",
    [
        "SELECT i, i::text AS t FROM generate_series(3, 1, -1) i",
        "SELECT i, i::text AS t FROM generate_series(1, 3) i ORDER BY random()",
    ],
)
def test_the_order_of_rows_does_not_count(world: World, then: str) -> None:
    assert not follows(
        world, query("SELECT i, i::text AS t FROM generate_series(1, 3) i"), query(then)
    )


@pytest.mark.parametrize(
    "then",
    {
        "one more": "SELECT i FROM generate_series(1, 4) i",
        "another": "SELECT i FROM (VALUES (1), (2), (4)) v (i)",
        "type": "SELECT i::bigint AS i FROM generate_series(1, 3) i",
        "name": "SELECT i AS j FROM generate_series(1, 3) i",
        "column": "SELECT i, 0 AS j FROM generate_series(1, 3) i",
        "twice": "SELECT i FROM (VALUES (1), (2), (2)) v (i)",
    }.values(),
)
def test_other_rows_or_columns_count(world: World, then: str) -> None:
    assert follows(world, query("SELECT i FROM generate_series(1, 3) i"), query(then))


def test_rows_count_as_often_as_they_are_there(world: World) -> None:
    one, other = (f"SELECT i FROM (VALUES (1), (1), ({last})) v (i)" for last in (2, 3))
    assert follows(world, query(one), query(other))
    twice = [f"SELECT i FROM (VALUES ({a}), ({b}), ({b})) v (i)" for a, b in ((1, 2), (2, 1))]
    assert world.made(chain(query(twice[0]), version="3")).success
    assert world.made(chain(query(twice[1]), version="4")).success
    assert world.calls == {"read": 1}


@pytest.mark.parametrize("name", ["made", "t", "row", "a b", 'q"uote', "xmax_"])
def test_columns_may_have_any_name(world: World, name: str) -> None:
    quoted = '"' + name.replace('"', '""') + '"'
    one, same = (f"SELECT {value} AS {quoted}" for value in ("1", "2 - 1"))
    assert not follows(world, query(one), query(same))


def test_tables_without_columns_or_rows_are_compared_too(world: World) -> None:
    assert not follows(world, query("SELECT"), query("SELECT FROM (SELECT 1) one"))
    nothing = ("SELECT 1 AS a WHERE false", "SELECT 2 AS a WHERE 1 = 2")
    assert world.made(chain(query(nothing[0]), version="3")).success
    assert world.made(chain(query(nothing[1]), version="4")).success
    assert not world.calls


def test_a_frame_may_become_a_query_and_a_query_a_frame(world: World) -> None:
    def frame() -> pd.DataFrame:
        return pd.DataFrame({"i": [1, 2], "t": ["a", None]})

    sql = "SELECT * FROM (VALUES (2::bigint, NULL), (1, 'a')) v (i, t)"
    assert not follows(world, frame, query(sql))
    assert world.made(chain(frame, version="3")).success
    assert not world.calls


def test_a_key_or_an_index_changes_no_row(world: World) -> None:
    sql = "SELECT i FROM generate_series(1, 3) i"
    assert not follows(world, query(sql), lambda: Table(sa.text(sql), primary_key="i"))


def test_the_limit_of_size_rules_the_comparison_out(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = load_configuration().file.read_text()
    file = tmp_path / "instances.yaml"
    file.write_text(text.replace("mode: normal", "mode: normal, content_hash_max_bytes: 0"))
    monkeypatch.setenv("DATA_PIPELINE_CONFIG", str(file))
    assert load_configuration().instance("full").cache_validation.content_hash_max_bytes == 0
    assert follows(world, query("SELECT 1 AS a"), query("SELECT 2 - 1 AS a"))


def test_an_unchanged_copy_keeps_its_version(world: World) -> None:
    def things() -> list[Any]:
        last = world.state["source"]

        def t() -> pd.DataFrame:
            return pd.DataFrame({"k": [1, 2, 3, 4], "v": [1, 1, 1, last]})

        def read(t: sa.Table) -> Any:
            called("read")
            return sa.select(sa.func.max(t.c.v).label("v"))

        source = {**outside_input(lambda: last), **table_properties(primary_key="k")}
        raw = asset("raw/t", t, metadata=source)
        return [raw, copy_filtered_inputs(stage="s", raw=[raw]), asset("later/read", read, "s/t")]

    for name in ("full", "midi"):
        assert world.made(things, name).success
    world.state["source"] = 5  # in the last row, which midi (two rows) does not have
    assert world.made(things, "full").success
    assert world.calls == {"read": 1}
    again = world.made(things, "midi")
    assert again.success
    assert "input `full/raw/t` has new data" in again.log
    assert not world.calls
    assert world.made(things, "midi").success
    assert "s__copy_filtered_inputs" not in world.last.steps


def test_a_forced_run_follows_only_what_has_other_rows(world: World) -> None:
    """Also where query and inputs are the same, since the query gives other rows each time."""
    moving = chain(query("SELECT clock_timestamp() AS t"))
    assert world.made(moving).success
    tags = {"data_pipeline/cache_validation": "force_cache_invalid"}
    from data_pipeline_tests.memo.test_changes_by_hand import _key

    assert world.made(moving, tags=tags, selection=[_key("s/made")]).success
    assert world.made(moving).success
    assert world.calls == {"read": 1}
    still = chain(query("SELECT 1 AS t"), version="2")
    assert world.made(still).success
    assert world.made(still, tags=tags, selection=[_key("s/made")]).success
    assert world.made(still).success
    assert not world.calls
