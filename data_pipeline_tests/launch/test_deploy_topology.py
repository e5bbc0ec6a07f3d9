"""The compose file's services as plain processes, with Dagster's own tables in PostgreSQL."""

import shutil
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import sqlalchemy as sa

from data_pipeline_tests.launch.compose import Compose, Machine, env_file
from data_pipeline_tests.launch.conftest import Databases, Place
from data_pipeline_tests.launch.processes import CHECKOUT, environment, execute, services
from data_pipeline_tests.launch.web_ui import WebUi

DEPLOY = CHECKOUT / "deploy"
PASSWORD = "0123456789abcdef"


@dataclass
class Deployment:
    """What runs: the services of the compose file, and the two databases they use.

    Attributes:
        full: The id of the run that has built the instance `full`.
    """

    compose: Compose
    ui: WebUi
    full: str
    dagster: Place
    pipeline: Place


def machine(server_url: sa.URL, root: Path) -> Machine:
    """A machine on which the server that the tests run on is the service `postgres`."""
    for name in ("dagster.yaml", "workspace.yaml"):
        (root / "opt/dagster").mkdir(parents=True, exist_ok=True)
        shutil.copy(DEPLOY / name, root / "opt/dagster")
    host, port = server_url.host or "127.0.0.1", str(server_url.port or 5432)
    return Machine(root, hosts={"postgres": host}, ports={"5432": port})


def variables(server_url: sa.URL, dagster: sa.URL, pipeline: sa.URL) -> dict[str, str]:
    """`.env.example`, filled in."""
    return {
        **env_file((DEPLOY / ".env.example").read_text()),
        "POSTGRES_USER": server_url.username or "postgres",
        "POSTGRES_PASSWORD": str(server_url.password or PASSWORD),
        "POSTGRES_SUPERUSER_PASSWORD": PASSWORD,
        "DAGSTER_POSTGRES_DB": str(dagster.database),
        "DATA_PIPELINE_POSTGRES_DB": str(pipeline.database),
    }


@pytest.fixture(scope="module")
def deployment(
    server_url: sa.URL, databases: Databases, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Deployment]:
    """All services, started in the order that `depends_on` demands, after `full` has run."""
    root = tmp_path_factory.mktemp("machine")
    logs = tmp_path_factory.mktemp("logs")
    with databases() as dagster, databases() as pipeline, services(logs) as group:
        here = machine(server_url, root)
        filled_in = variables(server_url, dagster, pipeline)
        compose = Compose.read(DEPLOY / "docker-compose.yaml", filled_in, here)
        ui = WebUi(int(here.port("3000")), group)
        for name in ("code_server", "webserver", "daemon"):
            home = here.path("/opt/dagster")
            group.start(name, compose.command(name), env=compose.environment(name), cwd=home)
            if name == "code_server":
                group.wait_for_port(int(here.port("4000")))
            if name == "webserver":
                ui.wait_until_loaded()
        full = ui.launch("full", assets=ui.quickstart())
        ui.succeed(full)
        yield Deployment(compose, ui, full, Place(dagster, {}), Place(pipeline, {}))


def test_a_run_goes_through_it_to_the_database_of_the_pipeline(deployment: Deployment) -> None:
    ui = deployment.ui
    ui.succeed(ui.launch("mini", assets=ui.quickstart()))
    assert deployment.pipeline.rows("SELECT a, b FROM mini_stage_2.b2") == [(0, 18)]


def test_runs_and_events_are_recorded_in_postgresql(deployment: Deployment) -> None:
    run = deployment.full
    recorded = deployment.dagster.rows(
        f"SELECT pipeline_name, status, partition FROM runs WHERE run_id = '{run}'"
    )
    assert recorded == [("full", "SUCCESS", "full")]
    events = deployment.dagster.rows(
        f"SELECT DISTINCT asset_key FROM event_logs WHERE run_id = '{run}' "
        "AND dagster_event_type = 'ASSET_MATERIALIZATION' AND partition = 'full'"
    )
    assert ('["stage_2", "b2"]',) in events


