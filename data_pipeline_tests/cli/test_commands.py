"""The command line: `run` shows a line for each table, `instances` lists what exists."""

import os
import re
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest
import sqlalchemy as sa
from click.testing import CliRunner, Result

from data_pipeline import instance_resources
from data_pipeline.cli import main
from data_pipeline.cli.commands.run import dagster_home
from data_pipeline.dagster_storage import LocalEventLog
from data_pipeline.instances import project
from data_pipeline.memo.terminal_progress import progress_logger
from data_pipeline.pipelines.quickstart import assets


def command(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


def built(name: str) -> None:
    dg.materialize(assets, partition_key=name, resources=instance_resources(name))


def test_instances_lists_rows_and_commits_of_every_table(pipeline_database: sa.Engine) -> None:
    built("full")
    lines = command("instances").output.splitlines()
    assert lines[0].split() == [
        "instance",
        "stage",
        "table",
        "kind",
        "rows",
        "size",
        "last",
        "commit",
    ]
    table = next(line for line in lines if re.match(r"full +stage_1 +a2 ", line))
    assert re.search(r" table +4 +\d+ kB +\d{4}-\d\d-\d\d \d\d:\d\d:\d\d$", table)
    assert any(re.match(r"full +stage_1 +dfa +view +4 ", line) for line in lines)
    assert any(re.match(r"mini +\(nothing built yet\)", line) for line in lines)


def test_counts_and_sizes_pass_32_bits(pipeline_database: sa.Engine) -> None:
    built("full")
    with pipeline_database.begin() as connection:  # no test has so many rows
        connection.exec_driver_sql(
            "UPDATE full_catalog.tables SET row_count = 5000000000, bytes = 6000000000000"
        )
    lines = command("instances", "full").output.splitlines()
    table = next(line for line in lines if re.match(r"full +stage_1 +a2 ", line))
    assert re.search(r" table +5[,_]?000[,_]?000[,_]?000 +[56]\S* ?\wB ", table)
    built("mini")
    built("full")  # figures of what is replaced and of other instances are compared


def test_instances_can_be_named(pipeline_database: sa.Engine) -> None:
    built("full")
    assert "midi" not in command("instances", "full").output


def test_connections_that_nobody_refers_to_are_named(
    pipeline_database: sa.Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "instances.yaml"
    file.write_text("blob_store_connections: {b: {base_path: blobs}}\ninstances: {full: }\n")
    monkeypatch.setenv("DATA_PIPELINE_CONFIG", str(file))
    said = command("instances").output.splitlines()[-1]
    assert said == f"no instance refers to: blob_store_connections.b (in {file})"


def test_an_unknown_instance_is_an_error_that_lists_the_known_ones() -> None:
    result = command("instances", "maxi")
    assert result.exit_code == 1
    assert "maxi" in result.output
    assert "'full', 'midi', 'mini'" in result.output
    assert "Traceback" not in result.output


def test_a_server_that_does_not_answer_is_an_error_without_the_password(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DATA_PIPELINE_DATABASE_URL", "postgresql://me:geheim@127.0.0.1:1/data")
    result = command("instances")
    assert result.exit_code == 1
    assert "Cannot connect to PostgreSQL at 127.0.0.1:1, database `data`" in result.output
    assert "geheim" not in result.output


def test_an_option_of_the_url_that_postgresql_does_not_know_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    url = "postgresql://me:geheim@127.0.0.1:1/data?schema=shop"
    monkeypatch.setenv("DATA_PIPELINE_DATABASE_URL", url)
    result = command("instances")
    assert isinstance(result.exception, SystemExit)
    assert 'invalid connection option "schema"' in result.output
    assert "geheim" not in result.output


def test_a_run_without_its_server_ends_with_one_message(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("DATA_PIPELINE_DATABASE_URL", "postgresql://me:geheim@127.0.0.1:1/data")
    monkeypatch.setenv("DAGSTER_HOME", str(dagster_home(tmp_path)))
    monkeypatch.setenv("DATA_PIPELINE_HOME", str(tmp_path / "home"))
    result = command("run", "full")
    assert isinstance(result.exception, SystemExit)
    assert "The run of instance `full` failed; see above." in result.output
    told = result.output + "".join(capfd.readouterr())
    assert "✗ full  data_pipeline.errors.DatabaseError: Cannot connect to PostgreSQL" in told


def test_run_fails_with_the_command_that_builds_the_source(pipeline_database: sa.Engine) -> None:
    result = subprocess.run(
        [Path(sys.executable).with_name("data-pipeline"), "run", "mini"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 1
    assert "has not been built yet in instance `full`" in result.stdout
    assert "The run of instance `mini` failed" in result.stderr


def test_progress_is_a_line_for_each_table(
    pipeline_database: sa.Engine, capfd: pytest.CaptureFixture[str]
) -> None:
    job = dg.Definitions(
        assets, resources=instance_resources(), loggers={"progress": progress_logger}
    ).resolve_implicit_global_asset_job_def()
    job.execute_in_process(partition_key="full", run_config={"loggers": {"progress": {}}})
    lines = [line for line in capfd.readouterr().out.splitlines() if line.startswith("✓")]
    assert len(lines) == 7
    assert re.search(r"stage_2/a3 +4 rows +\d+\.\d\d s$", lines[-1])


def test_an_error_is_told_once_with_the_line_that_raised_it(
    capfd: pytest.CaptureFixture[str],
) -> None:
    @dg.asset
    def totals() -> None:
        raise KeyError("no_such_column")

    job = dg.Definitions(
        [totals], loggers={"progress": progress_logger}
    ).resolve_implicit_global_asset_job_def()
    job.execute_in_process(run_config={"loggers": {"progress": {}}}, raise_on_error=False)
    [line] = [line for line in capfd.readouterr().out.splitlines() if line.startswith("✗")]
    place = r"data_pipeline_tests/cli/test_commands\.py, line \d+"
    assert re.search(rf"totals: KeyError: 'no_such_column' \({place}\)$", line)


@pytest.mark.parametrize(
    ("description", "told"), [("3 rows are late", "3 rows are late"), (None, "has not passed")]
)
def test_a_check_that_fails_is_told(
    capfd: pytest.CaptureFixture[str], description: str | None, told: str
) -> None:
    @dg.asset(check_specs=[dg.AssetCheckSpec("in_time", asset="totals")])
    def totals() -> dg.MaterializeResult:
        result = dg.AssetCheckResult(passed=False, description=description)
        return dg.MaterializeResult(check_results=[result])

    job = dg.Definitions(
        [totals], loggers={"progress": progress_logger}
    ).resolve_implicit_global_asset_job_def()
    job.execute_in_process(run_config={"loggers": {"progress": {}}})
    assert f"totals: check in_time: {told}\n" in capfd.readouterr().out


def test_the_version_is_told() -> None:
    assert re.fullmatch(r"data-pipeline \d\S+\n", command("--version").output)


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o177])
def test_storage_is_closed_to_others_whatever_the_umask(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        directory = dagster_home(tmp_path / "home")
    finally:
        os.umask(before)
    for made in (directory, tmp_path / "home"):
        assert made.stat().st_mode & 0o7777 == 0o700, made


def test_runs_are_recorded_below_the_home_with_the_projects_settings(tmp_path: Path) -> None:
    directory = dagster_home(tmp_path)
    assert directory == tmp_path / "dagster"
    settings = Path(__file__).parents[2] / "dagster.yaml"
    assert (directory / "dagster.yaml").read_text() == settings.read_text()


def test_runs_of_a_project_without_settings_are_recorded_fast(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(project, "root", lambda: None)  # else it is the checkout of these tests
    directory = dagster_home(tmp_path / "home")
    monkeypatch.setenv("DAGSTER_HOME", str(directory))
    with dg.DagsterInstance.get() as storage:
        assert isinstance(storage.event_log_storage, LocalEventLog)
    own = directory / "dagster.yaml"
    own.write_text("telemetry: {enabled: false}\n")
    dagster_home(tmp_path / "home")
    assert own.read_text() == "telemetry: {enabled: false}\n"
