"""The image of `deploy/Dockerfile`, as far as it can be judged without building it."""

import re
import shlex
import tomllib
from typing import Any

import yaml

from data_pipeline_tests.launch.processes import CHECKOUT

DEPLOY = CHECKOUT / "deploy"


def instructions(keyword: str) -> list[str]:
    """The arguments of every such instruction in the Dockerfile."""
    text = (DEPLOY / "Dockerfile").read_text().replace("\\\n", " ")
    return re.findall(rf"^{keyword} (.*)$", text, re.MULTILINE)


def read(file: str) -> dict[str, Any]:
    return dict(yaml.safe_load((DEPLOY / file).read_text()))


def test_the_image_copies_files_that_exist_and_that_reach_the_builder() -> None:
    ignore = (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
    admitted = {line[1:] for line in ignore if line.startswith("!")}
    lines = [line for line in instructions("COPY") if not line.startswith("--from")]
    copied = {source for line in lines for source in line.split()[:-1]}
    missing = {source for source in copied if not (CHECKOUT / source.lstrip("./")).exists()}
    assert missing == set()
    assert {source.removeprefix("./") for source in copied} == admitted


def test_the_image_installs_extras_that_exist_but_no_embedded_postgresql() -> None:
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]
    head = (DEPLOY / "requirements.txt").read_text().partition("==")[0]
    extras = set(re.findall(r"--extra (\w+)", head))
    assert extras == {"flights", "polars", "celery", "k8s", "s3"}
    assert extras <= set(project["optional-dependencies"])
    assert any("--require-hashes" in line for line in instructions("RUN"))


def test_the_image_has_the_versions_that_are_tested() -> None:
    pin = re.compile(r"^([\w.-]+)==([^\s;]+)", re.MULTILINE)
    tested = dict(pin.findall((CHECKOUT / "constraints.txt").read_text()))
    installed = dict(pin.findall((DEPLOY / "requirements.txt").read_text()))
    other = {name for name, version in installed.items() if tested.get(name, version) != version}
    assert other == set(), "renew deploy/requirements.txt by the command at its top"
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]
    needed = {re.split(r"[>=\[]", line)[0] for line in project["dependencies"]}
    assert needed <= installed.keys()


def test_the_image_has_a_python_that_the_project_supports() -> None:
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]
    assert set(instructions("FROM")) == {"${BASE}", "${BASE} AS build"}
    (image,) = [line for line in instructions("ARG") if line.startswith("BASE=")]
    match = re.fullmatch(r"BASE=python:3\.(\d+)-slim", image)
    assert match is not None
    assert project["requires-python"] == ">=3.11,<3.14"
    assert 11 <= int(match[1]) <= 13


def test_the_image_does_not_run_as_root() -> None:
    assert instructions("USER") == ["10001:10001"]
    assert read("values.yaml")["dagster-user-deployments"]["deployments"][0]["podSecurityContext"][
        "runAsUser"
    ] == int(instructions("USER")[0].split(":")[0])


def test_the_image_serves_the_code_as_compose_and_the_chart_do() -> None:
    (command,) = instructions("CMD")
    image = yaml.safe_load(command)
    assert image == read("docker-compose.yaml")["services"]["code_server"]["command"]
    (deployment,) = read("values.yaml")["dagster-user-deployments"]["deployments"]
    assert shlex.join(deployment["dagsterApiGrpcArgs"]) in shlex.join(image)
    assert deployment["port"] == 4000


def test_volumes_of_compose_are_directories_that_the_image_gives_to_its_user() -> None:
    made = next(line for line in instructions("RUN") if "mkdir" in line)
    services = read("docker-compose.yaml")["services"]
    for name in ("code_server", "webserver", "daemon"):
        for volume in services[name]["volumes"]:
            assert volume.split(":")[1] in made
