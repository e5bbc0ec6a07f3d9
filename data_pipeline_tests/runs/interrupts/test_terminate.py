"""Terminate in the web UI ends a run, whatever it waits for, and the run is shown as canceled."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from data_pipeline_tests.launch.processes import CHECKOUT, PROGRAMS, free_port, services
from data_pipeline_tests.launch.web_ui import WebUi
from data_pipeline_tests.runs.interrupts import by_processes, project
from data_pipeline_tests.runs.interrupts.conftest import Runs

TERMINATE = """
mutation ($id: String!) { terminateRun(runId: $id) {
  __typename
  ... on TerminateRunFailure { message }
  ... on PythonError { message }
} }
"""
# Without a queue, which needs a daemon.
SETTINGS = """
telemetry: {enabled: false}
run_coordinator: {module: dagster.core.run_coordinator, class: DefaultRunCoordinator}
"""
WORKSPACE = """
load_from: [{{python_module: {{module_name: {module}, location_name: data_pipeline}}}}]
"""


@pytest.fixture(
    params=[
        pytest.param(project, id="in_process"),
        pytest.param(by_processes, id="by_processes", marks=pytest.mark.soak),
    ]
)
def ui(runs: Runs, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[WebUi]:
    """A web UI whose runs make a new generation."""
    (tmp_path / "dagster.yaml").write_text(SETTINGS)
    workspace = tmp_path / "workspace.yaml"
    workspace.write_text(WORKSPACE.format(module=request.param.__name__))
    env = {
        **runs.environment,
        "GENERATION": str(runs.renew()),
        "DAGSTER_HOME": str(tmp_path),
        "PYTHONPATH": str(CHECKOUT),
    }
    port = free_port()
    program = str(PROGRAMS / "dagster-webserver")
    with services(tmp_path) as group:
        command = [program, "--port", str(port), "--workspace", str(workspace)]
        group.start("webserver", command, env=env, cwd=CHECKOUT)
        web = WebUi(port, group)
        web.wait_until_loaded()
        yield web


HELD_UP = "full_queries.queried"


def test_a_run_is_canceled_and_the_next_one_finishes(ui: WebUi, runs: Runs) -> None:
    held = runs.held
    for place, is_there in (("another run", held.has_waiting), ("query", held.is_asleep)):
        with held.at(place):
            run = ui.launch("full")
            ui.services.wait_for(f"a run that is held up by {place}", is_there)
            committed = held.generations("full")[HELD_UP]
            answer = ui.query(TERMINATE, id=run)["terminateRun"]
            assert answer["__typename"] == "TerminateRunSuccess", answer
            ui.wait_for_status(run, "CANCELED")
            assert not is_there()
            # Other stages may have been ready before the run heard of it.
            assert held.generations("full")[HELD_UP] == committed
    ui.succeed(ui.launch("full"))
    assert all(found == {runs.generation} for found in held.generations("full").values())
