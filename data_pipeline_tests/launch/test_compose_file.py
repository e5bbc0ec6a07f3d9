"""What `deploy/docker-compose.yaml` promises before anything is started."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from data_pipeline_tests.launch.compose import env_file, interpolated
from data_pipeline_tests.launch.processes import CHECKOUT

DEPLOY = CHECKOUT / "deploy"
EXAMPLE = env_file((DEPLOY / ".env.example").read_text())
FILLED_IN = {
    "POSTGRES_USER": "someone",
    "POSTGRES_PASSWORD": "0123456789abcdef",
    "POSTGRES_SUPERUSER_PASSWORD": "fedcba9876543210",
}


def compose() -> dict[str, Any]:
    return dict(yaml.safe_load((DEPLOY / "docker-compose.yaml").read_text()))


def strings(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str]]:
    """Every text of a YAML file, with the keys that lead to it."""
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from strings(item, (*path, str(key)))
    elif isinstance(value, list):
        for item in value:
            yield from strings(item, path)


@pytest.mark.parametrize(
    "file",
    [
        "docker-compose.yaml",
        "docker-compose.celery.yaml",
        "dagster.yaml",
        "workspace.yaml",
        "values.yaml",
    ],
)
def test_no_file_holds_a_password(file: str) -> None:
    for path, text in strings(yaml.safe_load((DEPLOY / file).read_text())):
        for password in re.findall(r"://[^/:@]+:([^@]+)@", text):
            assert password == "${POSTGRES_PASSWORD}", path
        if "password" in path[-1].lower():
            assert re.fullmatch(
                r"\$\{POSTGRES_(SUPERUSER_)?PASSWORD:\?set it in deploy/.env\}", text
            ), path


def test_the_example_has_no_password_and_what_it_becomes_is_not_committed() -> None:
    assert EXAMPLE["POSTGRES_PASSWORD"] == EXAMPLE["POSTGRES_SUPERUSER_PASSWORD"] == ""
    assert ".env" in (DEPLOY / ".gitignore").read_text().split()


@pytest.mark.parametrize("name", ["POSTGRES_PASSWORD", "POSTGRES_SUPERUSER_PASSWORD"])
def test_compose_does_not_start_without_a_password(name: str) -> None:
    without = {key: value for key, value in FILLED_IN.items() if key != name}
    with pytest.raises(AssertionError, match=rf"{name}:\?set it in deploy/.env"):
        interpolated(compose(), without)


def test_the_example_names_every_variable_that_compose_reads() -> None:
    read = set(re.findall(r"(?<!\$)\$\{(\w+)", (DEPLOY / "docker-compose.yaml").read_text()))
    assert set(EXAMPLE) == read


def test_compose_defines_each_volume_and_service_that_it_mentions() -> None:
    whole = interpolated(compose(), FILLED_IN)
    services = whole["services"]
    mounted = {
        source
        for service in services.values()
        for source, *_ in (volume.split(":") for volume in service["volumes"])
    }
    files = {source for source in mounted if source.startswith("./")}
    assert mounted - files == set(whole["volumes"])
    assert all((DEPLOY / file).is_file() for file in files)
    awaited = {name for service in services.values() for name in service.get("depends_on", {})}
    assert awaited <= set(services)
    assert all("healthcheck" in services[name] for name in services)


def test_the_web_ui_is_published_on_loopback_alone() -> None:
    services = interpolated(compose(), FILLED_IN)["services"]
    published = {name: service["ports"] for name, service in services.items() if "ports" in service}
    assert published == {"webserver": ["127.0.0.1:3000:3000"]}


def test_workers_share_all_with_the_code_server_that_a_step_needs() -> None:
    added = yaml.safe_load((DEPLOY / "docker-compose.celery.yaml").read_text())
    services = interpolated(compose(), FILLED_IN)["services"]
    more = interpolated(added, FILLED_IN)["services"]
    server, worker = services["code_server"], more["worker"]
    needless = {"CODE_SERVER_HOST", "CODE_SERVER_PORT"}
    environment = {k: v for k, v in server["environment"].items() if k not in needless}
    assert worker["environment"] == environment
    assert worker["image"] == server["image"]
    volumes = {*server["volumes"], *more["code_server"]["volumes"]}
    assert volumes < set(worker["volumes"])
    files = {volume.split(":")[0] for volume in worker["volumes"] if volume.startswith("./")}
    assert all((DEPLOY / file).is_file() for file in files)
    assert set(worker["depends_on"]) <= services.keys() | more.keys()


def test_code_server_and_workers_have_the_same_broker() -> None:
    settings = yaml.safe_load((DEPLOY / "celery.yaml").read_text())["execution"]["config"]
    definitions = (DEPLOY / "celery_definitions.py").read_text()
    assert all(settings[name] in definitions for name in ("broker", "backend"))