def test_the_two_databases_do_not_mix(deployment: Deployment) -> None:
    schemas = "SELECT nspname FROM pg_namespace WHERE nspname LIKE 'full%'"
    assert deployment.dagster.rows(schemas) == []
    assert deployment.pipeline.rows("SELECT to_regclass('public.runs')") == [(None,)]


@pytest.mark.parametrize("service", ["code_server", "webserver", "daemon"])
def test_its_health_check_finds_a_service_healthy(deployment: Deployment, service: str) -> None:
    assert deployment.compose.healthy(service)


def test_its_health_check_finds_postgresql_healthy(deployment: Deployment) -> None:
    port = deployment.compose.machine.port("5432")
    assert deployment.compose.healthy("postgres", PGPORT=port)


@pytest.mark.parametrize("service", ["code_server", "webserver"])
def test_its_health_check_finds_a_service_that_does_not_answer(
    deployment: Deployment, tmp_path: Path, service: str
) -> None:
    nothing_runs_here = replace(deployment.compose, machine=Machine(tmp_path))
    assert not nothing_runs_here.healthy(service)


@pytest.mark.soak
def test_a_second_run_of_an_instance_waits_while_other_instances_run(
    deployment: Deployment,
) -> None:
    ui = deployment.ui
    with deployment.pipeline.transaction("DROP TABLE IF EXISTS full_stage_2.a3"):
        pass  # so that the first run has something to do
    with deployment.pipeline.transaction("LOCK TABLE full_stage_1.a2"):
        first = ui.launch("full", assets=[["stage_2", "a3"]])
        ui.wait_for_status(first, "STARTED")  # and now it waits for the lock
        second = ui.launch("full", assets=[["stage_2", "a3"]])
        other = ui.launch("mini", assets=[["raw", "dfa"]])
        # The queue is first in, first out: the daemon came past the second run before this one.
        ui.wait_for_status(other, "SUCCESS")
        assert ui.status(second) == "QUEUED"
        assert ui.status(first) == "STARTED"
    ui.succeed(first)
    ui.succeed(second)


def test_only_the_code_server_knows_the_database_of_the_pipeline(deployment: Deployment) -> None:
    compose = deployment.compose
    assert "DATA_PIPELINE_DATABASE_URL" in compose.environment("code_server")
    assert "DATA_PIPELINE_DATABASE_URL" not in compose.environment("webserver")
    assert "DATA_PIPELINE_DATABASE_URL" not in compose.environment("daemon")


def test_a_new_volume_gets_two_databases_of_a_plain_role(superuser_url: sa.URL) -> None:
    address = superuser_url.set(drivername="postgresql").render_as_string(hide_password=False)
    names = [f"{kind}_{uuid.uuid4().hex[:8]}" for kind in ("dagster", "pipeline")]
    owner = f"it's {names[0]}"
    try:
        env = environment(
            OWNER=owner,
            OWNER_PASSWORD=PASSWORD,
            DAGSTER_POSTGRES_DB=names[0],
            DATA_PIPELINE_POSTGRES_DB=names[1],
        )
        script = str(DEPLOY / "create_databases.sql")
        ended = execute("psql", "-v", "ON_ERROR_STOP=1", "-f", script, address, env=env)
        assert ended.returncode == 0, ended.stdout
        for name in names:
            url = superuser_url.set(database=name, username=owner, password=PASSWORD)
            found = Place(url, {}).rows(
                "SELECT rolname, rolsuper, rolcreatedb, pg_has_role('pg_monitor', 'USAGE') "
                "FROM pg_database JOIN pg_roles r ON r.oid = datdba "
                "WHERE datname = current_database()"
            )
            assert found == [(owner, False, False, False)]
    finally:
        drops = [f'DROP DATABASE IF EXISTS "{name}"' for name in names]
        for statement in (*drops, f'DROP ROLE IF EXISTS "{owner}"'):
            execute("psql", "-c", statement, address, env=environment())
