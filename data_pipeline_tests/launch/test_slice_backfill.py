"""A backfill of slices from the web UI: the daemon runs slice by slice, memoised."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from data_pipeline_tests.launch import sliced
from data_pipeline_tests.launch.conftest import Databases, Place, place
from data_pipeline_tests.launch.processes import CHECKOUT, Services, free_port, services
from data_pipeline_tests.launch.web_ui import WebUi

BACKFILL = """
mutation ($params: LaunchBackfillParams!) { launchPartitionBackfill(backfillParams: $params) {
  __typename
  ... on LaunchBackfillSuccess { backfillId }
  ... on PythonError { message }
} }
"""
STATUS = """
query ($id: String!) { partitionBackfillOrError(backfillId: $id) { ... on PartitionBackfill {
  status numPartitions
} } }
"""
RUNS = """
{ runsOrError { ... on Runs { results { stats { ... on RunStatsSnapshot { stepsSucceeded } } } } } }
"""


@pytest.fixture
def web_place(databases: Databases, tmp_path: Path) -> Iterator[Place]:
    with databases() as url:
        yield place(url, tmp_path / "home")


def backfill(web: WebUi, group: Services, days: range) -> None:
    """Run a backfill of slices of full, and wait for its end."""
    keys = [f"2026-01-{day:02}|full" for day in days]
    assets = [{"path": list(asset.key.path)} for asset in sliced.assets[:2]]
    params = {"assetSelection": assets, "partitionNames": keys}
    made = web.query(BACKFILL, params=params)["launchPartitionBackfill"]
    assert "backfillId" in made, made

    def has_ended() -> bool:
        found = web.query(STATUS, id=made["backfillId"])["partitionBackfillOrError"]
        assert found["status"] not in ("FAILED", "COMPLETED_FAILED"), found
        return bool(found["status"] == "COMPLETED_SUCCESS")

    group.wait_for("the backfill", has_ended)


@pytest.mark.soak  # `cli` runs slices one after the other without a daemon
def test_a_backfill_builds_slices_and_a_second_one_builds_nothing(
    web_place: Place, tmp_path: Path
) -> None:
    (home := tmp_path / "dagster").mkdir()
    (logs := tmp_path / "written").mkdir()
    shutil.copy(CHECKOUT / "dagster.yaml", home)
    location = {"module_name": sliced.__name__, "location_name": "data_pipeline"}
    workspace = tmp_path / "workspace.yaml"
    workspace.write_text(json.dumps({"load_from": [{"python_module": location}]}))
    env = {**web_place.env, "DAGSTER_HOME": str(home)}
    port = free_port()
    webserver = ["dagster-webserver", "--port", str(port), "--workspace", str(workspace)]
    daemon = ["dagster-daemon", "run", "--workspace", str(workspace)]
    with services(logs) as group:
        group.start("webserver", webserver, env=env, cwd=CHECKOUT)
        web = WebUi(port, group)
        web.wait_until_loaded()
        group.start("daemon", daemon, env=env, cwd=CHECKOUT)
        backfill(web, group, range(1, 3))
        query = "SELECT day::text, sold FROM full_sliced_daily.turnover ORDER BY 1"
        built = [("2026-01-01", 1), ("2026-01-02", 2)]
        assert web_place.rows(query) == built
        state = "SELECT name, committed_at FROM full_catalog.tables ORDER BY name"
        before = web_place.rows(state)
        backfill(web, group, range(1, 3))
        assert web_place.rows(state) == before
        runs = web.query(RUNS)["runsOrError"]["results"]
        assert sorted(run["stats"]["stepsSucceeded"] for run in runs) == [0, 0, 2, 2]
        web.succeed(web.launch("full"))
        assert web_place.rows("SELECT sold FROM full_sliced_total.everything") == [(3,)]
