"""The embedded server: start it, stop it, ask for its URL."""

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from data_pipeline.embedded import launch, processes, server_log
from data_pipeline.embedded.cluster import DATABASE, ROLE
from data_pipeline.embedded.home_layout import Layout
from data_pipeline.embedded.launch import SECONDS_TO_START_OR_STOP
from data_pipeline.embedded.ports import HOST, accepts_connections
from data_pipeline.errors import EmbeddedServerError

if TYPE_CHECKING:
    import sqlalchemy as sa

Status = Literal["running", "busy", "stopped", "absent"]


class EmbeddedServer:
    """The private PostgreSQL server of one home directory.

    Any number of processes may use it at once: the first `start` starts it, and it goes on running
    when they end. It listens on loopback only and wants a generated password.

    Args:
        home: DATA_PIPELINE_HOME; the server's data lies in `<home>/postgres`.
        timeout: Seconds to wait for a start (crash recovery included) or a stop.
    """

    def __init__(self, home: Path, timeout: float = SECONDS_TO_START_OR_STOP) -> None:
        self._layout = Layout(Path(home).expanduser().resolve())
        self._timeout = timeout

    def __repr__(self) -> str:
        return f"<EmbeddedServer {self.status} in {str(self._layout.base)!r}>"

    @property
    def data(self) -> Path:
        """The data directory."""
        return self._layout.data

    @property
    def status(self) -> Status:
        """What the server does: `busy` is starting, recovering or stopping."""
        self._layout.check_owner()
        if self._port() is not None:
            return "running"
        if processes.is_held(self._layout.server_lock) or processes.postmaster(self.data):
            return "busy"
        return "stopped" if self.data.exists() else "absent"

    def url(self) -> "sa.URL | None":
        """The URL of the server with its password, or None when it is not running.

        Raises:
            EmbeddedServerError: It belongs to another user, or its password file is gone.
        """
        self._layout.check_owner()
        port = self._port()
        return None if port is None else self._url(port)

    def start(self) -> "sa.URL":
        """Start the server unless it is running, and wait until it answers.

        Makes the cluster at the first start. After a crash it waits for orphaned processes to end
        and for the recovery.

        Returns:
            The URL of its database `data_pipeline`, with the password.

        Raises:
            EmbeddedServerError: No binaries, no permission, or the server did not start; the
                message says which, and has the server's own words.
        """
        url = self.url()
        if url is not None and not server_log.is_large(self._layout):
            return url
        self._layout.prepare()
        try:
            with processes.starting(self._layout, self._timeout):
                server_log.trim(self._layout)
                port = self._await_present() or launch.launch(self._layout, self._timeout)
        except OSError as error:
            raise EmbeddedServerError(
                f"The embedded PostgreSQL in {self._layout.base} could not be started: {error}"
            ) from error
        return self._url(port)

    def stop(self) -> bool:
        """Stop the server; connections are ended, open transactions rolled back.

        Returns:
            Whether there was one to stop.

        Raises:
            EmbeddedServerError: It is not down after the timeout.
        """
        self._layout.check_owner()
        if not self._layout.base.exists():
            return False
        with processes.starting(self._layout, self._timeout):
            server = processes.postmaster(self.data)
            if server is not None:
                launch.shut_down(self._layout, server, self._timeout)
            os.close(launch.claim_server_lock(self._layout))
        return server is not None

    def _port(self) -> int | None:
        """The port on which the server of this data directory answers, if it does."""
        written = processes.PidFile.read(self.data)
        if written is None or written.port is None or written.status != "ready":
            return None
        # The lock proves that our server lives; one that was started by hand has no lock.
        if not processes.is_held(self._layout.server_lock) and not processes.postmaster(self.data):
            return None
        return written.port if accepts_connections(written.port, ROLE) else None

    def _await_present(self) -> int | None:
        """Wait for a server that is starting, recovering or stopping; None when there is none."""
        deadline = time.monotonic() + self._timeout
        while True:
            if (port := self._port()) is not None:
                return port
            if processes.postmaster(self.data) is None:
                return None
            if time.monotonic() > deadline:
                raise EmbeddedServerError(
                    f"The embedded PostgreSQL in {self._layout.base} runs, but has accepted no "
                    f"connection for {self._timeout:.0f} seconds: it may be recovering from a "
                    f"crash. See {self._layout.log} and try again later."
                )
            time.sleep(processes.POLL_SECONDS)

    def _url(self, port: int) -> "sa.URL":
        import sqlalchemy as sa

        try:
            password = self._layout.password.read_text()
        except FileNotFoundError as error:
            raise EmbeddedServerError(
                f"The embedded PostgreSQL in {self._layout.base} runs, but its password file "
                f"{self._layout.password} is gone. Stop it with `data-pipeline db stop`: the next "
                "start sets a new password."
            ) from error
        return sa.URL.create("postgresql", ROLE, password, HOST, port, DATABASE)
