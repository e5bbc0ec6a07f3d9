"""Start and stop the server's processes. The caller holds the start lock."""

import logging
import os
import signal
import time
from typing import TYPE_CHECKING

from data_pipeline.embedded import processes
from data_pipeline.embedded.account import Account, reachable, run_as, server_account
from data_pipeline.embedded.binaries import Binaries, find_binaries
from data_pipeline.embedded.cluster import (
    ROLE,
    existing_major,
    initialise,
    set_password,
)
from data_pipeline.embedded.home_layout import Layout
from data_pipeline.embedded.ports import HOST, accepts_connections, choose_port
from data_pipeline.embedded.postgresql_conf import write_settings
from data_pipeline.errors import EmbeddedServerError

if TYPE_CHECKING:
    import psutil


logger = logging.getLogger(__name__)

SECONDS_TO_START_OR_STOP = 300.0
"""A start includes the recovery after a crash."""

PORT_ATTEMPTS = 10
# What to send to processes that outlived their postmaster, and how long to wait afterwards.
ORPHAN_SIGNALS = ((None, 2.0), (signal.SIGTERM, 5.0), (signal.SIGQUIT, 5.0), (signal.SIGKILL, 10.0))
# A shell puts the server into the background, so that it never becomes our zombie.
BACKGROUND = ("/bin/sh", "-c", '"$@" &', "sh")


def launch(layout: Layout, timeout: float) -> int:
    """Start the server of a layout, where none is running; make its cluster if need be.

    Returns:
        The port on which it accepts connections.

    Raises:
        EmbeddedServerError: It did not start.
    """
    lock = claim_server_lock(layout)
    try:
        account = server_account(layout.data)
        binaries = find_binaries(account, existing_major(layout.data))
        if not layout.data.exists():
            logger.info("Making the embedded PostgreSQL %s in %s", binaries.major, layout.base)
            initialise(layout, binaries, account, lock)
        # No process of this cluster is left: whatever it names, it is not a server of ours.
        (layout.data / "postmaster.pid").unlink(missing_ok=True)
        if not layout.password.exists():
            logger.warning("%s is gone: setting a new password", layout.password)
            layout.write(
                layout.password, set_password(layout, layout.data, binaries, account, lock)
            )
        write_settings(layout.data, account)
    finally:
        os.close(lock)
    for attempt in range(PORT_ATTEMPTS):
        port = choose_port(layout, first=attempt == 0)
        if _launch_on(layout, binaries, account, port, timeout):
            layout.write(layout.port, str(port))
            return port
    raise EmbeddedServerError(
        f"The embedded PostgreSQL in {layout.base} found no free port on {HOST} in "
        f"{PORT_ATTEMPTS} attempts. See {layout.log}."
    )


def shut_down(layout: Layout, server: "psutil.Process", timeout: float) -> None:
    """Stop a postmaster (fast shutdown) and wait until it is gone.

    Raises:
        EmbeddedServerError: It is not down after the timeout.
    """
    deadline = time.monotonic() + timeout
    server.send_signal(signal.SIGINT)
    while processes.postmaster(layout.data) is not None:
        if time.monotonic() > deadline:
            raise EmbeddedServerError(
                f"The embedded PostgreSQL in {layout.base} (process {server.pid}) is still "
                f"shutting down after {timeout:.0f} seconds. See {layout.log}."
            )
        time.sleep(processes.POLL_SECONDS)


def claim_server_lock(layout: Layout) -> int:
    """Take the server's lock where there is no postmaster; ends processes that outlived one.

    Returns:
        The descriptor that holds the lock.

    Raises:
        EmbeddedServerError: Such a process does not end.
    """
    for number, seconds in ORPHAN_SIGNALS:
        if number is not None:
            logger.warning(
                "Sending %s to processes left by an earlier server in %s", number.name, layout.base
            )
            processes.send_to_orphans(layout.base, layout.data, number)
        deadline = time.monotonic() + seconds
        while True:
            descriptor = processes.claim(layout, layout.server_lock)
            if descriptor is not None:
                return descriptor
            if time.monotonic() > deadline:
                break
            time.sleep(processes.POLL_SECONDS)
    raise EmbeddedServerError(
        f"Processes of an earlier embedded PostgreSQL in {layout.base} do not end. Find them with "
        f"`fuser {layout.server_lock}`, end them, and try again."
    )


def _launch_on(
    layout: Layout, binaries: Binaries, account: Account, port: int, timeout: float
) -> bool:
    """Start the server on a port; False when another process took the port in the meantime."""
    log = layout.open_private(layout.log, os.O_WRONLY | os.O_APPEND)
    lock = claim_server_lock(layout)
    log_start = os.fstat(log).st_size
    fixed = {
        "listen_addresses": HOST,
        "port": str(port),
        "unix_socket_directories": "",
        "cluster_name": processes.cluster_name(layout.data),
    }
    options = [part for name, value in fixed.items() for part in ("-c", f"{name}={value}")]
    try:
        with reachable(layout.data, account) as (path, descriptors):
            run_as(
                account,
                [*BACKGROUND, str(binaries.postgres), "-D", path, *options],
                pass_fds=[*descriptors, lock],
                output=log,
                new_session=True,
            )
    finally:
        os.close(lock)
        os.close(log)
    if _await_answer(layout, port, timeout):
        return True
    output = layout.log.read_bytes()[log_start:].decode(errors="replace").strip()
    if "could not bind" in output:
        return False
    raise EmbeddedServerError(
        f"The embedded PostgreSQL {binaries.major} in {layout.base}, run by the user "
        f"{account.name}, did not start. The end of its log {layout.log}:\n{output[-3000:]}"
    )


def _await_answer(layout: Layout, port: int, timeout: float) -> bool:
    """Wait until the server accepts connections; False when its processes ended."""
    deadline = time.monotonic() + timeout
    while processes.is_held(layout.server_lock):
        written = processes.PidFile.read(layout.data)
        if (
            written is not None
            and (written.port, written.status) == (port, "ready")
            and accepts_connections(port, ROLE)
        ):
            return True
        if time.monotonic() > deadline:
            raise EmbeddedServerError(
                f"The embedded PostgreSQL in {layout.base} has not accepted a connection after "
                f"{timeout:.0f} seconds: it may be recovering from a crash, and goes on. "
                f"See {layout.log} and try again later."
            )
        time.sleep(processes.POLL_SECONDS)
    return False
