"""Commands on a chain of instances: what is taken, what would run, and who needs what."""

from pathlib import Path

import pytest
import sqlalchemy as sa
from click.testing import CliRunner

from data_pipeline import definitions
from data_pipeline.assembly import instance_definitions
from data_pipeline.cli import main
from data_pipeline.cli.commands.run import dagster_home
from data_pipeline_tests.cli.test_plan import section
from data_pipeline_tests.io_manager.runs import execute, rows
from data_pipeline_tests.memo import jobs
from data_pipeline_tests.memo.chains import Desk, configured, copy_of


@pytest.fixture
def desk(pipeline_database: sa.Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    """The pipeline of the project, on `base`, on `shown`, which is stable, and on copies of it."""
    monkeypatch.setenv("DAGSTER_HOME", str(dagster_home(tmp_path)))
    monkeypatch.setenv(jobs.STATE, str(tmp_path / "state.json"))
    configured(
        tmp_path,
        monkeypatch,
        base=None,
        shown=copy_of("base", mode="assert_no_fresh_input"),
        part=copy_of("shown", copy_filter_cnt=3),
        least=copy_of("part", copy_filter_cnt=1),
    )
    desk = Desk(weights=True)
    monkeypatch.setattr(definitions, "defs", instance_definitions(desk.assets()))
    return desk


def command(*arguments: str, fails: bool = False) -> str:
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == int(fails), result.output
    return result.output


def day(engine: sa.Engine, instance: str) -> int:
    found = rows(engine, f"SELECT max(day), min(day) FROM {instance}_result.orders")[0]
    assert found[0] == found[1]
    return int(found[0])


def test_promoting_is_one_command(pipeline_database: sa.Engine, desk: Desk) -> None:
    command("run", "base")
    text = command("run", "shown", fails=True)
    assert "Nothing was run: desk/orders (shown), desk/visits (shown)" in text
    assert "data-pipeline run shown --fresh" in text
    command("run", "shown", "part", "least", "--fresh")
    assert {day(pipeline_database, name) for name in ("shown", "part", "least")} == {1}
    desk.new_day("orders")
    command("run", "base", "shown", "part", "least")
    assert [day(pipeline_database, n) for n in ("base", "shown", "part", "least")] == [2, 1, 1, 1]
    command("run", "--fresh", "shown")
    command("run", "part")
    assert [day(pipeline_database, n) for n in ("base", "shown", "part", "least")] == [2, 2, 2, 1]


def test_plan_says_what_is_not_taken_and_what_would_be_refused(
    pipeline_database: sa.Engine, desk: Desk
) -> None:
    command("run", "base")
    text = command("plan", "shown")
    assert "a run would end before its first step: desk/orders (shown), desk/visits (sh" in text
    assert "To take it: data-pipeline run shown --fresh" in text
    command("run", "shown", "part", "--fresh")
    desk.new_day("visits")
    command("run", "base")
    text = command("plan", "shown")
    assert "\ninput `base/raw/visits` has new data that is not taken (assert_no_fresh_inp" in text
    assert section(text, "would run") == ""
    assert "a run would end" not in text
    text = command("plan", "part")
    assert section(text, "would run") == section(text, "may run") == ""
    assert "not taken" not in text
    assert "desk__copy_filtered_inputs: `desk/orders` unchanged" in section(text, "up to date")
    command("run", "shown", "--fresh")
    text = command("plan", "part")
    assert "input `shown/desk/visits` has new data" in section(text, "would run")
    assert section(text, "up to date") == ""


def test_dropping_a_link_of_a_chain_names_those_that_copy_from_it(
    pipeline_database: sa.Engine, desk: Desk
) -> None:
    command("run", "base", "shown", "part", "least", "--fresh")
    copies = "instance `{}` copies from stage `{}` (copy_source in the configuration)"
    for name, reader, stage in (
        ("base", "shown", "raw"),
        ("shown", "part", "desk"),
        ("part", "least", "desk"),
    ):
        text = command("drop", name, "--yes", fails=True)
        needed = text[text.index("Error: Others need what would be dropped") :]
        assert needed.count(copies.format(reader, stage)) == 1
        assert needed.count("(copy_source in the configuration)") == 1
        assert f"instance id `{reader}` reads `{name}/{stage}/orders`" in text
    command("drop", "least", "--yes")
    command("drop", "base", "--yes", "--force")
    assert rows(pipeline_database, "SELECT to_regclass('base_raw.orders')") == [(None,)]
    command("run", "shown", "part", "least")
    execute(pipeline_database, "SELECT * FROM least_result.orders")
