"""Where the embedded server keeps its things, and how files there are written.

Everything lies in `<home>/postgres`, which only its owner may enter (mode 700):

    data/           the cluster; when root uses the home, it belongs to the server's account
    password        of the role `data_pipeline`; mode 600
    port            the port of the last start, tried first at the next
    server.log      standard streams of the server, kept small; server.log.1 is the older part
    start.lock      held while a process starts, initialises or stops the server
    server.lock     held by the server and its backends as long as one of them lives
    initialising-*  a cluster in the making; renamed to data/ when it is complete
"""

import os
import pwd
import secrets
from pathlib import Path

from data_pipeline.errors import EmbeddedServerError


def create_private(directory: Path) -> None:
    """Create a directory where there is none, closed to others (mode 700) whatever the umask.

    One that exists stays as it is. Missing directories above it get the usual mode.

    Raises:
        OSError: It cannot be created.
    """
    directory.parent.mkdir(parents=True, exist_ok=True)
    try:
        directory.mkdir(mode=0o700)
    except FileExistsError:
        if not directory.is_dir():
            raise
    else:
        directory.chmod(0o700)  # a umask may have taken rights of the owner


class Layout:
    """The paths below one home directory (absolute), as listed above."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.base = home / "postgres"
        self.data = self.base / "data"
        self.password = self.base / "password"
        self.port = self.base / "port"
        self.log = self.base / "server.log"
        self.start_lock = self.base / "start.lock"
        self.server_lock = self.base / "server.lock"

    def check_owner(self) -> None:
        """Raise when this user may not use the server of this home.

        Raises:
            EmbeddedServerError: The directory belongs to another user.
        """
        try:
            owner = self.base.stat().st_uid
        except FileNotFoundError:
            return
        except PermissionError as error:
            raise EmbeddedServerError(
                f"The embedded PostgreSQL in {self.base} cannot be reached by the user "
                f"{user_name(os.geteuid())}. Set DATA_PIPELINE_HOME to a directory of your own."
            ) from error
        if os.geteuid() not in (0, owner):
            raise EmbeddedServerError(
                f"The embedded PostgreSQL in {self.base} belongs to the user {user_name(owner)}, "
                f"not to {user_name(os.geteuid())}. Run the command as {user_name(owner)}, or set "
                "DATA_PIPELINE_HOME to a directory of your own."
            )

    def prepare(self) -> None:
        """Create the directory of the embedded server where it is missing.

        Raises:
            EmbeddedServerError: It cannot be created, or belongs to another user.
        """
        self.check_owner()
        try:
            create_private(self.home)
            create_private(self.base)
        except OSError as error:
            raise EmbeddedServerError(
                f"The directory {self.base} for the embedded PostgreSQL cannot be created: "
                f"{error.strerror}. Set DATA_PIPELINE_HOME to a directory that the user "
                f"{user_name(os.geteuid())} can write."
            ) from error

    def open_private(self, path: Path, flags: int) -> int:
        """Open a file of this directory, readable by its owner alone; gives the descriptor.

        What root creates here is given to the owner of the directory, so that this owner can
        go on using it.
        """
        descriptor = os.open(path, flags | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        if os.geteuid() == 0:
            owner = self.base.stat()
            os.fchown(descriptor, owner.st_uid, owner.st_gid)
        return descriptor

    def write(self, path: Path, text: str) -> None:
        """Replace a file of this directory by `text`, whole or not at all."""
        staged = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
        with os.fdopen(self.open_private(staged, os.O_WRONLY | os.O_EXCL), "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        staged.rename(path)


def user_name(uid: int) -> str:
    """The name of a user for a message (the number where there is no name)."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
