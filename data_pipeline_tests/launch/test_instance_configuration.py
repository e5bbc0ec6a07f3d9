"""Dagster's own configuration: on one machine, in the image, and by the chart."""

from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml

from data_pipeline_tests.launch.processes import CHECKOUT

FILES = ["dagster.yaml", "deploy/dagster.yaml"]


def read(file: str) -> dict[str, Any]:
    return dict(yaml.safe_load((CHECKOUT / file).read_text()))


def test_an_instance_runs_once_at_a_time() -> None:
    limit = {"key": "dagster/partition", "value": {"applyLimitPerUniqueValue": True}, "limit": 1}
    for file in FILES:
        coordinator = read(file)["run_coordinator"]
        assert coordinator["class"] == "QueuedRunCoordinator"
        assert coordinator["config"]["tag_concurrency_limits"] == [limit]
    coordinator = read("deploy/values.yaml")["dagsterDaemon"]["runCoordinator"]
    assert coordinator["config"]["queuedRunCoordinator"]["tagConcurrencyLimits"] == [limit]


@pytest.mark.parametrize("file", FILES)
def test_runs_are_watched_and_telemetry_is_off(file: str) -> None:
    assert read(file)["telemetry"] == {"enabled": False}
    assert read(file)["run_monitoring"]["enabled"] is True


def test_the_chart_watches_runs_and_has_telemetry_off() -> None:
    assert read("deploy/values.yaml")["telemetry"] == {"enabled": False}
    assert read("deploy/values.yaml")["dagsterDaemon"]["runMonitoring"]["enabled"] is True


def test_the_file_at_the_top_level_needs_nothing_but_dagster_home(tmp_path: Path) -> None:
    (tmp_path / "dagster.yaml").write_text((CHECKOUT / "dagster.yaml").read_text())
    assert "env:" not in (tmp_path / "dagster.yaml").read_text()
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        assert not instance.telemetry_enabled
        assert instance.run_monitoring_enabled
        assert instance.root_directory == str(tmp_path)
