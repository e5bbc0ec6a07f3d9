"""Databases that earlier versions wrote are brought forward; those of newer ones are refused.

The files in `catalogs` are dumps of what earlier states of this repository made of `assets`.
"""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import sqlalchemy as sa

from data_pipeline import sql_query, table_properties
from data_pipeline.database.connection import database
from data_pipeline.instances import load_configuration
from data_pipeline.sampling import copy_filtered_inputs
from data_pipeline.sources.fingerprints import (
    outside_input,
)
from data_pipeline.store import catalog, catalog_versions
from data_pipeline.store.active_runs import run_registry
from data_pipeline.store.catalog_versions import VERSION
from data_pipeline_tests.cli.test_commands import command
from data_pipeline_tests.io_manager.runs import by_hand, execute, rows
from data_pipeline_tests.memo.jobs import called
from data_pipeline_tests.memo.stages import asset
from data_pipeline_tests.memo.world import World

STATES = sorted((Path(__file__).parent / "catalogs").glob("*.sql"))
OTHER_DIGESTS, SAME_DIGESTS = STATES[:2], STATES[2:]
HISTORY = "SELECT version FROM full_catalog.version ORDER BY version"
ALL_VERSIONS = [(number,) for number in range(1, VERSION + 1)]


def assets() -> list[Any]:
    def t() -> pd.DataFrame:
        called("t")
        return pd.DataFrame({"k": [1, 2, 3], "v": [1, 1, 1]})

    def b(t: pd.DataFrame) -> pd.DataFrame:
        called("b")
        return t.assign(v=t["v"] * 2)

    def query(b: Any) -> Any:
        called("query")
        return sql_query("SELECT k, v FROM {b}", b=b)

    source = {**outside_input(lambda: 1), **table_properties(primary_key="k")}
    raw = asset("raw/t", t, metadata=source)
    inputs = copy_filtered_inputs(stage="stage_1", raw=[raw])
    return [
        raw,
        inputs,
        asset("stage_1/b", b, "stage_1/t"),
        asset("stage_2/query", query, "stage_1/b"),
    ]


@pytest.mark.parametrize("state", SAME_DIGESTS, ids=lambda path: path.stem)
@pytest.mark.parametrize("name", ["full", "mini"])
def test_nothing_is_computed_again_in_a_database_of_an_earlier_version(
    world: World, pipeline_database: sa.Engine, state: Path, name: str
) -> None:
    execute(pipeline_database, state.read_text())
    for _ in range(2):
        assert world.made(assets, name).success
        assert not world.calls
    history = HISTORY.replace("full", name)
    assert rows(pipeline_database, history) == ALL_VERSIONS
    # What identifies the relations was taken over, and tells the next change.
    by_hand(pipeline_database, f"UPDATE {name}_stage_1.b SET v = 0")
    assert world.made(assets, name).success
    assert world.calls == {"b": 1}


@pytest.mark.parametrize("state", OTHER_DIGESTS, ids=lambda path: path.stem)
def test_what_knows_computations_by_other_digests_is_computed_anew(
    world: World, pipeline_database: sa.Engine, state: Path
) -> None:
    execute(pipeline_database, state.read_text())
    for name in ("full", "mini"):
        assert world.made(assets, name).success
        assert world.made(assets, name).success
        assert not world.calls
    assert rows(pipeline_database, HISTORY) == ALL_VERSIONS
    assert rows(pipeline_database, "SELECT k, v FROM mini_stage_2.query") == [(1, 2)]


@pytest.mark.parametrize("state", STATES, ids=lambda path: path.stem)
def test_reading_brings_a_catalog_forward_too(pipeline_database: sa.Engine, state: Path) -> None:
    execute(pipeline_database, state.read_text())
    with database(load_configuration().instance("full")).begin() as connection:
        found = catalog.rows(connection, "full_catalog")
    assert {str(table) for table in found} == {"raw/t", "stage_1/t", "stage_1/b", "stage_2/query"}
    assert rows(pipeline_database, HISTORY) == ALL_VERSIONS


@pytest.mark.parametrize("state", STATES, ids=lambda path: path.stem)
def test_runs_at_work_are_known_before_that(pipeline_database: sa.Engine, state: Path) -> None:
    execute(pipeline_database, state.read_text())
    instance = load_configuration().instance("full")
    with database(instance).begin() as connection:
        assert run_registry.active(connection, instance) == []


def test_a_step_that_fails_changes_nothing(
    pipeline_database: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    execute(pipeline_database, STATES[0].read_text())
    steps = (*catalog_versions._STEPS, lambda _: iter(["SELECT 1 / 0"]))
    monkeypatch.setattr(catalog_versions, "_STEPS", steps)
    monkeypatch.setattr(catalog_versions, "VERSION", len(steps))
    one = database(load_configuration().instance("full"))
    with pytest.raises(sa.exc.DataError), one.begin() as connection:
        catalog.ensure(connection, "full_catalog")
    assert rows(pipeline_database, "SELECT to_regclass('full_catalog.version')") == [(None,)]


def test_a_catalog_of_a_newer_version_is_refused(
    world: World, pipeline_database: sa.Engine
) -> None:
    assert world.made(assets).success
    execute(pipeline_database, f"INSERT INTO full_catalog.version VALUES ({VERSION + 1})")
    before = rows(pipeline_database, "SELECT * FROM full_catalog.tables ORDER BY stage, name")
    again = world.made(assets)
    assert not again.success
    assert not world.calls
    assert (
        f"The catalog `full_catalog` was written by a newer version of data_pipeline: it has "
        f"version {VERSION + 1}, and this one knows versions up to {VERSION}." in again.failure
    )
    listing = command("instances", "full")
    assert listing.exit_code == 1
    assert "was written by a newer version of data_pipeline" in listing.output
    after = rows(pipeline_database, "SELECT * FROM full_catalog.tables ORDER BY stage, name")
    assert after == before
