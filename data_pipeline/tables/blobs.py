"""Blobs: files that hold what is no table, such as a fitted model.

A blob is a pickle unless the project chose another serialiser for its type (see `serializers`).
Loading a pickle runs code that is stored in it, so a blob is only ever loaded from the directory of
the instance that made it, and if its content is what was committed; who can write there and to the
catalog can run code in the pipeline.
"""

import os
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from data_pipeline.errors import IsolationError, TableNotFoundError, UnsupportedDataError
from data_pipeline.instances import Instance
from data_pipeline.tables import marked_files, serializers
from data_pipeline.tables.catalog import CatalogRow
from data_pipeline.tables.marked_files import DROPPED, version
from data_pipeline.tables.names import StageTable
from data_pipeline.tables.serializers import PICKLE, Serializer

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
    """Gives the directory below which all blobs of an instance lie."""
    return Path(instance.blob_store.base_path) / instance.instance_id


def save(instance: Instance, table: StageTable, obj: Any) -> Saved:
    """Writes an object, with the serialiser that the instance chose for its type, flushed to disk.

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
    """Writes a blob's file, flushed to disk; gives its location below the instance's directory.

    The file, and directories that it needs, are for nobody but this user.

    Raises:
        IsolationError: The asset's name leads out of that directory.
    """
    digest = version(content)
    location = f"{_beginning(table)}{digest}.{serializer.ending}"
    path = _inside(instance, f"Blob `{table}`", location)
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
            marked_files.mark(file.fileno(), digest)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    # A file, and a directory, survive a crash of the machine when the one that lists them does.
    for folder in (path.parent, *(folder.parent for folder in made)):
        _flush(folder)
    return location


def read(instance: Instance, table: StageTable, location: str, checksum: str | None = None) -> Any:
    """Loads a blob by what it was written with, whatever the instance chooses now.

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
    try:
        with path.open("rb") as file:
            found, content = os.fstat(file.fileno()), file.read()
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        raise TableNotFoundError(
            f"{where} is gone. Build it again: {instance.build_command}"
        ) from None
    except OSError as error:
        raise TableNotFoundError(
            f"{where} cannot be read: {error.strerror}. Let this user read it, or remove it, which "
            f"lets the next run build it again: {instance.build_command}"
        ) from None
    if (digest := version(content)) != (known := checksum or _version(table, location)):
        marked_files.distrust(path, found, path.with_name(f"{_NEW}{path.name}"))
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
    known = row.checksum or _version(row.table, row.location)
    return marked_files.damage(path, known, row.bytes)


def is_intact(instance: Instance, row: CatalogRow) -> bool:
    """Whether a blob's file is what the catalog says of it."""
    return flaw(instance, row) is None


def exists(instance: Instance, table: StageTable, location: str) -> bool:
    """Whether a blob's file is there."""
    return _inside(instance, f"Blob `{table}`", location).is_file()


def remove(instance: Instance, table: StageTable, location: str) -> None:
    """Removes the file of a blob that no catalog row points to any more."""
    _inside(instance, f"Blob `{table}`", location).unlink(missing_ok=True)


def unreferenced(instance: Instance, stage: str, referenced: set[str]) -> list[Path]:
    """Gives the files of a stage that nothing refers to, half-written ones of dead runs included.

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
    root = directory(instance).resolve()
    folder = _inside(instance, f"Stage `{stage}`", stage)
    if folder == root:
        raise _outside(instance, f"Stage `{stage}`", stage, root)
    return [
        path
        for path in sorted(folder.rglob("*"))
        if (path.name.startswith(_NEW) or _OURS.fullmatch(path.name))
        and (path.is_file() or path.is_symlink())
        and str(path.relative_to(root)) not in referenced
    ]


def written_for(instance: Instance, stage: str, path: Path) -> StageTable:
    """Return the blob that an unreferenced file was written for."""
    relative = path.relative_to(_inside(instance, f"Stage `{stage}`", stage))
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
    """Makes the directories for blobs; what is there already, and above, stays as it is."""
    base = Path(instance.blob_store.base_path).resolve()
    base.parent.mkdir(parents=True, exist_ok=True)
    for part in (*reversed(folder.parents), folder):
        if part.is_relative_to(base):
            part.mkdir(mode=0o700, exist_ok=True)


def _inside(instance: Instance, what: str, location: str) -> Path:
    root = directory(instance).resolve()
    path = (root / location).resolve()
    if not path.is_relative_to(root):
        raise _outside(instance, what, location, root)
    return path


def _outside(instance: Instance, what: str, location: str, root: Path) -> IsolationError:
    return IsolationError(
        f"{what} of instance `{instance.name}`: its location {location!r} points out of {root}. "
        "Blobs load only from their instance's directory; correct the catalog row or build the "
        "blob again."
    )


def _flush(folder: Path) -> None:
    """Makes what a directory lists survive a crash of the machine."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
