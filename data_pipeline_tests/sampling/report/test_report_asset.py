"""The report as an asset: stored, shown in the UI, checked against thresholds."""

import sys
from pathlib import Path

import dagster as dg
import pytest
import sqlalchemy as sa

from data_pipeline.errors import ConfigurationError
from data_pipeline.instances.partitions import INSTANCE_PARTITIONS
from data_pipeline.sampling.report import sample_report, sampled_inputs_with_report
from data_pipeline.sampling.report.asset import metadata_of
from data_pipeline.sampling.report.figures.accuracy import Accuracy
from data_pipeline.sampling.report.figures.compared_columns import KeyColumns, Profile
from data_pipeline.sampling.report.figures.comparison import Report
from data_pipeline.sampling.report.figures.moments import Moments
from data_pipeline_tests.beginnings import BeginWith
from data_pipeline_tests.sampling.report.shop_report import (
    build,
    built_midi,
    checks,
    metadata,
)
from data_pipeline_tests.sampling.shop import Shop, rows


def test_the_report_is_a_table_beside_the_roles(
    begin_with: BeginWith, pipeline_database: sa.Engine, tmp_path: Path
) -> None:
    _, result = built_midi(begin_with, tmp_path, Shop())
    stored = rows(
        pipeline_database,
        "SELECT measure, value, expected, passed FROM midi_sample.inputs__report "
        "WHERE table_name = 'orders' AND measure IN ('rows', 'reference violations') ORDER BY 1",
    )
    count = rows(pipeline_database, "SELECT count(*) FROM midi_inputs.orders")[0][0]
    assert stored == [("reference violations", 0, 0, True), ("rows", count, 1600, None)]
    assert all(found.passed for found in checks(result).values())
    assert set(checks(result)) == {
        "references",
        "coverage",
        "joins",
        "distributions",
        "estimates",
        "design_effects",
    }


def test_tables_and_plots_are_shown(
    begin_with: BeginWith, pipeline_database: sa.Engine, tmp_path: Path
) -> None:
    found = metadata(built_midi(begin_with, tmp_path, Shop())[1])
    assert "| customers | " in found["sizes"]
    assert "| orders.amount | KS distance |" in found["report"]
    assert found["beyond_thresholds"] == 0
    assert "problems" not in found
    assert found["report"].count("](data:image/png;base64,iVBORw0KGgo") == 1


def test_without_matplotlib_a_line_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    nothing = Profile(1.0, {}, {}, {}, {})
    weighted = Accuracy("t", KeyColumns(), nothing, nothing, Moments(()))
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    found = metadata_of(Report((), (weighted,)))
    assert found["report"].value.startswith("There are no plots: matplotlib is not installed.")
    assert "data:image" not in found["report"].value


def test_what_became_of_the_sample_by_hand_fails_a_check(
    begin_with: BeginWith, pipeline_database: sa.Engine, tmp_path: Path
) -> None:
    shop = Shop()
    config, _ = built_midi(begin_with, tmp_path, shop)
    with pipeline_database.begin() as connection:
        connection.exec_driver_sql("DELETE FROM midi_inputs.regions WHERE region = 'north'")
    result = build(shop, "midi", config, only_report=True)
    found = checks(result)
    assert not found["references"].passed
    assert found["references"].severity is dg.AssetCheckSeverity.ERROR
    assert "customers (region) -> regions (region)" in found["references"].description
    assert "sample: {checks: ...}" in found["references"].description
    assert not found["coverage"].passed
    assert found["design_effects"].passed
    assert "| customers [customers (region) -> regions (region)] |" in metadata(result)["problems"]


def test_a_threshold_of_warnings_warns(
    begin_with: BeginWith, pipeline_database: sa.Engine, tmp_path: Path
) -> None:
    _, result = built_midi(begin_with, tmp_path, Shop(), checks={"design_effect": {"warn": 2}})
    found = checks(result)["design_effects"]
    assert not found.passed
    assert found.severity is dg.AssetCheckSeverity.WARN
    assert "is over the limit `design_effect` of 2)" in found.description


def test_where_nothing_is_compared_it_says_so(
    begin_with: BeginWith, pipeline_database: sa.Engine, tmp_path: Path
) -> None:
    built_midi(begin_with, tmp_path, Shop(), report="off")
    for instance, reason in (
        ("full", "nothing is sampled: `full` loads for itself"),
        ("midi", "not compared with the source: `sample: {report: off}`"),
    ):
        query = f"SELECT text FROM {instance}_sample.inputs__report WHERE measure LIKE 'nothing%'"
        assert rows(pipeline_database, query) == [(reason,)]


def test_a_source_that_has_changed_since_is_noted(
    begin_with: BeginWith, pipeline_database: sa.Engine, tmp_path: Path
) -> None:
    shop = Shop()
    config, _ = built_midi(begin_with, tmp_path, shop)
    shop.frames["notes"] = shop.frames["notes"].iloc[:1]
    build(shop, "full", config)
    build(shop, "midi", config, only_report=True)
    changed = "SELECT table_name FROM midi_sample.inputs__report WHERE measure LIKE 'source%'"
    assert rows(pipeline_database, changed) == [("notes",)]


def test_input_tables_and_report_are_made_in_one() -> None:
    shop = Shop()
    raw = shop.assets()[:-1]
    inputs, report = sampled_inputs_with_report(stage="inputs", raw=raw)
    assert dg.AssetKey(["sample", "inputs__orders"]) in inputs.keys
    assert report.key == dg.AssetKey(["sample", "inputs__report"])


def test_a_raw_table_called_report_is_refused() -> None:
    @dg.asset(key=["raw", "report"], partitions_def=INSTANCE_PARTITIONS)
    def report() -> None: ...

    with pytest.raises(ConfigurationError, match="Rename the raw table"):
        sample_report(stage="inputs", raw=[report])
