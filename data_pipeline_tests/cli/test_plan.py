"""`data-pipeline plan` says what a run would compute and why, and computes nothing."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import sqlalchemy as sa
from click.testing import CliRunner

from data_pipeline.cli import main
from data_pipeline.definitions import defs
from data_pipeline_tests.memo.conftest import world as world
from data_pipeline_tests.memo.jobs import definitions
from data_pipeline_tests.memo.stages import asset
from data_pipeline_tests.memo.world import World

QUICKSTART = ["raw/dfa", "raw/dfb", "stage_1/dfa", "stage_1/dfb", "stage_1/a2", "stage_2/b2"]


def plan(instance: str) -> str:
    result = CliRunner().invoke(main, ["plan", instance])
    assert result.exit_code == 0, result.output
    return result.output


def build_quickstart(name: str) -> None:
    """Builds most of the quickstart pipeline, by the executor that `plan` speaks of."""
    keys = [dg.AssetKey.from_user_string(key) for key in QUICKSTART]
    job = dg.build_reconstructable_job(__name__, job_of.__name__, (name,))
    with dg.execute_job(job, dg.DagsterInstance.ephemeral(), asset_selection=keys) as result:
        assert result.success


def job_of(name: str) -> dg.JobDefinition:
    return defs.resolve_job_def(name)


def section(text: str, title: str) -> str:
    found = re.search(rf"^{re.escape(title)} \(\d+\).*:\n((?:  .*\n?)+)", text, re.MULTILINE)
    return found[1] if found else ""


def test_of_what_is_not_built_yet_everything_would_run(pipeline_database: sa.Engine) -> None:
    text = plan("full")
    assert "raw__dfa: not built yet" in section(text, "would run")
    assert section(text, "up to date") == ""
    assert "full_catalog" not in sa.inspect(pipeline_database).get_schema_names()


def test_what_is_up_to_date_is_told_apart(pipeline_database: sa.Engine) -> None:
    build_quickstart("full")
    text = plan("full")
    assert "stage_2__a3: not built yet" in section(text, "would run")
    assert "stage_1__a2: `stage_1/a2` unchanged since" in section(text, "up to date")
    assert "raw__dfa" in section(text, "up to date")


def test_raw_tables_of_a_copying_instance_are_left_out(pipeline_database: sa.Engine) -> None:
    told = section(plan("mini"), "left out")
    assert "raw__dfa" in told
    assert "raw__asset_checks" not in told  # no table


def test_an_unknown_instance_is_an_error(pipeline_database: sa.Engine) -> None:
    result = CliRunner().invoke(main, ["plan", "tiny"])
    assert result.exit_code == 1
    assert "there is no instance 'tiny'" in result.output


def test_values_that_other_io_managers_keep_are_looked_for_where_runs_keep_them(
    world: World,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    define: Callable[[dg.Definitions], None],
) -> None:
    def things() -> list[Any]:
        model = asset("s/model", lambda: {"weight": 1}, io_manager_key="files")
        return [model, {"files": dg.FilesystemIOManager()}]

    define(definitions(things()))
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    assert world.made(things, storage=dg.DagsterInstance.local_temp(str(tmp_path))).success
    assert "s__model" in section(plan("full"), "up to date")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for place in (str(elsewhere), str(tmp_path / "not there")):
        monkeypatch.setenv("DAGSTER_HOME", place)
        assert "cannot be loaded here" in section(plan("full"), "would run")
