"""What is dropped is gone with its catalog rows and files, and nothing else is."""

import logging
from pathlib import Path

import dagster as dg
import pandas as pd
import pytest
import sqlalchemy as sa
from click.testing import CliRunner

from data_pipeline import INSTANCE_PARTITIONS, Tables
from data_pipeline.cli import main
from data_pipeline.definitions import defs
from data_pipeline_tests.cli.test_plan import section
from data_pipeline_tests.drop.commands import (
    built,
    built_with_blob,
    configured,
    drop,
    files,
    frame,
    refused,
    schemas,
)
from data_pipeline_tests.io_manager.runs import execute, rows, run, table_asset

MINI = {"mini_s", "mini_s__staging", "mini_catalog"}


def test_an_instance_goes_with_all_that_it_has(
    pipeline_database: sa.Engine, tmp_path: Path
) -> None:
    built_with_blob("t", on="mini")
    built_with_blob("t", on="midi")
    kept = schemas(pipeline_database) - MINI
    (tmp_path / "home" / "blobs" / "mini" / "s" / ".new.half").touch()
    assert drop("mini", "--yes").endswith("Dropped.\n")
    assert schemas(pipeline_database) == kept
    assert not (tmp_path / "home" / "blobs" / "mini").exists()
    assert rows(pipeline_database, "SELECT a FROM midi_s.t") == [(1,), (2,)]
    assert len(files(tmp_path, "midi")) == 1


@pytest.mark.usefixtures("quickstart")
def test_a_plan_then_says_that_nothing_is_built(pipeline_database: sa.Engine) -> None:
    drop("full", "--yes", "--force")
    assert schemas(pipeline_database) == set()
    text = CliRunner().invoke(main, ["plan", "full"]).output
    assert "raw__dfa: not built yet" in section(text, "would run")
    assert section(text, "up to date") == ""


def test_a_table_goes_alone_and_an_asset_with_several_as_a_whole(
    pipeline_database: sa.Engine, tmp_path: Path
) -> None:
    @dg.asset(key=["s", "parts"], partitions_def=INSTANCE_PARTITIONS)
    def parts() -> Tables:
        return Tables({name: pd.DataFrame({"a": [1]}) for name in "xy"})

    run(frame("t"), parts, table_asset("model", lambda: {"weight": 1}), on="mini")
    assert "Known here: 's/model', 's/parts', 's/t'" in refused("mini", "--table", "s/other")
    assert "drop mini --table s/parts --yes" in drop("mini", "--table", "s/parts")
    drop("mini", "--table", "s/parts", "--yes")
    drop("mini", "--table", "s/model", "--yes")
    assert sa.inspect(pipeline_database).get_table_names("mini_s") == ["t"]
    assert files(tmp_path, "mini") == []
    assert rows(pipeline_database, "SELECT name FROM mini_catalog.tables") == [("t",)]


def test_a_stage_goes_alone(pipeline_database: sa.Engine, tmp_path: Path) -> None:
    built_with_blob("t", on="mini")
    execute(
        pipeline_database,
        "CREATE SCHEMA mini_s2; CREATE TABLE mini_s2.t AS SELECT 1 AS a",
        "INSERT INTO mini_catalog.tables (stage, name, kind, data_version, committed_at) "
        "VALUES ('s2', 't', 'table', '1', now())",
    )
    drop("mini", "--stage", "s", "--yes")
    assert schemas(pipeline_database) == {"mini_s2", "mini_catalog"}
    assert rows(pipeline_database, "SELECT stage, name FROM mini_catalog.tables") == [("s2", "t")]
    assert files(tmp_path, "mini") == []


def test_kept_versions_and_what_is_being_built_go_with_their_stage(
    pipeline_database: sa.Engine, tmp_path: Path
) -> None:
    for factor in (1, 2):
        built_version(factor)
    assert len(files(tmp_path, "mini")) == 2
    assert "mini_s__slots" in schemas(pipeline_database)
    execute(pipeline_database, "CREATE TABLE mini_s__staging.half AS SELECT 1 AS a")
    drop("mini", "--stage", "s", "--yes")
    assert schemas(pipeline_database) == {"mini_catalog"}
    assert rows(pipeline_database, "SELECT 1 FROM mini_catalog.slots") == []
    assert files(tmp_path, "mini") == []


def built_version(factor: int) -> None:
    version = str(factor)
    run(
        table_asset("t", lambda: pd.DataFrame({"a": [factor]}), code_version=version),
        table_asset("model", lambda: {"weight": factor}, code_version=version),
        on="mini",
    )


