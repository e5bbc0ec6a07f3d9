"""The web UI, started from the project's own `workspace.yaml` and `dagster.yaml`."""

import re
from collections.abc import Iterator
from typing import Any

import pytest

from data_pipeline_tests.launch.conftest import NOTHING_EXECUTED, Databases, Place, place
from data_pipeline_tests.launch.processes import CHECKOUT
from data_pipeline_tests.launch.web_ui import WebUi, web_ui


@pytest.fixture(scope="module")
def web_place(databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with databases() as url:
        yield place(url, tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="module")
def ui(web_place: Place, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebUi]:
    """Webserver and daemon, after `full` was launched and has succeeded."""
    folder = tmp_path_factory.mktemp("services")
    with web_ui(web_place.env, folder, CHECKOUT / "workspace.yaml") as web:
        web.succeed(web.launch("full", assets=web.quickstart()))
        yield web


@pytest.mark.parametrize("path", ["/", "/asset-groups", "/locations/data_pipeline/jobs/mini"])
def test_a_page_and_its_scripts_load(ui: WebUi, path: str) -> None:
    scripts = re.findall(r'<script [^>]*src="([^"]+)"', ui.page(path))
    assert scripts
    assert all(ui.page(script) for script in scripts)


@pytest.fixture(scope="module")
def mini(ui: WebUi) -> dict[str, Any]:
    """The run of the job `mini`, launched without any choice of an instance."""
    return ui.succeed(ui.launch("mini", assets=ui.quickstart()))


def test_the_job_of_an_instance_builds_it(mini: dict[str, Any], web_place: Place) -> None:
    assert {"key": "dagster/partition", "value": "mini"} in mini["tags"]
    assert web_place.rows("SELECT a, b FROM mini_stage_2.b2") == [(0, 18)]
    assert web_place.rows("SELECT a, b FROM mini_stage_2.a3") == [(0, 36)]


@pytest.mark.soak
def test_the_job_pipeline_builds_the_chosen_instance(ui: WebUi, web_place: Place) -> None:
    ui.succeed(ui.launch("pipeline", partition="midi", assets=ui.quickstart()))
    assert web_place.rows("SELECT a, b FROM midi_stage_2.b2 ORDER BY a") == [(0, 18), (2, 16)]


def test_a_run_says_which_raw_tables_it_left_out(mini: dict[str, Any]) -> None:
    messages = [event.get("message") or "" for event in mini["eventConnection"]["events"]]
    (line,) = [text for text in messages if text.startswith("Left out raw__dfa")]
    assert "instance `mini` does not load raw tables but copies from `full`" in line


@pytest.mark.usefixtures("mini")
def test_a_second_launch_executes_nothing_and_leaves_all_in_sync(ui: WebUi) -> None:
    again = ui.succeed(ui.launch("mini", assets=ui.quickstart()))
    events = again["eventConnection"]["events"]
    assert any(NOTHING_EXECUTED.search(event.get("message") or "") for event in events)
    statuses = {
        "/".join(key): ui.stale_status(key, "mini") for key in ui.quickstart() if key[0] != "raw"
    }
    assert statuses == dict.fromkeys(statuses, "FRESH")


def test_the_graph_shows_groups_kinds_owners_and_descriptions(ui: WebUi) -> None:
    assets = ui.assets()
    b2 = assets["stage_2/b2"]
    assert b2["groupName"] == "stage_2"
    assert {"python", "pandas"} <= set(b2["kinds"])
    assert b2["description"] == "`dfb` times two."
    without = {
        what: [key for key, node in assets.items() if not node[what]]
        for what in ("groupName", "kinds", "owners", "description")
    }
    assert without == {"groupName": [], "kinds": [], "owners": [], "description": []}
    assert {node["groupName"] for node in assets.values()} == {key.split("/")[0] for key in assets}


def test_every_asset_is_partitioned_by_instance(ui: WebUi) -> None:
    keys = {tuple(node["partitionKeys"]) for node in ui.assets().values()}
    assert keys == {("full", "midi", "mini")}


@pytest.mark.parametrize(("key", "rows"), [("stage_1/dfb", 4), ("stage_2/b2", 4)])
def test_a_table_shows_rows_columns_place_and_preview(ui: WebUi, key: str, rows: int) -> None:
    metadata = ui.metadata(key, "full")
    assert metadata["dagster/row_count"]["intValue"] == rows
    assert metadata["dagster/column_schema"]["schema"]["columns"] == [
        {"name": "a", "type": "bigint"},
        {"name": "b", "type": "bigint"},
    ]
    assert metadata["dagster/table_name"]["text"].endswith(f".full_{key.replace('/', '.')}")
    assert metadata["preview"]["mdStr"].splitlines()[0] == "| a | b |"


@pytest.mark.usefixtures("mini")
def test_an_asset_that_is_a_query_shows_its_sql(ui: WebUi) -> None:
    sql = ui.metadata("stage_1/dfb", "mini")["sql"]["mdStr"]
    assert "full_raw" in sql
    assert "LIMIT 1" in sql
