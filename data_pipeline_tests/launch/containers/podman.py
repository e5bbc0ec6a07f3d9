"""Containers of Debian's podman, with a storage of their own and without any registry."""

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

PROGRAMS = ("podman", "buildah", "runc", "debootstrap")
RELEASE = "trixie"
"""The release of Debian from which stand-ins are made; its Python is 3.13, its PostgreSQL 17."""

STANDINS = Path(__file__).parent
_STORAGE = """
[storage]
driver = "{driver}"
graphroot = "{folder}/storage"
runroot = "{folder}/run"
"""
_CONTAINERS = """
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]
[engine]
cgroup_manager = "cgroupfs"
runtime = "runc"
events_logger = "file"
[network]
network_backend = "netavark"
"""


class Podman:
    """Images and containers below a folder.

    Args:
        folder: Where all of it lies.
        driver: How layers are kept: `overlay`, or `vfs` where the kernel refuses that.
    """

    def __init__(self, folder: Path, driver: str = "overlay") -> None:
        missing = [program for program in PROGRAMS if shutil.which(program) is None]
        if missing or os.geteuid() != 0:
            pytest.skip(
                "NOT TESTED: as root, on Debian: apt-get install podman buildah runc debootstrap"
            )
        self.folder = folder
        for name, text in (("storage.conf", _STORAGE), ("containers.conf", _CONTAINERS)):
            (folder / name).write_text(text.format(folder=folder, driver=driver))
        (folder / "tmp").mkdir(exist_ok=True)  # there buildah keeps its caches
        self._environment = {
            **os.environ,
            "TMPDIR": str(folder / "tmp"),
            "CONTAINERS_STORAGE_CONF": str(folder / "storage.conf"),
            "CONTAINERS_CONF": str(folder / "containers.conf"),
        }

    def __call__(self, *arguments: str | Path, check: bool = True) -> str:
        """Return what a command of podman says."""
        return self._run(["podman", *arguments], check=check)

    def build(self, tag: str, file: Path, context: Path, *options: str) -> None:
        """Build an image."""
        how = ("bud", "--isolation", "chroot", "--network", "host", "--layers")
        self._run(["buildah", *how, *options, "--tag", tag, "--file", file, context])

    def succeeds(self, *arguments: str) -> bool:
        """Whether a command of podman succeeds."""
        return self._ended(["podman", *arguments]).returncode == 0

    def logs(self, container: str) -> str:
        """Return what a container has printed."""
        ended = self._ended(["podman", "logs", container])
        return ended.stdout + ended.stderr

    def make_debian(self) -> None:
        """Make the image that the stand-ins are built on, by debootstrap."""
        root, tar = self.folder / "root", self.folder / "root.tar"
        options = ("--variant=minbase", "--include=python3,python3-venv,ca-certificates")
        self._run(["debootstrap", *options, RELEASE, root])
        self._run(["tar", "-C", root, "-cf", tar, "--exclude=./proc/*", "--exclude=./sys/*", "."])
        self("import", tar, "localhost/debian:base")
        shutil.rmtree(root)
        tar.unlink()

    def make_stand_ins(self) -> None:
        """Make what stands in for the images python, postgres and redis."""
        context = self.folder / "stand_ins"
        shutil.copytree(STANDINS, context, dirs_exist_ok=True)
        # Where this machine trusts somebody more, the builds have to, too.
        shutil.copy("/etc/ssl/certs/ca-certificates.crt", context)
        for name in ("python", "servers"):
            self.build(f"localhost/{name}:base", context / f"{name}.Dockerfile", context)

    def remove_containers(self) -> None:
        """End all containers, and remove their networks and volumes."""
        self("rm", "--all", "--force", "--time", "0", check=False)
        self("volume", "prune", "--force", check=False)
        self("network", "prune", "--force", check=False)

    def remove_all(self) -> None:
        """Remove the images and all that lies in the folder."""
        self("rmi", "--all", "--force", check=False)
        self._ended(["umount", self.folder / "storage" / "overlay"])
        shutil.rmtree(self.folder, ignore_errors=True)

    def _run(self, command: Sequence[str | Path], *, check: bool = True) -> str:
        ended = self._ended(command)
        said = ended.stdout[-6000:] + ended.stderr[-6000:]
        assert not check or ended.returncode == 0, f"{command}\n{said}"
        return ended.stdout

    def _ended(self, command: Sequence[str | Path]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
