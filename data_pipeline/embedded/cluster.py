"""Make a cluster: beside its final place, renamed when it is complete."""

import os
import secrets
import shutil
import tempfile
from pathlib import Path

from data_pipeline.embedded.account import Account, reachable, run_as
from data_pipeline.embedded.binaries import Binaries
from data_pipeline.embedded.home_layout import Layout
from data_pipeline.embedded.postgresql_conf import (
    PG_HBA_CONF,
    POSTGRESQL_CONF,
    write_in_cluster,
    write_settings,
)
from data_pipeline.errors import EmbeddedServerError

ROLE = "data_pipeline"
DATABASE = "data_pipeline"


def existing_major(data: Path) -> int | None:
    """The major version that made the data; None when there is no data.

    Raises:
        EmbeddedServerError: The directory exists, but is not a cluster.
    """
    if not data.exists():
        return None
    try:
        return int((data / "PG_VERSION").read_text())
    except (FileNotFoundError, ValueError) as error:
        raise EmbeddedServerError(
            f"The directory {data} is not a PostgreSQL cluster (no readable PG_VERSION). "
            "Move it away; a new cluster is then made at the next start."
        ) from error


def initialise(layout: Layout, binaries: Binaries, account: Account, server_lock: int) -> None:
    """Make the cluster of a layout, with role, password and database.

    The processes that do it inherit the server's lock: when this process is killed, the next one
    waits for them.

    Raises:
        EmbeddedServerError: initdb failed; the message has its output.
    """
    for leftover in layout.base.glob("initialising-*"):
        shutil.rmtree(leftover)
    new = Path(tempfile.mkdtemp(prefix="initialising-", dir=layout.base))
    try:
        if account.is_other:
            os.chown(new, account.uid, account.gid)
        _initdb(new, binaries, account, server_lock)
        write_in_cluster(new / "postgresql.conf", POSTGRESQL_CONF, account)
        write_in_cluster(new / "pg_hba.conf", PG_HBA_CONF, account)
        write_settings(new, account)
        password = set_password(layout, new, binaries, account, server_lock, with_database=True)
        layout.write(layout.password, password)
        _sync(new)
        new.rename(layout.data)
        _sync(layout.base)
    except BaseException:
        shutil.rmtree(new, ignore_errors=True)
        raise


def set_password(
    layout: Layout,
    data: Path,
    binaries: Binaries,
    account: Account,
    server_lock: int,
    *,
    with_database: bool = False,
) -> str:
    """Return the role a new password, in single-user mode (no server may be running).

    Returns:
        The password; the caller keeps it.
    """
    password = secrets.token_urlsafe(32)
    statements = f"ALTER ROLE {ROLE} PASSWORD '{password}'\n"  # of token_urlsafe: no quotes in it
    if with_database:
        statements += f"CREATE DATABASE {DATABASE}\n"
    with reachable(data, account) as (path, descriptors):
        process = run_as(
            account,
            [binaries.postgres, "--single", "-D", path, "-c", "exit_on_error=on", "postgres"],
            pass_fds=[*descriptors, server_lock],
            text=statements,
        )
    if process.returncode != 0:
        output = process.stdout.replace(password, "***")
        raise EmbeddedServerError(
            f"The role {ROLE} of the embedded PostgreSQL in {layout.base} could not be given its "
            f"password. Its output:\n{output.strip()}"
        )
    return password


def _initdb(new: Path, binaries: Binaries, account: Account, server_lock: int) -> None:
    """Run initdb: UTF-8, sorted by code point (the same on every machine), case by Unicode."""
    if binaries.major >= 17:
        locale = ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"]
    else:
        locale = ["--locale=C", "--lc-ctype=C.UTF-8"]
    # The authentication is set by our own pg_hba.conf, before this cluster is ever served.
    options = ["--encoding=UTF8", *locale, f"--username={ROLE}", "--auth=trust"]
    with reachable(new, account) as (path, descriptors):
        process = run_as(
            account,
            [binaries.initdb, *options, "--no-instructions", "-D", path],
            pass_fds=[*descriptors, server_lock],
        )
    if process.returncode != 0:
        raise EmbeddedServerError(
            f"initdb of PostgreSQL {binaries.major} ({binaries.directory}), run by the user "
            f"{account.name}, could not make a cluster in {new.parent}. "
            f"Its output:\n{process.stdout.strip()}"
        )


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
