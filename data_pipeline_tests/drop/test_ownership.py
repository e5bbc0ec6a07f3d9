"""Nothing goes but what the instance has made, however other things are called."""

from pathlib import Path

import pytest
import sqlalchemy as sa

from data_pipeline_tests.drop.commands import (
    built,
    built_with_blob,
    configured,
    drop,
    files,
    refused,
    schemas,
)
from data_pipeline_tests.io_manager.runs import execute, rows


def test_schemas_whose_names_begin_alike_stay(
    pipeline_database: sa.Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    configured("  mini:\n  midi: {instance_id: mini_fresh}\n", tmp_path, monkeypatch)
    built_with_blob("t", on="midi")
    built_with_blob("t", on="mini")
    execute(
        pipeline_database,
        "CREATE SCHEMA mini_notes; CREATE TABLE mini_notes.mine AS SELECT 1 AS a",
    )
    others = {"mini_notes", "mini_fresh_s", "mini_fresh_s__staging", "mini_fresh_catalog"}
    drop("mini", "--yes", "--force")
    assert schemas(pipeline_database) == others
    assert rows(pipeline_database, "SELECT a FROM mini_fresh_s.t") == [(1,), (2,)]
    assert len(files(tmp_path, "mini_fresh")) == 1


def test_a_users_schema_is_not_a_stage(pipeline_database: sa.Engine) -> None:
    built_with_blob("t", on="mini")
    execute(pipeline_database, "CREATE SCHEMA mini_notes")
    assert "has no stage `notes`" in refused("mini", "--stage", "notes", "--yes", "--force")
    assert "mini_notes" in schemas(pipeline_database)


def test_a_users_schema_that_is_named_like_a_stage_of_the_code_stays(
    pipeline_database: sa.Engine,
) -> None:
    built_with_blob("t", on="mini")
    execute(
        pipeline_database,
        "CREATE SCHEMA mini_stage_1; CREATE SCHEMA mini_stage_2",
        "CREATE TABLE mini_stage_1.dfa AS SELECT 1 AS a",
    )
    drop("mini", "--yes", "--force")
    assert schemas(pipeline_database) == {"mini_stage_1", "mini_stage_2"}


def test_what_users_made_in_a_stage_stays_with_its_schema(pipeline_database: sa.Engine) -> None:
    built("t", on="mini")
    made = {
        "function mini_s.one()": "CREATE FUNCTION mini_s.one() RETURNS int RETURN 1",
        "sequence mini_s.number": "CREATE SEQUENCE mini_s.number",
        "table mini_s.mine": "CREATE TABLE mini_s.mine (a serial PRIMARY KEY)",
        "view mini_s.shown": "CREATE VIEW mini_s.shown AS SELECT a FROM mini_s.mine",
    }
    execute(pipeline_database, *made.values())
    # These are parts of the pipeline's table, and go with it.
    execute(
        pipeline_database,
        "CREATE INDEX extra ON mini_s.t (a); CREATE STATISTICS mini_s.more ON a, (a + 1) "
        "FROM mini_s.t; ALTER TABLE mini_s.t ADD own serial",
    )
    listed = "".join(f"    {text}\n" for text in made)
    text = drop("mini").replace("    sequence mini_s.mine_a_seq\n", "")
    assert f"\n  stays, since others made it:\n{listed}schema mini_s__staging\n" in text
    assert text.startswith("schema mini_s (stays)\n  table t, 2 rows, ")
    drop("mini", "--yes")
    assert schemas(pipeline_database) == {"mini_s"}
    tables = "SELECT relname FROM pg_class WHERE relnamespace = 'mini_s'::regnamespace ORDER BY 1"
    kept = ["mine", "mine_a_seq", "mine_pkey", "number", "shown"]
    assert [name for (name,) in rows(pipeline_database, tables)] == kept


def test_files_that_are_no_blobs_stay(pipeline_database: sa.Engine, tmp_path: Path) -> None:
    built_with_blob("t", on="mini")
    note = tmp_path / "home" / "blobs" / "mini" / "s" / "notes.txt"
    note.touch()
    drop("mini", "--yes")
    assert files(tmp_path, "mini") == [note]


def test_an_instance_that_is_not_configured_any_more_needs_force(
    pipeline_database: sa.Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    configured("  mini: {instance_id: old}\n", tmp_path, monkeypatch)
    built_with_blob("t", on="mini")
    configured("  mini:\n", tmp_path, monkeypatch)
    text = refused("old", "--yes")
    assert "table t, 2 rows" in text
    assert "does not name the instance id `old`; it may be somebody else's" in text
    assert "old_s" in schemas(pipeline_database)
    drop("old", "--yes", "--force")
    assert schemas(pipeline_database) == set()
    assert files(tmp_path, "old") == []


def test_an_instance_of_ones_own_can_be_named_by_its_id(
    pipeline_database: sa.Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "  mini: {per_user: true, per_user_template: '{id}_{username}_x'}\n"
    monkeypatch.setenv("USER", "ann")
    monkeypatch.setenv("LOGNAME", "ann")
    configured(text, tmp_path, monkeypatch)
    built("t", on="mini")
    assert "mini_ann_x_s" in schemas(pipeline_database)
    drop("mini_ann_x", "--yes")
    assert schemas(pipeline_database) == set()


@pytest.mark.usefixtures("pipeline_database")
def test_a_name_without_a_catalog_is_an_error() -> None:
    built("t", on="mini")
    messages = {
        "old": "there is no instance 'old' (known here: 'full', 'midi', 'mini'), and no catalog",
        "mini_s": "and no catalog mini_s_catalog in the database",
        "../mini": "'../mini' cannot be an instance id",
    }
    for name, message in messages.items():
        assert message in refused(name, "--yes", "--force"), name


def test_where_instances_are_kept_differently_an_unknown_one_is_not_guessed(
    pipeline_database: sa.Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    configured("  mini: {instance_id: old}\n", tmp_path, monkeypatch)
    built("t", on="mini")
    two = "  mini:\n  midi: {table_store: {schema_prefix: '{instance_id}_v2_'}}\n"
    configured(two, tmp_path, monkeypatch)
    assert "it is unclear where 'old' lies" in refused("old", "--yes", "--force")
    assert "old_s" in schemas(pipeline_database)


def test_a_schema_that_another_catalog_claims_stays(pipeline_database: sa.Engine) -> None:
    built("t", on="mini")
    execute(
        pipeline_database,
        "CREATE SCHEMA mini_fresh_catalog; CREATE SCHEMA mini_fresh_s; "
        "CREATE TABLE mini_fresh_catalog.tables AS SELECT * FROM mini_catalog.tables; "
        "INSERT INTO mini_catalog.tables (stage, name, kind) VALUES ('fresh_s', 't', 'table')",
    )
    text = refused("mini", "--yes")
    assert "`mini_fresh` says that schema mini_fresh_s is its own" in text
    assert "mini_s" in schemas(pipeline_database)


def test_of_a_stage_that_stored_nothing_only_rows_go(pipeline_database: sa.Engine) -> None:
    built_with_blob("t", on="mini")
    execute(
        pipeline_database,
        "CREATE SCHEMA mini_quiet; CREATE TABLE mini_s.mail AS SELECT 1 AS mine",
        "INSERT INTO mini_catalog.tables (stage, name, kind, data_version, committed_at) "
        "VALUES ('quiet', 'mail', 'none', '1', now()), ('s', 'mail', 'none', '1', now())",
    )
    assert "rows of the catalog alone, of stage quiet\n  none mail\n" in drop("mini")
    drop("mini", "--stage", "quiet", "--yes")
    assert rows(pipeline_database, "SELECT stage FROM mini_catalog.tables WHERE name = 'mail'") == [
        ("s",)
    ]
    drop("mini", "--yes")
    assert rows(pipeline_database, "SELECT mine FROM mini_s.mail") == [(1,)]
    assert "mini_quiet" in schemas(pipeline_database)
