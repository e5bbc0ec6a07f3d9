"""The image is built and the compose files are started, in containers, with Celery workers."""

import json
import os
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from data_pipeline_tests.launch.compose import env_file
from data_pipeline_tests.launch.containers.composed import Composed
from data_pipeline_tests.launch.containers.podman import Podman
from data_pipeline_tests.launch.processes import CHECKOUT, free_port
from data_pipeline_tests.launch.web_ui import ENDED, WebUi

pytestmark = [pytest.mark.soak, pytest.mark.timeout(7200)]

DEPLOY = CHECKOUT / "deploy"
KEPT = "DEPLOY_TEST_FOLDER"
"""Names a folder in which images stay for the next time, which saves ten minutes."""

FILES = (DEPLOY / "docker-compose.yaml", DEPLOY / "docker-compose.celery.yaml")
IMAGES = {
    "postgres:17": "localhost/servers:base",
    "redis:7": "localhost/servers:base",
    "data-pipeline": "localhost/data-pipeline:latest",
}

TERMINATE = """
mutation ($id: String!) {
  terminateRun(runId: $id, terminatePolicy: MARK_AS_CANCELED_IMMEDIATELY) { __typename }
}
"""


@pytest.fixture(scope="module")
def podman() -> Iterator[Podman]:
    kept = os.environ.get(KEPT)
    folder = Path(kept or tempfile.mkdtemp(prefix="deploy_test_"))
    folder.mkdir(exist_ok=True)
    made = Podman(folder)
    try:
        yield made
    finally:
        made.remove_containers()
        if not kept:
            made.remove_all()


@pytest.fixture(scope="module")
def image(podman: Podman) -> str:
    if not podman.succeeds("image", "exists", "localhost/debian:base"):
        podman.make_debian()
    podman.make_stand_ins()
    ignored = ("--ignorefile", str(DEPLOY / "Dockerfile.dockerignore"))
    base = ("--build-arg", "BASE=localhost/python:base")
    tag = IMAGES["data-pipeline"]
    podman.build(tag, DEPLOY / "Dockerfile", CHECKOUT, *ignored, *base)
    return tag


@pytest.fixture(scope="module")
def running(podman: Podman, image: str) -> Iterator[Composed]:
    variables = {
        **env_file((DEPLOY / ".env.example").read_text()),
        "POSTGRES_PASSWORD": "0123456789abcdef",
        "POSTGRES_SUPERUSER_PASSWORD": "fedcba9876543210",
        "DAGSTER_WEBSERVER_PORT": str(free_port()),
    }
    composed = Composed(podman, FILES, variables, IMAGES)
    composed.services["postgres"]["command"] = ["postgres.sh"]
    composed.up()
    yield composed
    podman.remove_containers()


@pytest.fixture
def ui(running: Composed) -> WebUi:
    [published] = running.services["webserver"]["ports"]
    ui = WebUi(int(published.split(":")[1]), running)
    ui.wait_until_loaded()
    return ui


def psql(running: Composed, podman: Podman, query: str) -> str:
    """What the database of the pipeline answers its owner."""
    command = (
        'PGPASSWORD="$OWNER_PASSWORD" psql --host 127.0.0.1 --username "$OWNER" '
        f'--dbname "$DATA_PIPELINE_POSTGRES_DB" --tuples-only --no-align --command "{query}"'
    )
    return podman("exec", "postgres", "/bin/sh", "-c", command).strip()


def inspected(podman: Podman, name: str) -> dict[str, Any]:
    return dict(json.loads(podman("inspect", name))[0])


def test_the_image_has_no_root_no_compiler_and_no_installer(podman: Podman, image: str) -> None:
    said = podman(
        "run", "--rm", "--read-only", image, "sh", "-c", "id -u; command -v pip gcc; true"
    )
    assert said.split() == ["10001"]


def test_the_image_loads_the_code_without_a_place_to_write(podman: Podman, image: str) -> None:
    code = "import data_pipeline.definitions, dagster_celery, dagster_k8s, s3fs; print('loaded')"
    assert podman("run", "--rm", "--read-only", image, "python", "-c", code).strip() == "loaded"


