"""Results depend on settings of sessions: what role, database or client say of these counts."""

import pytest
import sqlalchemy as sa

from data_pipeline import sql_query
from data_pipeline.database.connection import close_databases
from data_pipeline_tests.io_manager.runs import execute, rows
from data_pipeline_tests.memo.stages import asset
from data_pipeline_tests.memo.world import Run, World

AT = "timestamptz '2026-01-01 23:30+00'"


def query() -> sa.TextClause:
    return sql_query(f"SELECT ({AT})::date::text AS day, interval '1 day'::text AS span")


def made(world: World, engine: sa.Engine) -> Run:
    close_databases(str(engine.url.database))  # as another process would connect
    return world.made(lambda: [asset("s/t", query)])


def test_another_time_zone_or_form_is_computed_anew(
    world: World, superuser: sa.Engine, owner: str
) -> None:
    assert made(world, superuser).steps
    assert not made(world, superuser).steps
    execute(superuser, f"ALTER ROLE {owner} SET TimeZone = 'Asia/Tokyo'")
    again = made(world, superuser)
    assert again.steps
    assert "`TimeZone` of database, role or client changed" in again.log
    assert rows(superuser, "SELECT day FROM full_s.t") == [("2026-01-02",)]
    assert not made(world, superuser).steps
    execute(superuser, f"ALTER ROLE {owner} SET IntervalStyle = 'iso_8601'")
    assert made(world, superuser).steps
    assert rows(superuser, "SELECT span FROM full_s.t") == [("P1D",)]
    execute(superuser, f"ALTER ROLE {owner} RESET ALL")
    made(world, superuser)
    assert rows(superuser, "SELECT day, span FROM full_s.t") == [("2026-01-01", "1 day")]


def test_so_does_what_the_client_says(
    world: World, superuser: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert made(world, superuser).steps
    monkeypatch.setenv("PGTZ", "Asia/Tokyo")
    assert made(world, superuser).steps
    assert rows(superuser, "SELECT day FROM full_s.t") == [("2026-01-02",)]


def test_what_results_do_not_depend_on_counts_for_nothing(
    world: World, superuser: sa.Engine, owner: str
) -> None:
    assert made(world, superuser).steps
    execute(superuser, f"ALTER ROLE {owner} SET work_mem = '1MB'")
    assert not made(world, superuser).steps
