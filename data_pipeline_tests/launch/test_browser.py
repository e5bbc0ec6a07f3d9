"""What a user reads in the web UI, in a browser: Debian's chromium, where it is installed.

`--screenshots` writes the pictures of `docs/img` anew (`make screenshots`).
"""

import io
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from data_pipeline_tests.launch import quickstart
from data_pipeline_tests.launch.conftest import Databases, place
from data_pipeline_tests.launch.processes import CHECKOUT
from data_pipeline_tests.launch.web_ui import WebUi, web_ui, workspace_of

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
_SECONDS = 60
"""So long a page of a busy machine may take before a text counts as missing."""

PICTURES = CHECKOUT / "docs" / "img"

pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium (Debian: apt install)"),
    pytest.mark.soak,  # `test_web_ui` asks the server for what pages show
]


@pytest.fixture(scope="module")
def ui(databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebUi]:
    """Webserver and daemon, after runs of the quickstart on full and mini."""
    folder = tmp_path_factory.mktemp("services")
    with databases() as url:
        made = place(url, tmp_path_factory.mktemp("home"))
        with web_ui(made.env, folder, workspace_of(quickstart, folder)) as web:
            for name in ("full", "mini"):
                web.succeed(web.launch(name))
            yield web


@pytest.fixture(scope="module")
def page(ui: WebUi) -> Iterator["Page"]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        opened = browser.new_page(
            base_url=ui.address, viewport={"width": 1200, "height": 700}, reduced_motion="reduce"
        )
        opened.set_default_timeout(_SECONDS * 1000)
        yield opened
        browser.close()


class Reader:
    """A user who reads pages, and may take pictures of them."""

    def __init__(self, page: "Page", pictures: Path | None) -> None:
        self.page = page
        self._pictures = pictures

    def open(self, path: str, *texts: str) -> None:
        """Open a page and wait until texts can be read there."""
        self.page.goto(path)
        self.read(*texts)

    def read(self, *texts: str) -> None:
        """Wait until texts can be read."""
        for text in texts:
            self.seen(text).first.wait_for()

    def seen(self, text: str) -> "Locator":
        """What can be seen of a text."""
        return self.page.get_by_text(text, exact=True).locator("visible=true")

    def never(self, *texts: str) -> None:
        """Make sure that texts cannot be read now."""
        found = {text: self.page.get_by_text(text).locator("visible=true") for text in texts}
        assert [text for text, seen in found.items() if seen.count()] == []

    def row(self, text: str) -> str:
        """The text of the row of a table that begins with a text."""
        return self.page.locator("tr").filter(has_text=text).first.inner_text()

    def picture(self, name: str) -> None:
        """Take a picture of the page, where they are asked for."""
        if self._pictures is not None:
            self._pictures.mkdir(exist_ok=True)
            taken = Image.open(io.BytesIO(self.page.screenshot())).convert("RGB")
            taken.quantize(64).save(self._pictures / f"{name}.png", optimize=True)


@pytest.fixture
def reader(page: "Page", request: pytest.FixtureRequest) -> Reader:
    return Reader(page, PICTURES if request.config.getoption("--screenshots") else None)


def test_no_dialog_lies_over_the_first_page(reader: Reader) -> None:
    reader.open("/", "Catalog")
    assert reader.page.get_by_role("dialog").count() == 0


def test_the_catalog_lists_tables_with_what_they_are(reader: Reader) -> None:
    reader.open("/assets?asset-selection=group%3A%22stage_2%22", "`dfb` times two.")
    reader.read("stage_2 / a3", "stage_2 / b2", "3 partitions")
    reader.never("stage_1 / a2", "Unsynced")


def test_the_lineage_shows_checks_and_nothing_out_of_sync(reader: Reader) -> None:
    reader.open("/locations/data_pipeline/asset-groups/stage_1/lineage", "66% filled")
    reader.read("dfa", "dfb", "a2", "1 / 1 Passed")
    reader.never("Unsynced", "Failed", "Skipped")
    reader.picture("lineage")


def test_partitions_are_the_instances(reader: Reader) -> None:
    reader.open("/assets/stage_2/a3?view=partitions", "Materialized (2)")
    reader.read("Missing (1)", "Failed (0)", "full", "midi", "mini")


def test_the_page_of_a_table_says_what_is_in_it(reader: Reader) -> None:
    reader.open("/assets/stage_1/dfb?partition=full", "Columns")
    reader.read("dagster/storage_kind", "postgresql", "bigint", "sql", "data", "SQL")
    reader.read("Source code")
    reader.never("Invalid JSON", "[Show JSON]")


def test_the_page_of_a_table_has_all_instances_side_by_side(reader: Reader) -> None:
    reader.open("/assets/stage_1/dfb?partition=mini", "instances")
    [full, mini] = reader.row("instances").splitlines()[-2:]
    assert full.startswith("full\t4\t")
    assert mini == "mini\t1\t8192\tthis run"


@pytest.fixture(scope="module")
def again(ui: WebUi) -> str:
    """A run of mini that has nothing to do."""
    run = ui.launch("mini")
    ui.succeed(run)
    return run


@pytest.mark.usefixtures("again")
def test_checks_of_what_a_run_reused_have_passed(reader: Reader) -> None:
    reader.open("/assets/stage_2/a3?view=checks", "row_count")
    reader.read("Evaluation result", "Passed", "Succeeded", "checked by run")
    reader.picture("checks")
    reader.page.get_by_text("Execution history").click()
    reader.read("Target materialization", "Passed")
    reader.never("Skipped", "Execution failed")


def test_the_page_of_a_run_says_why_in_one_table(again: str, reader: Reader) -> None:
    reader.open(f"/runs/{again}", "Success")
    said = reader.page.get_by_text("steps executed").locator("visible=true")
    said.first.wait_for()
    assert said.count() == 1
    assert "served from the cache\tunchanged\t20" in reader.row("stage_2/a3")
    assert "left out\tinstance `mini` copies from `full`" in reader.row("raw__dfa")
    reader.picture("run")


def test_a_table_is_materialized_for_one_instance(ui: WebUi, reader: Reader) -> None:
    reader.open("/assets/stage_2/b2", "Columns")
    reader.page.get_by_role("button", name="Materialize…").click()
    dialog = reader.page.get_by_role("dialog")
    dialog.get_by_text("Select a partition or create one").click()
    for name in ("full", "midi", "mini"):
        reader.read(name)
    reader.seen("mini").last.click()
    reader.picture("materialize")
    reader.page.keyboard.press("Escape")
    dialog.get_by_role("button", name="Launch 1 run").click()
    run = ui.services.wait_for("the run of b2", lambda: _newest(ui))
    found = ui.succeed(run)
    assert {"key": "dagster/partition", "value": "mini"} in found["tags"]
    reader.open(f"/runs/{run}", "Success")
    assert "served from the cache" in reader.row("stage_2/b2")


def _newest(ui: WebUi) -> str | None:
    """The last run, if it is one of assets that were chosen."""
    query = "{ runsOrError(limit: 1) { ... on Runs { results { runId jobName } } } }"
    [run] = ui.query(query)["runsOrError"]["results"]
    return str(run["runId"]) if run["jobName"].startswith("__ASSET_JOB") else None
