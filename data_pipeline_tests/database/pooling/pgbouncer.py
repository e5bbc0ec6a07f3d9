"""A real PgBouncer before the server of the tests."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa

from data_pipeline_tests.io_manager.runs import wait_until
from data_pipeline_tests.launch.processes import free_port

_SETTINGS = """
[databases]
* = host={host} port={server}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = plain
auth_file = {users}
{more}
"""


@contextmanager
def pgbouncer(url: sa.URL, **settings: object) -> Iterator[sa.URL]:
    """Start PgBouncer with some settings; yield the URL of a database by way of it."""
    program = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")
    if program is None:
        pytest.skip("NOT TESTED: there is no pgbouncer (Debian: apt-get install pgbouncer)")
    port = free_port()
    # Not below the folders of pytest, which are closed to the account that it runs as.
    with tempfile.TemporaryDirectory() as folder:
        users, configuration = Path(folder, "users.txt"), Path(folder, "pgbouncer.ini")
        users.write_text(f'"{url.username}" "{url.password or ""}"\n')
        configuration.write_text(
            _SETTINGS.format(
                host=url.host,
                server=url.port or 5432,
                port=port,
                users=users,
                more="\n".join(f"{name} = {value}" for name, value in settings.items()),
            )
        )
        account = None
        if os.geteuid() == 0:  # which it refuses to run as
            account = "nobody"
            for path in (folder, users, configuration):
                shutil.chown(path, account)
        log = Path(folder, "log")
        with log.open("wb") as output:
            process = subprocess.Popen(
                [program, str(configuration)], stdout=output, stderr=output, user=account
            )
        try:
            wait_until(lambda: b"process up" in log.read_bytes() or process.poll() is not None)
            assert process.poll() is None, log.read_text()
            yield url.set(host="127.0.0.1", port=port)
        finally:
            process.kill()
            process.wait()
