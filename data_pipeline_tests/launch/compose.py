"""A compose file's services as plain processes, as near to containers as one machine allows.

Commands, environments and health checks are those of the file. What containers would provide is
put in place here: service names are loopback, a volume or a directory of the image is a directory,
and since all processes share one network, each container port has a free port of its own.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from data_pipeline_tests.launch.processes import environment, execute, free_port

_VARIABLE = re.compile(r"\$\$|\$\{(\w+)(?:(:-|:\?)([^}]*))?\}")
_ADDRESS = re.compile(r"(?<=@)(\w+):(\d+)|(?<=://)(127\.0\.0\.1):(\d+)")


def interpolated(value: Any, variables: Mapping[str, str]) -> Any:
    """A value of the file after `${NAME}`, `${NAME:-default}`, `${NAME:?message}` and `$$`."""
    if isinstance(value, dict):
        return {key: interpolated(item, variables) for key, item in value.items()}
    if isinstance(value, list):
        return [interpolated(item, variables) for item in value]
    if not isinstance(value, str):
        return value

    def replaced(match: re.Match[str]) -> str:
        name, operator, argument = match.groups()
        if name is None:
            return "$"
        if variables.get(name):
            return variables[name]
        assert operator == ":-", f"{match.group()} is not set"
        return str(argument)

    return _VARIABLE.sub(replaced, value)


def env_file(text: str) -> dict[str, str]:
    """The variables of an `.env` file."""
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)


@dataclass
class Machine:
    """What stands in for containers: directories for paths, free ports for ports.

    Attributes:
        root: The directory below which the containers' directories lie.
        hosts: Where services are that this test does not start, by service name.
        ports: The port that stands in for a container's port.
    """

    root: Path
    hosts: Mapping[str, str] = field(default_factory=dict)
    ports: dict[str, str] = field(default_factory=dict)

    def port(self, port: str) -> str:
        """The port that stands in for a container's port."""
        return self.ports.setdefault(port, str(free_port()))

    def path(self, path: str) -> Path:
        """The directory that stands in for a container's directory."""
        found = self.root / path.lstrip("/")
        found.mkdir(parents=True, exist_ok=True)
        return found

    def host(self, service: str) -> str:
        """Where a service is."""
        return self.hosts.get(service, "127.0.0.1")

    def here(self, text: str) -> str:
        """A command's argument or a variable's value, as it is on this machine."""
        if text.startswith("/"):
            return str(self.path(text))
        if text == "0.0.0.0":
            return "127.0.0.1"
        if text.isdigit() and int(text) >= 1024:
            return self.port(text)
        return _ADDRESS.sub(lambda found: self._address(*filter(None, found.groups())), text)

    def _address(self, service: str, port: str) -> str:
        return f"{self.host(service)}:{self.port(port)}"


@dataclass(frozen=True)
class Compose:
    """The services of a compose file on a machine."""

    services: Mapping[str, Any]
    machine: Machine

    @classmethod
    def read(cls, file: Path, variables: Mapping[str, str], machine: Machine) -> "Compose":
        """The services of a file, with the variables filled in."""
        return cls(interpolated(yaml.safe_load(file.read_text()), variables)["services"], machine)

    def environment(self, service: str) -> dict[str, str]:
        """The environment that the file gives a service, and nothing else of this project's."""
        given = self.services[service]["environment"]
        return environment(
            **{
                name: self.machine.host(value)
                if name.endswith("_HOST")
                else self.machine.here(value)
                for name, value in given.items()
            }
        )

    def command(self, service: str) -> list[str]:
        """The command that the file gives a service."""
        return [self.machine.here(argument) for argument in self.services[service]["command"]]

    def healthy(self, service: str, **more: str) -> bool:
        """Whether the service's health check, executed once, finds it healthy."""
        kind, *command = self.services[service]["healthcheck"]["test"]
        shell = ["/bin/sh", "-c"] if kind == "CMD-SHELL" else []
        env = {**self.environment(service), **more}
        command = [*shell, *map(self.machine.here, command)]
        home = self.machine.path("/opt/dagster")
        return execute(*command, env=env, cwd=home).returncode == 0