def test_all_instances_of_all_pipelines_run_in_it(
    running: Composed, ui: WebUi, podman: Podman
) -> None:
    for name in ("full", "midi", "mini"):
        ui.succeed(ui.launch(name))
    assert psql(running, podman, "SELECT a, b FROM mini_stage_2.b2") == "0|18"
    count = "SELECT count(*) FROM {}_catalog.tables WHERE committed_at IS NULL"
    for name in ("full", "midi", "mini"):
        assert psql(running, podman, count.format(name)) == "0"
    rights = (
        "SELECT rolsuper OR rolcreatedb OR rolcreaterole FROM pg_roles WHERE rolname = current_user"
    )
    assert psql(running, podman, rights) == "f"
    workers = [podman.logs(name) for name in running.names("worker")]
    assert all("succeeded in" in log for log in workers), "a worker has done nothing"
    again = ui.succeed(ui.launch("midi"))
    started = [event for event in again["eventConnection"]["events"] if event.get("stepKey")]
    said = [
        event["message"] for event in started if "Started execution of step" in event["message"]
    ]
    assert said == []


@pytest.mark.parametrize("service", ["code_server", "webserver", "daemon", "worker", "redis"])
def test_services_have_no_rights_and_a_read_only_root(
    running: Composed, podman: Podman, service: str
) -> None:
    for name in running.names(service):
        assert inspected(podman, name)["HostConfig"]["ReadonlyRootfs"]
        status = podman("exec", name, "grep", "-E", "^(Uid|CapEff|NoNewPrivs)", "/proc/1/status")
        found = {line.split(":")[0]: line.split()[1] for line in status.splitlines()}
        assert found["Uid"] != "0"
        assert int(found["CapEff"], 16) == 0
        assert found["NoNewPrivs"] == "1"


def test_the_next_run_finishes_after_the_code_server_was_killed_in_one(
    running: Composed, ui: WebUi, podman: Podman
) -> None:
    psql(running, podman, "DROP TABLE full_stage_2.a3 CASCADE")
    lock = "BEGIN; LOCK TABLE full_stage_1.a2; SELECT pg_sleep(3600)"
    podman(
        "exec", "--detach", "postgres", "/bin/sh", "-c",
        'PGPASSWORD="$OWNER_PASSWORD" PGAPPNAME=blocker psql --host 127.0.0.1 --username "$OWNER" '
        f'--dbname "$DATA_PIPELINE_POSTGRES_DB" --command "{lock}"',
    )  # fmt: skip
    waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation IS NOT NULL"
    of_blocker = "FROM pg_stat_activity WHERE application_name = 'blocker'"
    is_held = f"SELECT count(*) {of_blocker} AND wait_event = 'PgSleep'"
    running.wait_for("the lock", lambda: psql(running, podman, is_held) == "1")
    run = ui.launch("full", assets=[["stage_2", "a3"]])
    running.wait_for("a step that waits", lambda: psql(running, podman, waiting) != "0")
    os.kill(inspected(podman, "code_server")["State"]["Pid"], signal.SIGKILL)
    psql(running, podman, f"SELECT pg_terminate_backend(pid) {of_blocker}")
    running.wait_for("the code server", lambda: running.is_healthy("code_server"))
    ui.wait_until_loaded()
    # Nobody else tells Dagster that the process of the run is gone: deploy/README.md.
    answer = ui.query(TERMINATE, id=run)["terminateRun"]
    assert answer["__typename"] == "TerminateRunSuccess", answer
    running.wait_for("the end of the lost run", lambda: ui.status(run) in ENDED)
    ui.succeed(ui.launch("full", assets=[["stage_2", "a3"]]))
    assert psql(running, podman, "SELECT to_regclass('full_stage_2.a3') IS NOT NULL") == "t"
    assert psql(running, podman, "SELECT count(*) FROM full_catalog.leases") == "0"
