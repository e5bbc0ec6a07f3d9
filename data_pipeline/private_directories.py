"""Directories that only their owner may enter: they hold data, and texts of queries."""

from pathlib import Path


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
