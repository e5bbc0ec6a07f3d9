"""No stale result and no needless work: what makes a result out of date, and what does not."""

import pytest
import sqlalchemy as sa

from data_pipeline_tests.memo.world import World, new_storage

ALL = {"t": 1, "b": 1, "c": 1, "query": 1}


def execute(engine: sa.Engine, statement: str) -> None:
    with engine.begin() as connection:
        connection.execute(sa.text(statement))


def identity(engine: sa.Engine, table: str) -> int:
    """Gives a number that changes when a table is built anew."""
    with engine.connect() as connection:
        return int(connection.scalar(sa.text("SELECT to_regclass(:t)::oid"), {"t": table}))


def test_a_new_dagster_storage_changes_nothing(world: World) -> None:
    world.run()
    other = new_storage()
    assert world.run(storage=other).steps == set()


def test_every_decision_is_in_the_log_with_its_reason(world: World) -> None:
    assert "raw__t: not built yet" in world.run().log
    world.state["source"] = 2
    world.state["versions"]["c"] = "2"
    log = world.run().log
    assert "raw__t: its source has new data" in log
    assert "stage_1__b: input `full/stage_1/t` has new data" in log
    assert "stage_2__c: code of `c` changed: version 1 to 2" in log
    world.run()
    [b] = [item for item in world.last.decisions if item["asset"] == "stage_1/b"]
    assert (b["decision"], b["reason"]) == ("served from the cache", "unchanged")
    assert b["since"].startswith("20")
    assert "0 of 5 steps executed; 5 tables served from the cache" in [
        event.message for event in world.last.events
    ]


@pytest.mark.parametrize(
    ("before", "after", "rows"),
    [
        ("SELECT 'ABC' AS v FROM {b}", "SELECT 'abc' AS v FROM {b}", "abc"),
        ("""SELECT 'a"b' AS v FROM {b}""", "SELECT 'ab' AS v FROM {b}", "ab"),
        ("SELECT 'x' AS v FROM {b}", "SELECT 'x ' AS v FROM {b}", "x "),
    ],
)
def test_literals_count_exactly_as_they_are(
    world: World, pipeline_database: sa.Engine, before: str, after: str, rows: str
) -> None:
    world.state["sql"] = before
    world.run()
    world.state["sql"] = after
    world.state["versions"]["query"] = "2"
    world.run()
    with pipeline_database.connect() as connection:
        found = connection.scalars(sa.text("SELECT DISTINCT v FROM full_stage_2.query")).all()
    assert found == [rows]


def test_a_sql_asset_of_other_code_with_the_same_statement_is_not_rebuilt(
    world: World, pipeline_database: sa.Engine
) -> None:
    world.run()
    before = identity(pipeline_database, "full_stage_2.query")
    world.state["versions"]["query"] = "2"
    world.run()
    assert world.calls == {"query": 1}
    assert identity(pipeline_database, "full_stage_2.query") == before
    assert world.run().steps == set()


@pytest.mark.parametrize(
    "properties",
    [{"primary_key": "k"}, {"indexes": ["v"]}, {"nullable": ["v"]}, {"types": {"v": "integer"}}],
)
def test_other_properties_rebuild_the_table(
    world: World, pipeline_database: sa.Engine, properties: dict[str, object]
) -> None:
    world.run()
    before = identity(pipeline_database, "full_stage_1.b")
    world.state["properties"] = properties
    world.run()
    assert world.calls["b"] == 1
    assert identity(pipeline_database, "full_stage_1.b") != before
    assert ("stage_1__b: its declared table properties changed") in world.last.log


def test_a_table_dropped_by_hand_comes_back(world: World, pipeline_database: sa.Engine) -> None:
    world.run()
    execute(pipeline_database, "DROP TABLE full_stage_1.b CASCADE")
    assert "stage_1__b: table `stage_1/b` was dropped" in world.run().log
    assert world.calls == {"b": 1}
    assert identity(pipeline_database, "full_stage_1.b")


