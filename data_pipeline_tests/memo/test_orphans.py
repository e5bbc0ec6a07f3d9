"""Tables that no asset makes any more are named, and dropped by who had them last."""

from collections.abc import Callable
from typing import Any

import dagster as dg
import pytest
import sqlalchemy as sa

from data_pipeline import instance_resources
from data_pipeline.assembly import instance_definitions
from data_pipeline.database.connection import database
from data_pipeline.database.identifiers import StageTable
from data_pipeline.instances import load_configuration
from data_pipeline.store.orphans import CodeLocation, note_seen, orphans
from data_pipeline_tests.cli.test_commands import command
from data_pipeline_tests.io_manager.runs import execute, rows
from data_pipeline_tests.memo import jobs
from data_pipeline_tests.memo.stages import asset, constant
from data_pipeline_tests.memo.world import World

HERE = jobs.__name__
"""The module that makes the definitions of these tests."""

ORIGINS = "SELECT name, made_in, seen_in FROM full_catalog.tables ORDER BY name"


def location(name: str, *tables: str) -> CodeLocation:
    return CodeLocation(name, frozenset(StageTable("s", table) for table in tables))


def names(engine: sa.Engine, of: CodeLocation) -> tuple[list[str], list[str]]:
    """Gives the orphans of a code location, and what is of unknown origin."""
    instance = load_configuration().instance("full")
    with database(instance).begin() as connection:
        found = orphans(connection, instance, of)
    return [row.name for row in found.own], [row.name for row in found.unknown]


@pytest.fixture
def renamed(world: World, define: Callable[[dg.Definitions], None]) -> World:
    """A pipeline of which the table `old` was renamed to `new`, and a blob was deleted."""

    def model() -> dict[str, int]:
        return {"a": 1}

    before = [constant("s/kept", 1), constant("s/old", 1), asset("s/model", model)]
    after = [constant("s/kept", 1), constant("s/new", 1)]
    assert world.made(lambda: before).success
    assert "No asset makes" not in world.last.log
    assert world.made(lambda: after).success
    define(instance_definitions(after, code_location=HERE))
    return world


def test_the_run_names_them(renamed: World, pipeline_database: sa.Engine) -> None:
    assert "No asset makes `s/model`, `s/old` any more." in renamed.last.log
    assert rows(pipeline_database, ORIGINS) == [
        (name, HERE, HERE) for name in ("kept", "model", "new", "old")
    ]


@pytest.mark.usefixtures("renamed")
def test_plan_and_instances_list_them() -> None:
    assert "no asset makes any more: `s/model`, `s/old`" in command("plan", "full").output
    listing = command("instances", "full").output
    assert "no asset makes any more, of full: `s/model`, `s/old`" in listing


@pytest.mark.usefixtures("renamed")
def test_gc_shows_them_and_drops_them_when_told_so(pipeline_database: sa.Engine) -> None:
    there = "SELECT to_regclass('full_s.old') IS NOT NULL, to_regclass('full_s.kept') IS NOT NULL"
    shown = command("gc", "full", "--orphans").output
    assert "table old, 1 rows" in shown
    assert "s/model." in shown
    assert "Nothing was dropped. To drop it: data-pipeline gc full --orphans --yes" in shown
    assert rows(pipeline_database, there) == [(True, True)]
    assert command("gc", "full", "--orphans", "--yes").exit_code == 0
    assert rows(pipeline_database, there) == [(False, True)]
    assert [name for name, *_ in rows(pipeline_database, ORIGINS)] == ["kept", "new"]
    assert "full: no orphans" in command("gc", "full", "--orphans", "--yes").output


@pytest.mark.usefixtures("renamed")
def test_what_somebody_built_on_one_keeps_it(pipeline_database: sa.Engine) -> None:
    execute(pipeline_database, "CREATE VIEW mine AS SELECT * FROM full_s.old")
    refused = command("gc", "full", "--orphans", "--yes")
    assert refused.exit_code == 1
    assert "mine" in refused.output
    assert rows(pipeline_database, "SELECT v FROM mine") == [(1,)]
    assert command("gc", "full", "--orphans", "--yes", "--force").exit_code == 0
    assert rows(pipeline_database, "SELECT to_regclass('full_s.old')") == [(None,)]


def test_code_locations_that_share_a_stage_leave_each_other_alone(
    renamed: World, pipeline_database: sa.Engine
) -> None:
    other = location("another.module", "theirs")
    assert names(pipeline_database, other) == ([], [])
    assert names(pipeline_database, location(HERE, "kept", "new")) == (["model", "old"], [])
    # Somebody else has the old table now.
    instance = load_configuration().instance("full")
    with database(instance).begin() as connection:
        note_seen(connection, instance, location("another.module", "old"))
    assert names(pipeline_database, location(HERE, "kept", "new")) == (["model"], [])
    assert names(pipeline_database, other) == (["old"], [])
    assert renamed.made(lambda: [constant("s/kept", 1), constant("s/old", 1)]).success
    assert names(pipeline_database, other) == ([], [])


def test_a_result_that_a_step_reads_holds_up_no_run(
    renamed: World, pipeline_database: sa.Engine
) -> None:
    execute(pipeline_database, "UPDATE full_catalog.tables SET seen_in = NULL")
    with pipeline_database.begin() as step:
        step.exec_driver_sql("SELECT FROM full_catalog.tables WHERE name = 'kept' FOR SHARE")
        assert renamed.made(lambda: [constant("s/kept", 1), constant("s/new", 1)]).success
    seen = "SELECT name FROM full_catalog.tables WHERE seen_in IS NOT NULL"
    assert rows(pipeline_database, seen) == [("new",)]


def test_what_is_of_unknown_origin_is_never_dropped(
    pipeline_database: sa.Engine,
    monkeypatch: pytest.MonkeyPatch,
    define: Callable[[dg.Definitions], None],
) -> None:
    things: list[Any] = [constant("s/kept", 1), constant("s/old", 1)]
    monkeypatch.setattr(jobs, "called", lambda _: None)
    monkeypatch.setattr("data_pipeline_tests.memo.stages.called", lambda _: None)
    dg.materialize(things, partition_key="full", resources=instance_resources("full"))
    define(instance_definitions(things[:1], code_location=HERE))
    shown = command("gc", "full", "--orphans", "--yes").output
    assert "full: `s/old` is of unknown origin, and stays" in shown
    assert rows(pipeline_database, "SELECT v FROM full_s.old") == [(1,)]


def test_the_module_that_makes_the_definitions_is_their_code_location() -> None:
    from data_pipeline.runs.dagster_plan import code_location

    found = code_location(instance_definitions([constant("s/a", 1)]).resolve_job_def("full"))
    assert found == location(__name__, "a")


def test_a_run_that_replaces_tables_of_another_project_says_so(
    world: World, pipeline_database: sa.Engine, define: Callable[[dg.Definitions], None]
) -> None:
    assert world.made(lambda: [constant("s/kept", 1), constant("s/shared", 1)]).success
    execute(pipeline_database, "UPDATE full_catalog.tables SET made_in = 'another.project'")
    again = [constant("s/kept", 1), constant("s/shared", 2)]
    define(instance_definitions(again, code_location=HERE))
    said = (
        f"Code location `{HERE}` replaces what others have made in instance `full`: `s/shared` of"
    )
    assert f"{said} `another.project`. If" in command("plan", "full").output
    assert world.made(lambda: again).success
    assert said in world.last.log
    assert world.made(lambda: [constant("s/kept", 1), constant("s/shared", 3)]).success
    assert "replaces what others" not in world.last.log
