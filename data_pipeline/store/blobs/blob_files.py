"""Blobs: files that hold what is no table, such as a fitted model.

A blob is a pickle unless the project chose another serialiser for its type (see `serializers`).
Loading a pickle runs code that is stored in it, so a blob is only ever loaded from the directory of
the instance that made it, and if its content is what was committed; who can write there and to the
catalog can run code in the pipeline.
"""

import functools
import hashlib
import os
import re
import stat
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from data_pipeline.database.identifiers import StageTable
from data_pipeline.errors import IsolationError, TableNotFoundError, UnsupportedDataError
from data_pipeline.instances import Instance
from data_pipeline.store.blobs import remote_blobs, serializers
from data_pipeline.store.blobs.serializers import PICKLE, Serializer
from data_pipeline.store.catalog import CatalogRow

DROPPED = "was dropped"
"""What became of a file that is not there."""

_OTHER = "has other content than was committed"
_SECOND = 1_000_000_000
# Whole microseconds, never 0: some file systems and archives keep no finer times, or cut them off.
_MICROSECOND, _MARKS = 1_000, 999_999


def version(content: bytes) -> str:
    """Return the identity of a file's content: the first 32 hex digits of its SHA-256."""
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


_NEW = ".new."
_OURS = re.compile(r"(.+)\.[0-9a-f]{32}\.(?:pickle|[\w.]+:[\w.]+\.[A-Za-z0-9_-]+)", re.DOTALL)
_HALF_WRITTEN = re.compile(r"(.+)\.\w+", re.DOTALL)


@dataclass(frozen=True)
class Saved:
    """A blob's file that has been written.

    Attributes:
        location: The file, below the instance's directory.
        version: The identity of its content.
        bytes: Its size.
        suffix: Its format: `pickle`, or what its serialiser says.
    """

    location: str
    version: str
    bytes: int
    suffix: str


def directory(instance: Instance) -> Path:
    """Return the directory, or place in object storage, with all blobs of an instance."""
    if remote_blobs.is_remote(instance):
        return remote_blobs.place(instance)
    return Path(instance.blob_store.base_path) / instance.instance_id


def save(instance: Instance, table: StageTable, obj: Any) -> Saved:
    """Write an object, with the serialiser that the instance chose for its type, flushed to disk.

    Raises:
        ConfigurationError: The serialiser cannot be used.
        IsolationError: The asset's name leads out of the instance's directory.
        UnsupportedDataError: The object cannot be written.
    """
    serializer = serializers.chosen(instance, obj)
    content = serializer.dumps(table, obj)
    location = write(instance, table, content, serializer)
    return Saved(location, version(content), len(content), serializer.suffix)


def write(
    instance: Instance, table: StageTable, content: bytes, serializer: Serializer = PICKLE
) -> str:
    """Write a blob's file, flushed to disk, or its object; give its location.

    The file, and directories that it needs, are for nobody but this user.

    Raises:
        BlobStoreError: Object storage cannot be reached, or refuses.
        IsolationError: The asset's name leads out of that directory.
    """
    digest = version(content)
    location = f"{_beginning(table)}{digest}.{serializer.ending}"
    path = _inside(instance, f"Blob `{table}`", location)
    if remote_blobs.is_remote(instance):
        remote_blobs.put(instance, path, content)
        return location
    made = [folder for folder in path.parents if not folder.exists()]
    _make_folders(instance, path.parent)
    # With the table in its name, so that others know whether a run is at work on it.
    beginning = f"{_NEW}{PurePath(_beginning(table)).name}"
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=beginning)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
            mark(file.fileno(), digest)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    # A file, and a directory, survive a crash of the machine when the one that lists them does.
    for folder in (path.parent, *(folder.parent for folder in made)):
        _flush(folder)
    return location


def read(instance: Instance, table: StageTable, location: str, checksum: str | None = None) -> Any:
    """Load a blob by what it was written with, whatever the instance chooses now.

    Args:
        instance: Whose blob.
        table: Stage and name.
        location: The file, below the instance's directory.
        checksum: The version of the content that was committed; None: as the file's name says.

    Raises:
        ConfigurationError: The serialiser that wrote it is gone.
        IsolationError: The location points out of the instance's directory.
        TableNotFoundError: The file is gone, or has other content; the next run builds it again.
        UnsupportedDataError: It cannot be loaded with the present code.
    """
    path = _inside(instance, f"Blob `{table}`", location)
    where = f"Blob `{table}` of instance `{instance.name}`: its file {path}"
    found, content = _content(instance, path, where)
    if (digest := version(content)) != (known := checksum or _version(table, location)):
        aside = path.with_name(f"{_NEW}{path.name}")
        if found is None:
            remote_blobs.move(instance, path, aside)
        else:
            distrust(path, found, aside)
        raise TableNotFoundError(
            f"{where} has other content than was committed ({len(content)} bytes, whose SHA-256 "
            f"begins with {digest[:8]} instead of {known[:8]}), so it was not loaded and counts as "
            f"gone. Run again, which builds it again: {instance.build_command}"
        )
    serializer = serializers.by_ending(_ending(table, location), str(path))
    try:
        return serializer.loads(content)
    except Exception as error:  # pickle raises whatever the object's own code raises
        raise UnsupportedDataError(
            f"{where} cannot be loaded with the present code: {error}. Correct the code, or remove "
            f"the file, which lets the next run build it again: {instance.build_command}"
        ) from error


