"""Backfills from the web UI: the daemon runs instance by instance, slice by slice, memoised."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import dagster as dg
import pytest

from data_pipeline.pipelines.quickstart import assets as all_assets
from data_pipeline_tests.launch import quickstart, sliced
from data_pipeline_tests.launch.conftest import Databases, Place, place
from data_pipeline_tests.launch.web_ui import WebUi, web_ui, workspace_of

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


def backfill(web: WebUi, assets: Sequence[dg.AssetsDefinition], keys: Sequence[str]) -> None:
    """Run a backfill, and wait for its end."""
    selection = [{"path": list(key.path)} for asset in assets for key in asset.keys]
    params = {"assetSelection": selection, "partitionNames": list(keys)}
    made = web.query(BACKFILL, params=params)["launchPartitionBackfill"]
    assert "backfillId" in made, made

    def has_ended() -> bool:
        found = web.query(STATUS, id=made["backfillId"])["partitionBackfillOrError"]
        assert found["status"] not in ("FAILED", "COMPLETED_FAILED"), found
        return bool(found["status"] == "COMPLETED_SUCCESS")

    web.services.wait_for("the backfill", has_ended)


def steps_succeeded(web: WebUi) -> list[int]:
    """Return how many steps each of the runs has executed, in no order."""
    runs = web.query(RUNS)["runsOrError"]["results"]
    return sorted(run["stats"]["stepsSucceeded"] for run in runs)


@pytest.mark.soak  # `cli` runs slices one after the other without a daemon
def test_a_backfill_builds_slices_and_a_second_one_builds_nothing(
    web_place: Place, tmp_path: Path
) -> None:
    days = [f"2026-01-{day:02}|full" for day in (1, 2)]
    with web_ui(web_place.env, tmp_path, workspace_of(sliced, tmp_path)) as web:
        backfill(web, sliced.assets[:2], days)
        query = "SELECT day::text, sold FROM full_sliced_daily.turnover ORDER BY 1"
        built = [("2026-01-01", 1), ("2026-01-02", 2)]
        assert web_place.rows(query) == built
        state = "SELECT name, committed_at FROM full_catalog.tables ORDER BY name"
        before = web_place.rows(state)
        backfill(web, sliced.assets[:2], days)
        assert web_place.rows(state) == before
        assert steps_succeeded(web) == [0, 0, 2, 2]
        web.succeed(web.launch("full"))
        assert web_place.rows("SELECT sold FROM full_sliced_total.everything") == [(3,)]


@pytest.mark.soak
def test_a_backfill_of_all_assets_for_all_instances_succeeds(
    web_place: Place, tmp_path: Path
) -> None:
    """Raw tables among them, which midi and mini do not load."""
    with web_ui(web_place.env, tmp_path, workspace_of(quickstart, tmp_path)) as web:
        backfill(web, all_assets, ["full", "midi", "mini"])
        executed = sum(steps_succeeded(web))
        backfill(web, all_assets, ["full", "midi", "mini"])
        assert executed > 0
        assert sum(steps_succeeded(web)) == executed