def test_only_what_is_older_goes(pipeline_database: sa.Engine, tmp_path: Path) -> None:
    built_with_blob("t", "u", on="mini")
    execute(
        pipeline_database,
        "UPDATE mini_catalog.tables SET committed_at = now() - interval '31 days' "
        "WHERE name <> 'u'",
    )
    assert drop("mini", "--older-than", "32d", "--yes").startswith("There is nothing to drop")
    drop("mini", "--older-than", "30d", "--yes")
    assert rows(pipeline_database, "SELECT name FROM mini_catalog.tables") == [("u",)]
    assert rows(pipeline_database, "SELECT to_regclass('mini_s.t')") == [(None,)]
    assert rows(pipeline_database, "SELECT a FROM mini_s.u") == [(1,), (2,)]
    assert files(tmp_path, "mini") == []
    assert schemas(pipeline_database) == MINI


def test_the_file_of_an_old_blob_stays_while_a_newer_row_refers_to_it(
    pipeline_database: sa.Engine, tmp_path: Path
) -> None:
    for factor in (1, 2):
        built_version(factor)
    execute(
        pipeline_database,
        "UPDATE mini_catalog.tables SET committed_at = '2020-01-01' WHERE kind = 'blob'",
        "UPDATE mini_catalog.slots SET location = (SELECT location FROM mini_catalog.tables "
        "WHERE kind = 'blob') WHERE kind = 'blob'",
    )
    [current] = rows(pipeline_database, "SELECT location FROM mini_catalog.slots WHERE kind='blob'")
    drop("mini", "--older-than", "1d", "--yes")
    assert tmp_path / "home" / "blobs" / "mini" / current[0] in files(tmp_path, "mini")


@pytest.mark.usefixtures("quickstart")
def test_views_go_before_the_tables_of_another_stage_that_they_show(
    pipeline_database: sa.Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # full_stage_1.dfa is a view of full_raw.dfa, and raw comes first
    configured("  full:\n", tmp_path, monkeypatch)  # nobody copies from it, so no force is needed
    drop("full", "--yes")
    assert schemas(pipeline_database) == set()


@pytest.mark.usefixtures("pipeline_database")
def test_a_stage_that_does_not_exist_is_an_error_with_those_that_do() -> None:
    built_with_blob("t", on="mini")
    text = refused("mini", "--stage", "t", "--yes")
    assert "has no stage `t`" in text
    assert "raw, s, sample, stage_1" in text
    assert {key.path[0] for key in defs.resolve_all_asset_keys()} >= {"raw", "stage_1"}


@pytest.mark.usefixtures("pipeline_database")
def test_another_duration_is_an_error() -> None:
    result = CliRunner().invoke(main, ["drop", "mini", "--older-than", "a month"])
    assert result.exit_code == 2
    assert "'a month' is no duration. Write 12h, 30d or 2w" in result.output


def test_readers_are_waited_for_as_long_as_configured(
    pipeline_database: sa.Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = "{table_store: {commit_wait_seconds: 0.01}}"
    configured(f"  mini: {short}\n", tmp_path, monkeypatch)
    built("t", on="mini")
    with pipeline_database.begin() as reader:
        reader.execute(sa.text("SELECT a FROM mini_s.t"))
        text = refused("mini", "--yes")
    assert "stage `s` is as before, since others have been reading it for 0.01 seconds" in text
    assert rows(pipeline_database, "SELECT a FROM mini_s.t") == [(1,), (2,)]
    assert rows(pipeline_database, "SELECT name FROM mini_catalog.tables") == [("t",)]


def test_a_drop_that_waits_goes_on_when_the_reader_ends(
    pipeline_database: sa.Engine, caplog: pytest.LogCaptureFixture
) -> None:
    built("t", on="mini")
    reader = pipeline_database.connect()
    reader.execute(sa.text("SELECT a FROM mini_s.t"))

    class Ends(logging.Handler):
        """Ends the reader as soon as the drop says that it waits."""

        def emit(self, record: logging.LogRecord) -> None:
            if "Waiting to drop stage `s`, which others are reading" in record.getMessage():
                reader.close()

    log = logging.getLogger("data_pipeline")
    handler = Ends()
    log.addHandler(handler)
    try:
        with caplog.at_level(logging.INFO, "data_pipeline"):
            drop("mini", "--yes")
    finally:
        log.removeHandler(handler)
    assert reader.closed
    assert schemas(pipeline_database) == set()


def test_what_the_server_refuses_leaves_the_stage_as_it_was(
    pipeline_database: sa.Engine, superuser: sa.Engine, tmp_path: Path
) -> None:
    built_with_blob("t", on="mini")
    execute(
        superuser,
        "CREATE FUNCTION public.no() RETURNS event_trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE 'not today'; END $$",
        "CREATE EVENT TRIGGER no ON sql_drop EXECUTE FUNCTION public.no()",
    )
    text = refused("mini", "--yes")
    assert "stage `s` could not be dropped and is as before. PostgreSQL says: not today" in text
    assert rows(pipeline_database, "SELECT count(*) FROM mini_catalog.tables") == [(2,)]
    assert len(files(tmp_path, "mini")) == 1
    execute(superuser, "DROP EVENT TRIGGER no")
