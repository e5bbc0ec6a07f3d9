"""Redis as the broker of Celery workers, as a process that can be killed and started again."""

import shutil
import socket
import subprocess
from pathlib import Path

import pytest

from data_pipeline_tests.io_manager.runs import wait_until


class Broker:
    """A server that keeps nothing on disk.

    Args:
        folder: Where it works.
    """

    def __init__(self, folder: Path) -> None:
        program = shutil.which("redis-server")
        if program is None:
            pytest.skip(
                "NOT TESTED: there is no redis-server (Debian: apt-get install redis-server)"
            )
        with socket.socket() as found:
            found.bind(("127.0.0.1", 0))
            self._port = found.getsockname()[1]
        options = ("--port", str(self._port), "--bind", "127.0.0.1", "--save", "", "--dir", folder)
        self._command = [program, *options]
        self.url = f"redis://127.0.0.1:{self._port}"
        self.start()

    def start(self) -> None:
        """Return when it answers."""
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL)
        wait_until(self._answers)

    def kill(self) -> None:
        """End it by signal 9; what waited is lost."""
        self._process.kill()
        self._process.wait()

    def _answers(self) -> bool:
        with socket.socket() as client:
            return client.connect_ex(("127.0.0.1", self._port)) == 0
