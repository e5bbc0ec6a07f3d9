"""`data-pipeline report` and `data-pipeline why`."""

from pathlib import Path

import pytest
import sqlalchemy as sa
from click.testing import CliRunner, Result

from data_pipeline.cli import main
from data_pipeline_tests.beginnings import BeginWith
from data_pipeline_tests.sampling.report.shop_report import MIDI, build, built_midi, in_force
from data_pipeline_tests.sampling.shop import Shop, configured, rows


def command(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


@pytest.fixture
def midi(begin_with: BeginWith, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shop = Shop()
    config, _ = built_midi(begin_with, tmp_path, shop)
    in_force(monkeypatch, config, shop)


@pytest.mark.usefixtures("midi")
def test_report_prints_what_is_stored_and_refuses_what_is_not() -> None:
    printed = command("report", "midi").output
    assert "instance midi, stage inputs" in printed
    for title in ("Sizes", "Relationships", "Coverage", "Distributions", "Estimates"):
        assert title in printed.splitlines()
    for arguments, message in (
        (["midi", "--stage", "other"], "there are reports of `inputs`. Build it:"),
        (["full"], "`full` is no sample, so there is nothing to compare. Samples are: `midi`."),
        (["maxi"], "Known here: 'full', 'midi'"),
    ):
        result = command("report", *arguments)
        assert result.exit_code == 1
        assert message in result.output


@pytest.mark.usefixtures("midi")
def test_why_finds_rows_by_key_or_columns_and_says_what_is_wrong_with_a_key() -> None:
    assert command("why", "midi", "customers", "1").output == (
        "customers (customer = 1) is in the sample: pinned, no weight\n"
    )
    assert "witness (least: " in command("why", "midi", "inputs/orders", "number=0").output
    for arguments, message in (
        (["midi", "order", "1"], "`order` is no input table. Name one of these: `inputs/clicks`"),
        (["midi", "orders", "1", "2"], "Give those of the primary key (number) in this order"),
        (["midi", "orders", "x"], "Give values of the columns' types: `number` BIGINT"),
        (["midi", "orders", "99999"], "has no row with number = 99999"),
        (["midi", "orders", "amount=3"], "several rows with amount = 3. Name more columns"),
        (["midi", "clicks", "3"], "no primary key. Name its row by columns, as column=value"),
        (["full", "orders", "1"], "`why` explains samples"),
        (["maxi", "orders", "1"], "Known here: 'full', 'midi'"),
    ):
        result = command("why", *arguments)
        assert result.exit_code == 1
        assert message in result.output


def test_before_the_first_run_both_name_the_command_that_builds(
    pipeline_database: sa.Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = configured(tmp_path, midi={"roots": {"customers": {"rate": 0.2}}})
    in_force(monkeypatch, config, Shop())
    for arguments in (["report", "midi"], ["why", "midi", "orders", "1"]):
        result = command(*arguments)
        assert result.exit_code == 1
        assert "Build it: dagster job execute" in result.output
    assert "`full` is no sample" in command("report", "full").output
    assert rows(pipeline_database, "SELECT 1") == [(1,)]


def test_a_sample_of_another_specification_is_not_explained_by_that_of_today(
    begin_with: BeginWith, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = Shop()
    built_midi(begin_with, tmp_path, shop)
    edited = configured(tmp_path, midi={**MIDI, "salt": 4})
    in_force(monkeypatch, edited, shop)
    explained, printed = command("why", "midi", "customers", "1"), command("report", "midi")
    assert explained.exit_code == 1
    assert "was made with other attrs than those of today, which cannot" in explained.output
    assert "Build it: dagster job execute" in explained.output
    assert "the attrs of `midi` have changed since: this is about the sample" in printed.output
    assert "Sizes" in printed.output
    build(shop, "midi", edited)
    assert command("why", "midi", "customers", "1").exit_code == 0
    assert "have changed since" not in command("report", "midi").output