def _content(instance: Instance, path: Path, where: str) -> tuple[os.stat_result | None, bytes]:
    """Return what a file was when it was read, None for an object; and its content."""
    if remote_blobs.is_remote(instance):
        content = remote_blobs.content_of(instance, path)
        if content is None:
            raise _gone(instance, where)
        return None, content
    try:
        with path.open("rb") as file:
            return os.fstat(file.fileno()), file.read()
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        raise _gone(instance, where) from None
    except OSError as error:
        raise TableNotFoundError(
            f"{where} cannot be read: {error.strerror}. Let this user read it, or remove it, which "
            f"lets the next run build it again: {instance.build_command}"
        ) from None


def _gone(instance: Instance, where: str) -> TableNotFoundError:
    return TableNotFoundError(f"{where} is gone. Build it again: {instance.build_command}")


def flaw(instance: Instance, row: CatalogRow) -> str | None:
    """Say what became of a blob's file; None if it is what the catalog says.

    Args:
        instance: Whose blob.
        row: What the catalog says of it.

    Raises:
        IsolationError: The location points out of the instance's directory.
    """
    if row.location is None:
        return DROPPED
    path = _inside(instance, f"Blob `{row.table}`", row.location)
    if remote_blobs.is_remote(instance):
        size = remote_blobs.size_of(instance, path)
        return DROPPED if size is None else None if row.bytes in (None, size) else _OTHER
    known = row.checksum or _version(row.table, row.location)
    return damage(path, known, row.bytes)


def is_intact(instance: Instance, row: CatalogRow) -> bool:
    """Whether a blob's file is what the catalog says of it."""
    return flaw(instance, row) is None


def exists(instance: Instance, table: StageTable, location: str) -> bool:
    """Whether a blob's file is there."""
    path = _inside(instance, f"Blob `{table}`", location)
    if remote_blobs.is_remote(instance):
        return remote_blobs.size_of(instance, path) is not None
    return path.is_file()


def remove(instance: Instance, table: StageTable, location: str) -> None:
    """Remove the file of a blob that no catalog row points to any more."""
    remove_file(instance, _inside(instance, f"Blob `{table}`", location))


def remove_file(instance: Instance, path: Path) -> None:
    """Remove a file of an instance, if it is there.

    Raises:
        BlobStoreError: Object storage cannot be reached, or refuses.
    """
    if remote_blobs.is_remote(instance):
        remote_blobs.remove(instance, path)
    else:
        path.unlink(missing_ok=True)


def unreferenced(instance: Instance, stage: str, referenced: set[str]) -> list[Path]:
    """Return the files of a stage that nothing refers to, half-written ones of dead runs included.

    Files that do not look like those that this package writes are left out. What a run has written
    is referenced only when it is staged, so nothing goes while a run writes what it is of
    (`written_for`).

    Args:
        instance: Whose files.
        stage: The stage.
        referenced: The locations that any row of the catalog has.

    Raises:
        IsolationError: The stage's name leads out of the instance's directory.
    """
    folder = _inside(instance, f"Stage `{stage}`", stage)
    root = _root(instance)
    if folder == root:
        raise _outside(instance, f"Stage `{stage}`", stage, root)
    return [
        path
        for path in _files_below(instance, folder)
        if (path.name.startswith(_NEW) or _OURS.fullmatch(path.name))
        and str(path.relative_to(root)) not in referenced
    ]


def _files_below(instance: Instance, folder: Path) -> list[Path]:
    if remote_blobs.is_remote(instance):
        return remote_blobs.objects_below(instance, folder)
    return [path for path in sorted(folder.rglob("*")) if path.is_file() or path.is_symlink()]


def written_for(instance: Instance, stage: str, path: Path) -> StageTable:
    """Return the blob that an unreferenced file was written for."""
    relative = PurePath(str(path.relative_to(_inside(instance, f"Stage `{stage}`", stage))))
    name = relative.name.removeprefix(_NEW)
    match = _OURS.fullmatch(name) or _HALF_WRITTEN.fullmatch(name)
    return StageTable(stage, str(relative.with_name(match[1] if match else name)))


def _beginning(table: StageTable) -> str:
    return f"{table.stage}/{table.name}."


def _version(table: StageTable, location: str) -> str:
    return location.removeprefix(_beginning(table))[:32]


def _ending(table: StageTable, location: str) -> str:
    # After the name of the table, which may hold any character, and a digest with a point.
    return location.removeprefix(_beginning(table))[33:]


def _make_folders(instance: Instance, folder: Path) -> None:
    """Make the directories for blobs; what is there already, and above, stays as it is."""
    base = Path(instance.blob_store.base_path).resolve()
    base.parent.mkdir(parents=True, exist_ok=True)
    for part in (*reversed(folder.parents), folder):
        if part.is_relative_to(base):
            part.mkdir(mode=0o700, exist_ok=True)


def _inside(instance: Instance, what: str, location: str) -> Path:
    root = _root(instance)
    if remote_blobs.is_remote(instance):
        if not remote_blobs.is_inside(location):
            raise _outside(instance, what, location, root)
        return root / location
    path = (root / location).resolve()
    if not path.is_relative_to(root):
        raise _outside(instance, what, location, root)
    return path


def _root(instance: Instance) -> Path:
    place = directory(instance)
    return place if remote_blobs.is_remote(instance) else place.resolve()


def _outside(instance: Instance, what: str, location: str, root: Path) -> IsolationError:
    return IsolationError(
        f"{what} of instance `{instance.name}`: its location {location!r} points out of {root}. "
        "Blobs load only from their instance's directory; correct the catalog row or build the "
        "blob again."
    )


def _flush(folder: Path) -> None:
    """Make what a directory lists survive a crash of the machine."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
