"""The services of compose files as containers: what `docker compose up` would do with them.

It knows the keys that these files use, and fails at others. Images of registries have stand-ins.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml

from data_pipeline_tests.launch.compose import interpolated
from data_pipeline_tests.launch.containers.podman import Podman
from data_pipeline_tests.patience import PATIENCE

T = TypeVar("T")
_JOINED = ("volumes", "ports")
_IGNORED = frozenset(
    {"build", "image", "command", "depends_on", "healthcheck", "deploy", "stop_grace_period"}
)
_OPTIONS = {
    "restart": "--restart",
    "shm_size": "--shm-size",
    "user": "--user",
    "tmpfs": "--tmpfs",
    "cap_drop": "--cap-drop",
    "security_opt": "--security-opt",
    "ports": "--publish",
}
_FLAGS = {"init": "--init", "read_only": "--read-only"}


def merged(first: Any, second: Any, key: str = "") -> Any:
    """Return what a file says after another one has been laid over it."""
    if isinstance(first, dict) and isinstance(second, dict):
        both = first.keys() & second.keys()
        return {**first, **second, **{k: merged(first[k], second[k], k) for k in both}}
    if key in _JOINED:
        return [*first, *second]
    return second


class Composed:
    """Containers of the services of compose files.

    Args:
        podman: What runs them.
        files: The compose files, each laid over the one before.
        variables: Those of the file `.env`.
        images: What stands in for an image.
    """

    def __init__(
        self,
        podman: Podman,
        files: Sequence[Path],
        variables: Mapping[str, str],
        images: Mapping[str, str],
    ) -> None:
        self._podman, self._images = podman, images
        self._folder = files[0].parent
        whole: Any = {}
        for file in files:
            whole = merged(whole, yaml.safe_load(file.read_text()))
        self.services: dict[str, Any] = interpolated(whole, variables)["services"]
        self._network = "deploy_test"

    def up(self) -> None:
        """Start all services, each when those that it depends on are healthy."""
        self._podman("network", "create", self._network)
        started: list[str] = []
        while rest := [name for name in self.services if name not in started]:
            ready = [n for n in rest if set(self._before(n)) <= set(started)]
            assert ready, f"{rest} wait for each other"
            for name in ready:
                for service in self._before(name):
                    self.wait_for(f"{service} is healthy", lambda s=service: self.is_healthy(s))
                self.start(name)
                started.append(name)

    def start(self, service: str) -> None:
        """Start the containers of a service."""
        said = self.services[service]
        for name in self.names(service):
            options = [*self._options(service, said)]
            image = self._images.get(said["image"], said["image"])
            self._podman("run", "--detach", "--name", name, *options, image, *said["command"])

    def names(self, service: str) -> list[str]:
        """Return the names of the containers of a service."""
        count = self.services[service].get("deploy", {}).get("replicas", 1)
        return [service if count == 1 else f"{service}_{n + 1}" for n in range(count)]

    def is_healthy(self, service: str) -> bool:
        """Whether the health checks of a service succeed in its containers."""
        kind, *command = self.services[service]["healthcheck"]["test"]
        command = ["/bin/sh", "-c", *command] if kind == "CMD-SHELL" else command
        names = self.names(service)
        return all(self.executes(name, *command) for name in names)

    def executes(self, container: str, *command: str) -> bool:
        """Whether a command succeeds in a container."""
        return self._podman.succeeds("exec", container, *command)

    def wait_for(self, what: str, check: Callable[[], T | None]) -> T:
        """Return the first result of `check` that is true."""
        deadline = time.monotonic() + PATIENCE
        while not (found := check()):
            assert time.monotonic() < deadline, f"waiting for {what} in vain\n{self.output()}"
            time.sleep(0.5)
        return found

    def output(self) -> str:
        """Return the end of what all containers have printed."""
        names = [name for service in self.services for name in self.names(service)]
        logs = {name: self._podman.logs(name) for name in names}
        return "\n".join(f"---- {name}\n{text[-4000:]}" for name, text in logs.items())

    def _before(self, service: str) -> list[str]:
        return list(self.services[service].get("depends_on", {}))

    def _options(self, service: str, said: Mapping[str, Any]) -> Sequence[str]:
        found = ["--network", self._network, "--network-alias", service]
        for key, value in said.items():
            if key == "environment":
                found += [word for k, v in value.items() for word in ("--env", f"{k}={v}")]
            elif key == "volumes":
                found += [word for v in value for word in ("--volume", self._volume(v))]
            elif key in _FLAGS:
                found += [_FLAGS[key]] if value else []
            elif key in _OPTIONS:
                values = value if isinstance(value, list) else [value]
                found += [word for v in values for word in (_OPTIONS[key], str(v))]
            else:
                assert key in _IGNORED, f"`{key}` of service {service} is not understood"
        return found

    def _volume(self, volume: str) -> str:
        return f"{self._folder}/{volume[2:]}" if volume.startswith("./") else volume
