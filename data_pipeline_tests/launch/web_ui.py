"""Dagster's web UI as a browser uses it: its page, and its GraphQL."""

import json
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.error import URLError
from urllib.request import Request, urlopen

from data_pipeline_tests.launch.processes import CHECKOUT, Services, free_port, services
from data_pipeline_tests.patience import PATIENCE

QUICKSTART_STAGES = ("raw", "stage_1", "stage_2")
ENDED = frozenset({"SUCCESS", "FAILURE", "CANCELED"})

LAUNCH = """
mutation ($params: ExecutionParams!) { launchRun(executionParams: $params) {
  __typename
  ... on LaunchRunSuccess { run { runId } }
  ... on PythonError { message }
  ... on RunConfigValidationInvalid { errors { message } }
} }
"""
RUN = """
query ($id: ID!) { runOrError(runId: $id) { ... on Run {
  status startTime endTime
  tags { key value }
  eventConnection { events {
    ... on MessageEvent { message stepKey }
    ... on ErrorEvent { error { message causes { message } } }
  } }
} } }
"""
STATUS = "query ($id: ID!) { runOrError(runId: $id) { ... on Run { status } } }"
PROGRESS = """
query ($id: ID!) { runOrError(runId: $id) { ... on Run {
  status stats { ... on RunStatsSnapshot { stepsSucceeded stepsFailed materializations } }
} } }
"""
LOCATIONS = """
{ workspaceOrError { ... on Workspace { locationEntries {
  name locationOrLoadError { __typename ... on PythonError { message } }
} } } }
"""
ASSETS = """
{ assetNodes {
  assetKey { path } groupName kinds description
  owners { ... on TeamAssetOwner { team } }
  partitionDefinition { type } partitionKeys
} }
"""
MATERIALIZATION = """
query ($key: AssetKeyInput!, $partition: String!) { assetNodeOrError(assetKey: $key) {
  ... on AssetNode { assetMaterializations(partitions: [$partition], limit: 1) { metadataEntries {
    label
    ... on IntMetadataEntry { intValue }
    ... on FloatMetadataEntry { floatValue }
    ... on TextMetadataEntry { text }
    ... on MarkdownMetadataEntry { mdStr }
    ... on TableSchemaMetadataEntry { schema { columns { name type } } }
  } } }
} }
"""
STALE = """
query ($key: AssetKeyInput!, $partition: String!) { assetNodeOrError(assetKey: $key) {
  ... on AssetNode { staleStatus(partition: $partition) }
} }
"""


