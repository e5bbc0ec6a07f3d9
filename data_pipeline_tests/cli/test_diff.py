"""`data-pipeline diff`: what it prints, and its exit status."""

import json
from pathlib import Path

import sqlalchemy as sa
from click.testing import CliRunner, Result

from data_pipeline.cli import main
from data_pipeline_tests.difference.test_versions import keyed
from data_pipeline_tests.io_manager.runs import run


def command(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["diff", *arguments])


def test_forms_and_exit_statuses(pipeline_database: sa.Engine, tmp_path: Path) -> None:
    run(keyed("t", "1", 1, 2, 3))
    run(keyed("t", "2", 1, 2, 4))
    page = tmp_path / "d.html"
    shown = command("full", "--html", str(page), "--rows", "1")
    assert shown.exit_code == 1
    assert "s/t: 3 rows, 1 changed (33.3 %), 0 added, 0 removed" in shown.stdout
    assert "~ k=2  v: 3 -> 4" in shown.stdout
    html = page.read_text()
    assert html.index("<svg") < html.index("<pre>")
    assert "<script" not in html
    content = json.loads(command("full", "--json").stdout)
    assert content["tables"][0]["columns"][0]["changed"] == 1
    markdown = command("full", "full@previous", "s/t", "--markdown").stdout
    assert markdown.startswith("**full -> full@previous: 1 of 1 tables differs**")
    assert "k=2" not in markdown
    assert command("full", "full").exit_code == 0
    assert command("full", "--ignore", "v").exit_code == 0
    wrong = command("full", "nosuch")
    assert (wrong.exit_code, wrong.stdout) == (2, "")
    assert "There is no table `nosuch`" in wrong.stderr