def test_a_blob_whose_file_is_gone_comes_back(world: World, tmp_path) -> None:
    world.run()
    (file,) = (tmp_path / "home").rglob("c.*.pickle")
    file.unlink()
    assert "stage_2__c: file of blob `stage_2/c` was dropped" in world.run().log
    assert world.calls == {"c": 1}


def test_identical_data_is_not_followed_further(world: World) -> None:
    world.run()
    world.state["source"] = 4
    world.state["factor"] = 0.5  # so b stays what it was
    world.state["versions"]["b"] = "2"
    world.run()
    assert world.calls == {"t": 1, "b": 1, "c": 1, "query": 1}  # numbers of another type
    world.state["versions"]["b"] = "3"
    world.run()
    assert world.calls == {"b": 1}


def test_attrs_of_one_instance_touch_nothing_of_another(
    world: World, tmp_path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from data_pipeline.instances import load_configuration

    world.run()
    world.run("midi")
    world.run("mini")
    text = load_configuration().file.read_text()
    assert text.count("copy_filter_cnt: 2 ") == 1
    file = tmp_path / "instances.yaml"
    file.write_text(text.replace("copy_filter_cnt: 2 ", "copy_filter_cnt: 3 "))
    monkeypatch.setenv("DATA_PIPELINE_CONFIG", str(file))
    assert world.run("mini").steps == set()
    assert world.run("full").steps == set()
    midi = world.run("midi")
    assert "stage_1__copy_filtered_inputs: the attrs of the instance changed" in midi.log
    assert world.calls == {"b": 1, "c": 1, "query": 1}


def test_an_unchanged_instance_is_not_touched_by_a_run_of_its_source(world: World) -> None:
    world.run()
    world.run("mini")
    world.run(
        tags={"dagster/partition": "full", "data_pipeline/cache_validation": "force_cache_invalid"}
    )
    assert world.run("mini").steps == set()
    world.state["source"] = 9
    world.run()
    world.run("mini")
    assert world.calls == {"b": 1, "c": 1, "query": 1}


def test_equal_functions_of_two_assets_share_no_result(
    pipeline_database: sa.Engine,
) -> None:
    from data_pipeline.identity.computation import Identity

    same = Identity(code_version="1")
    assert same.cache_key("s/a", {}) != same.cache_key("s/b", {})


def test_a_run_killed_between_build_and_commit_is_not_up_to_date(
    world: World, pipeline_database: sa.Engine
) -> None:
    world.run()
    world.state["versions"]["b"] = "2"
    world.state["factor"] = 5
    # Rows below the child have to be replaced in place, which the trigger stops after the build.
    execute(
        pipeline_database,
        "CREATE TABLE public.child () INHERITS (full_stage_1.b);"
        "CREATE FUNCTION public.noted() RETURNS trigger LANGUAGE plpgsql AS "
        "'BEGIN RETURN NULL; END';"
        "CREATE TRIGGER noting AFTER INSERT ON full_stage_1.b EXECUTE FUNCTION public.noted()",
    )
    assert not world.run().success
    world.state["versions"]["b"] = "1"
    world.state["factor"] = 2
    execute(pipeline_database, "DROP TABLE public.child; DROP TRIGGER noting ON full_stage_1.b")
    assert world.run().steps == set()
    with pipeline_database.connect() as connection:
        assert connection.scalars(sa.text("SELECT DISTINCT v FROM full_stage_1.b")).all() == [2]


def test_an_asset_that_reads_what_it_did_not_before_is_computed() -> None:
    from data_pipeline.database.identifiers import StageTable
    from data_pipeline.identity.computation import Identity
    from data_pipeline.instances.settings.caching_and_kept_versions import Validation
    from data_pipeline.memo.deciding.decisions import Computation, Known, input_reason
    from data_pipeline.store.catalog import CatalogRow

    own, other = ("full", StageTable("s", "a")), ("full", StageTable("s", "b"))
    known = {
        own: Known(CatalogRow("s", "a", "table", "1"), True),
        other: Known(CatalogRow("s", "b", "table", "1"), True),
    }
    item = Computation(own, Identity(code_version="1"), [other])
    assert input_reason(item, known, Validation()) == "reads `full/s/b`, which it did not before"