class WebUi:
    """The web UI of running services."""

    def __init__(self, port: int, services: Services) -> None:
        self.address = f"http://127.0.0.1:{port}"
        self.services = services

    def page(self, path: str = "/") -> str:
        """The text of a page."""
        with urlopen(f"{self.address}{path}", timeout=PATIENCE) as response:
            return str(response.read().decode())

    def wait_until_loaded(self) -> None:
        """Wait until it answers and has loaded the code location `data_pipeline`."""

        def location() -> dict[str, Any] | None:
            try:
                entries = self.query(LOCATIONS)["workspaceOrError"]["locationEntries"]
            except URLError:
                return None
            found = [entry for entry in entries if entry["locationOrLoadError"]]
            return found[0] if found else None

        entry = self.services.wait_for("the code location", location)
        assert entry["name"] == "data_pipeline"
        loaded = entry["locationOrLoadError"]
        assert loaded["__typename"] == "RepositoryLocation", loaded["message"]

    def query(self, query: str, **variables: Any) -> dict[str, Any]:
        """The data that answers a GraphQL query."""
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = Request(f"{self.address}/graphql", body, {"Content-Type": "application/json"})
        with urlopen(request, timeout=PATIENCE) as response:
            answer = json.load(response)
        assert "errors" not in answer, answer["errors"]
        return dict(answer["data"])

    def assets(self) -> dict[str, dict[str, Any]]:
        """All assets by key, as the asset graph shows them."""
        return {
            "/".join(node["assetKey"]["path"]): node for node in self.query(ASSETS)["assetNodes"]
        }

    def quickstart(self) -> list[list[str]]:
        """The keys of the quickstart's assets."""
        keys = [key.split("/") for key in self.assets()]
        return sorted(key for key in keys if key[0] in QUICKSTART_STAGES)

    def launch(
        self, job: str, *, partition: str | None = None, assets: Iterable[list[str]] = ()
    ) -> str:
        """Launch a job, restricted to `assets` if there are any: the id of the run."""
        selector = {
            "repositoryLocationName": "data_pipeline",
            "repositoryName": "__repository__",
            "jobName": job,
            "assetSelection": [{"path": key} for key in assets] or None,
        }
        tags = [{"key": "dagster/partition", "value": partition}] if partition else []
        params = {"selector": selector, "executionMetadata": {"tags": tags}, "runConfigData": "{}"}
        answer = self.query(LAUNCH, params=params)["launchRun"]
        assert answer["__typename"] == "LaunchRunSuccess", answer
        return str(answer["run"]["runId"])

    def status(self, run: str) -> str:
        """The status of a run."""
        return str(self.query(STATUS, id=run)["runOrError"]["status"])

    def wait_for_status(self, run: str, wanted: str) -> None:
        """Wait until a run has a status; it has not when it ends with another.

        Patience begins anew with each step: a long run on a slow machine is not a lost one.
        """
        seen: dict[str, Any] = {"status": None}
        while seen["status"] != wanted and seen["status"] not in ENDED:

            def moved(before: dict[str, Any] = seen) -> dict[str, Any] | None:
                now = dict(self.query(PROGRESS, id=run)["runOrError"])
                return now if now != before else None

            seen = self.services.wait_for(f"{wanted} of run {run}", moved)
        assert seen["status"] == wanted, self._why(run)

    def succeed(self, run: str) -> dict[str, Any]:
        """Wait until a run has succeeded: the run with its events."""
        self.wait_for_status(run, "SUCCESS")
        return dict(self.query(RUN, id=run)["runOrError"])

    def _why(self, run: str) -> str:
        events = self.query(RUN, id=run)["runOrError"]["eventConnection"]["events"]
        errors = [json.dumps(event["error"]) for event in events if event.get("error")]
        return "\n".join([self.status(run), *errors, self.services.output()])

    def metadata(self, key: str, partition: str) -> dict[str, dict[str, Any]]:
        """The metadata of an asset's latest materialization, by label."""
        found = self.query(MATERIALIZATION, key={"path": key.split("/")}, partition=partition)
        (latest,) = found["assetNodeOrError"]["assetMaterializations"]
        return {entry["label"]: entry for entry in latest["metadataEntries"]}

    def stale_status(self, key: list[str], partition: str) -> str:
        """Whether an asset is in sync for a partition: FRESH, STALE or MISSING."""
        found = self.query(STALE, key={"path": key}, partition=partition)
        return str(found["assetNodeOrError"]["staleStatus"])


def workspace_of(module: ModuleType, folder: Path) -> Path:
    """Write a workspace with a code location, which is named as that of the checkout."""
    file = folder / "workspace.yaml"
    location = {"module_name": module.__name__, "location_name": "data_pipeline"}
    file.write_text(json.dumps({"load_from": [{"python_module": location}]}))
    return file


@contextmanager
def web_ui(env: Mapping[str, str], folder: Path, workspace: Path) -> Iterator[WebUi]:
    """Start a webserver and a daemon, by the `dagster.yaml` of the checkout.

    Args:
        env: The environment, with the database.
        folder: Where Dagster keeps what it knows, and the services log.
        workspace: What they load.
    """
    (home := folder / "dagster_home").mkdir()
    shutil.copy(CHECKOUT / "dagster.yaml", home)
    env = {**env, "DAGSTER_HOME": str(home)}
    port = free_port()
    webserver = ["dagster-webserver", "--port", str(port), "--workspace", str(workspace)]
    daemon = ["dagster-daemon", "run", "--workspace", str(workspace)]
    (logs := folder / "logs").mkdir()
    with services(logs) as group:
        group.start("webserver", webserver, env=env, cwd=CHECKOUT)
        web = WebUi(port, group)
        web.wait_until_loaded()  # which has created Dagster's storage, so the daemon finds it
        group.start("daemon", daemon, env=env, cwd=CHECKOUT)
        yield web
