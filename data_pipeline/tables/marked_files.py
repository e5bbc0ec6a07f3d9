"""Files that are known by their content, with a mark on those that nobody has touched since.

The mark is in the time of a file's last change: its fraction of a second follows from the content.
Whatever writes to the file sets another one, while `cp -p`, `rsync -a` and backups keep it. So most
files need not be read to be known; the content settles what the mark leaves open. A mark may be
forged, or a disk may fail, which is why whoever loads a file has to look at its content anyway.
"""

import functools
import hashlib
import os
import stat
from contextlib import suppress
from pathlib import Path

DROPPED = "was dropped"
"""What became of a file that is not there."""

_OTHER = "has other content than was committed"
_SECOND = 1_000_000_000
# Whole microseconds, never 0: some file systems and archives keep no finer times, or cut them off.
_MICROSECOND, _MARKS = 1_000, 999_999


def version(content: bytes) -> str:
    """Give the identity of a file's content: the first 32 hex digits of its SHA-256."""
    return _shortened(hashlib.sha256(content).hexdigest())


def mark(handle: int, known: str) -> None:
    """Mark a file as what it was written to be.

    Args:
        handle: The open file.
        known: The version of its content.
    """
    found = os.stat(handle)
    seconds = found.st_mtime_ns // _SECOND * _SECOND
    os.utime(handle, ns=(found.st_atime_ns, seconds + _fraction(known)))


def damage(path: Path, known: str, size: int | None) -> str | None:
    """Say what became of a file; None if it is what was written.

    Args:
        path: The file.
        known: The version of the content that was written.
        size: Its size in bytes, where that is known.

    Returns:
        `DROPPED`, or what else is wrong with it.
    """
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            return DROPPED
        if size not in (None, found.st_size):
            return _OTHER
        if found.st_mtime_ns % _SECOND == _fraction(known):
            return None
        if _version_of(path, _state(found)) != known:
            return _OTHER
    except (FileNotFoundError, NotADirectoryError):
        return DROPPED
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    _mark_again(path, known, found)
    return None


def distrust(path: Path, found: os.stat_result, aside: Path) -> None:
    """Let the next look see that a file is not what its mark says.

    Args:
        path: The file.
        found: What it was when it was read; what has taken its place since is left alone.
        aside: Where it goes if its time cannot be set, as it is another user's.
    """
    with suppress(OSError):
        if _state(path.stat()) != _state(found):
            return
        try:
            os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns // _SECOND * _SECOND))
        except PermissionError:
            path.replace(aside)


def _mark_again(path: Path, known: str, found: os.stat_result) -> None:
    """Spare the next look the reading, where this user may set the time and nobody wrote."""
    with suppress(OSError), path.open("rb") as file:
        if _state(os.fstat(file.fileno())) == _state(found):
            mark(file.fileno(), known)


def _fraction(known: str) -> int:
    return (1 + int(known, 16) % _MARKS) * _MICROSECOND


def _shortened(digest: str) -> str:
    return digest[:32]


def _state(found: os.stat_result) -> tuple[int, ...]:
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


@functools.lru_cache(maxsize=4096)
def _version_of(path: Path, _state: tuple[int, ...]) -> str:
    """Read a file once in each state; a run looks several times at what it has."""
    with path.open("rb") as file:
        return _shortened(hashlib.file_digest(file, "sha256").hexdigest())
