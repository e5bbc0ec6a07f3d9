"""The values for Dagster's official Helm chart; their names are those of the chart's schema."""

import re
from typing import Any

import dagster as dg
import yaml

from data_pipeline_tests.launch.processes import CHECKOUT

DEPLOY = CHECKOUT / "deploy"


def values() -> dict[str, Any]:
    return dict(yaml.safe_load((DEPLOY / "values.yaml").read_text()))


def test_the_chart_takes_both_passwords_from_secrets() -> None:
    chart = values()
    assert chart["generatePostgresqlPasswordSecret"] is False
    assert chart["global"]["postgresqlSecretName"]
    assert "postgresqlPassword" not in chart["postgresql"]
    (deployment,) = chart["dagster-user-deployments"]["deployments"]
    assert deployment["envSecrets"] == [{"name": "data-pipeline-database"}]
    assert deployment["includeConfigInLaunchedRuns"] == {"enabled": True}
    assert "DATA_PIPELINE_DATABASE_URL" not in deployment["env"]


def test_the_chart_runs_one_image_and_the_version_of_dagster_that_is_installed() -> None:
    chart = values()
    (deployment,) = chart["dagster-user-deployments"]["deployments"]
    images = [chart["dagsterWebserver"]["image"], chart["dagsterDaemon"]["image"]]
    assert images == [deployment["image"]] * 2
    for file in ("values.yaml", "README.md"):
        named = re.findall(r"--version (\S+)", (DEPLOY / file).read_text())
        assert set(named) == {dg.__version__}
