"""Before anything is dropped, it is listed; who is at a terminal is asked."""

import pty
import sys
import threading
from pathlib import Path

import pytest
import sqlalchemy as sa

from data_pipeline.cli import main
from data_pipeline_tests.drop.commands import built, built_with_blob, drop, files, schemas
from data_pipeline_tests.io_manager.runs import execute, rows, wait_until


def test_schemas_tables_rows_bytes_and_files_are_listed_and_stay(
    pipeline_database: sa.Engine, tmp_path: Path
) -> None:
    built_with_blob("t", on="mini")
    before = schemas(pipeline_database)
    text = drop("mini")
    assert "schema mini_s\n  table t, 2 rows, 8,192 bytes\n" in text
    assert "schema mini_s__staging\n" in text
    assert "schema mini_catalog\n  table " in text
    assert "\n  table runs, " in text
    [file] = files(tmp_path, "mini")
    assert f"  file {file}, {file.stat().st_size} bytes" in text
    assert "1 file(s), " in text
    assert text.endswith("Nothing was dropped. To drop it: data-pipeline drop mini --yes\n")
    assert schemas(pipeline_database) == before
    assert file.exists()


def test_what_another_project_makes_in_the_same_instance_is_named(
    pipeline_database: sa.Engine,
) -> None:
    built("t", "u", "v", on="mini")
    execute(
        pipeline_database,
        "UPDATE mini_catalog.tables SET seen_in = CASE name WHEN 'u' THEN 'shop.definitions'"
        " WHEN 'v' THEN 'data_pipeline.definitions' END",
    )
    assert "\nof other code, `shop.definitions`: `s/u`\nNothing was dropped." in drop("mini")
    assert "of other code" not in drop("mini", "--table", "s/t")


def test_the_command_that_really_does_it_has_the_same_options(
    pipeline_database: sa.Engine,
) -> None:
    built_with_blob("t", on="mini")
    execute(pipeline_database, "UPDATE mini_catalog.tables SET committed_at = '2020-01-01'")
    text = drop("mini", "--stage", "s", "--older-than", "2w", "--force")
    assert "data-pipeline drop mini --stage s --older-than 2w --yes --force\n" in text


def test_without_any_input_nobody_is_asked(
    pipeline_database: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    built_with_blob("t", on="mini")
    monkeypatch.setattr("data_pipeline.cli.commands.drop.sys.stdin", None)
    with pytest.raises(SystemExit) as ended:
        main(["drop", "mini"])
    assert ended.value.code == 0


def test_of_nothing_there_is_nothing_to_drop(pipeline_database: sa.Engine) -> None:
    assert drop("mini", "--yes") == "There is nothing to drop of instance `mini`.\n"


def test_at_a_terminal_one_is_asked(
    pipeline_database: sa.Engine,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    built_with_blob("t", on="mini")
    keyboard, terminal = pty.openpty()
    with open(keyboard, "wb", buffering=0) as typing, open(terminal) as typed:
        monkeypatch.setattr(sys, "stdin", typed)
        for answer, dropped in (("n", False), ("y", True)):
            typing.write(f"{answer}\n".encode())
            capsys.readouterr()
            main(["drop", "mini"], standalone_mode=False)
            text = capsys.readouterr().out
            assert "Drop all of this? [y/N]:" in text
            assert text.endswith("Dropped.\n") == dropped
            assert ("mini_s" in schemas(pipeline_database)) != dropped


_WAITING = """
SELECT FROM pg_locks WHERE NOT granted
AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""


def test_a_table_that_somebody_drops_while_it_is_listed_has_no_size(
    pipeline_database: sa.Engine,
) -> None:
    built_with_blob("t", on="mini")

    def listed() -> None:
        texts.append(drop("mini"))

    texts: list[str] = []
    with pipeline_database.connect() as user:
        user.exec_driver_sql("DROP TABLE mini_s.t")
        listing = threading.Thread(target=listed)
        listing.start()
        wait_until(lambda: bool(rows(pipeline_database, _WAITING)))
        user.commit()
        listing.join()
    assert "table t, 2 rows, 0 bytes\n" in texts[0]
