"""As whom the server runs: PostgreSQL refuses root, so root hands it to an unprivileged account."""

import errno
import os
import pwd
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from data_pipeline.embedded.home_layout import user_name
from data_pipeline.errors import EmbeddedServerError


@dataclass(frozen=True)
class Account:
    """The user and group of the server's processes."""

    uid: int
    gid: int

    @property
    def name(self) -> str:
        """The user's name for messages."""
        return user_name(self.uid)

    @property
    def is_other(self) -> bool:
        """Whether this process must change its user to become this account."""
        return self.uid != os.geteuid()


def server_account(data: Path) -> Account:
    """The account for a cluster: this user; for root the data's owner, `postgres` or `nobody`.

    Raises:
        EmbeddedServerError: The data belongs to root, or root finds no account to change to.
    """
    if os.geteuid() != 0:
        return Account(os.geteuid(), os.getegid())
    if data.exists():
        owner = data.stat()
        if owner.st_uid != 0:
            return Account(owner.st_uid, owner.st_gid)
        raise EmbeddedServerError(
            f"The embedded PostgreSQL cannot use {data}: it belongs to root, as which PostgreSQL "
            f"refuses to run. Give it to another user: chown -R nobody {data}"
        )
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(entry.pw_uid, entry.pw_gid)
    raise EmbeddedServerError(
        "PostgreSQL refuses to run as root, and this system has neither a user `postgres` nor a "
        "user `nobody` to run the embedded server. Create one: useradd --system postgres"
    )


@contextmanager
def reachable(directory: Path, account: Account) -> Iterator[tuple[str, tuple[int, ...]]]:
    """A path by which the account reaches its own directory, and descriptors it must inherit.

    Another account may be unable to enter the directories above (`/root` has mode 700), and we
    do not open them up. So we open the directory and pass it on: `/proc/self/fd/N` leads there
    without a walk through its parents. The server changes into its data directory at once and
    keeps the descriptor all its life, like all processes that it forks.
    """
    if not account.is_other or not sys.platform.startswith("linux"):
        yield str(directory), ()
        return
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{descriptor}", (descriptor,)
    finally:
        os.close(descriptor)


def run_as(
    account: Account,
    command: Sequence[str | Path],
    *,
    pass_fds: Sequence[int] = (),
    output: int = subprocess.PIPE,
    text: str = "",
    new_session: bool = False,
) -> subprocess.CompletedProcess[str]:
    """Run a command as the account, with a bare environment, and wait for it.

    Args:
        account: Who runs it.
        command: Program and arguments.
        pass_fds: Descriptors that it inherits.
        output: Where both standard streams go; by default into the result's `stdout`.
        text: Standard input.
        new_session: Take it away from the terminal, so that Ctrl-C does not reach it.

    Returns:
        The finished process, whatever its exit code.

    Raises:
        EmbeddedServerError: This process may not change to the account.
        OSError: The command cannot be executed.
    """
    change = account.is_other
    try:
        return subprocess.run(  # noqa: S603 - the commands are ours, without a shell's parsing
            [str(part) for part in command],
            input=text,
            stdout=output,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            cwd="/",
            env=_environment(),
            umask=0o077,
            pass_fds=pass_fds,
            start_new_session=new_session,
            user=account.uid if change else None,
            group=account.gid if change else None,
            extra_groups=() if change else None,
        )
    except OSError as error:
        if change and error.errno in (errno.EPERM, errno.EINVAL):
            raise EmbeddedServerError(
                f"PostgreSQL refuses to run as root, and this process may not change to the user "
                f"{account.name}: {error.strerror}. Run it as a normal user, or let the container "
                "have the capabilities SETUID and SETGID."
            ) from error
        raise


def _environment() -> dict[str, str]:
    """No PG* variable that would redirect the server, and no secret of this process."""
    kept = {name: os.environ[name] for name in ("LD_LIBRARY_PATH",) if name in os.environ}
    return {"PATH": "/usr/local/bin:/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC", **kept}
