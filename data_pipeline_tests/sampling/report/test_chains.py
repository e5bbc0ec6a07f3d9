"""`data-pipeline report` and `why` on a sample of a whole copy, also when the root is gone."""

from pathlib import Path

import dagster as dg
import pytest
import sqlalchemy as sa
from click.testing import CliRunner

from data_pipeline import definitions, instance_resources
from data_pipeline.cli import main
from data_pipeline_tests.io_manager.runs import execute
from data_pipeline_tests.memo.chains import configured, copy_of
from data_pipeline_tests.sampling.report.shop_report import MIDI, assets
from data_pipeline_tests.sampling.shop import Shop


def command(*arguments: str) -> str:
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    return result.output


def test_the_source_of_a_sample_is_the_copy_that_it_was_taken_from(
    pipeline_database: sa.Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    configured(
        tmp_path, monkeypatch, full=None, midi=copy_of("full"), mini=copy_of("midi", sample=MIDI)
    )
    made = assets(Shop(customers=60))
    monkeypatch.setattr(definitions, "defs", dg.Definitions(made, resources=instance_resources()))
    for name in ("full", "midi", "mini"):
        dg.materialize(
            made,
            selection=None if name == "full" else dg.AssetSelection.assets(*made[-2:]),
            partition_key=name,
            resources=instance_resources(name),
        )
    execute(pipeline_database, "DROP SCHEMA full_raw, full_inputs, full_catalog CASCADE")
    explained = command("why", "mini", "customers", "1")
    assert explained.startswith("customers (customer = 1) is in the sample: pinned")
    assert "is not in the sample" in "".join(
        command("why", "mini", "orders", str(number)) for number in range(10)
    )
    printed = command("report", "mini")
    assert "instance mini, stage inputs" in printed
    assert "source has changed" not in printed
