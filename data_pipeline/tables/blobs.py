"""Blobs: files that hold what is no table, such as a fitted model.

A blob is a pickle unless the project chose another serialiser for its type (see `serializers`).
Loading a pickle runs code that is stored in it, so a blob is only ever loaded from the directory of
the instance that made it; who can write there can run code in the pipeline.
"""

import hashlib
import os
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data_pipeline.errors import IsolationError, TableNotFoundError, UnsupportedDataError
from data_pipeline.instances import Instance
from data_pipeline.tables import serializers
from data_pipeline.tables.names import StageTable
from data_pipeline.tables.serializers import PICKLE, Serializer

_NEW = ".new."
_OURS = re.compile(r".+\.[0-9a-f]{32}\.(pickle|[\w.]+:[\w.]+\.[A-Za-z0-9_-]+)", re.DOTALL)


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


def version(content: bytes) -> str:
    """Gives the identity of a blob's content."""
    return hashlib.sha256(content).hexdigest()[:32]


def write(
    instance: Instance, table: StageTable, content: bytes, serializer: Serializer = PICKLE
) -> str:
    """Writes a blob's file, flushed to disk; gives its location below the instance's directory.

    Raises:
        IsolationError: The asset's name leads out of that directory.
    """
    location = f"{_beginning(table)}{version(content)}.{serializer.ending}"
    path = _inside(instance, f"Blob `{table}`", location)
    made = [folder for folder in path.parents if not folder.exists()]
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=_NEW)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    # A file, and a directory, survive a crash of the machine when the one that lists them does.
    for folder in (path.parent, *(folder.parent for folder in made)):
        _flush(folder)
    return location


def read(instance: Instance, table: StageTable, location: str) -> Any:
    """Loads a blob by what it was written with, whatever the instance chooses now.

    Raises:
        ConfigurationError: The serialiser that wrote it is gone.
        IsolationError: The location points out of the instance's directory.
        TableNotFoundError: The file is gone.
        UnsupportedDataError: It cannot be loaded with the present code.
    """
    path = _inside(instance, f"Blob `{table}`", location)
    remedy = f"Build it again: {instance.build_command}"
    try:
        content = path.read_bytes()
    except (FileNotFoundError, IsADirectoryError):
        raise TableNotFoundError(
            f"Blob `{table}` of instance `{instance.name}`: its file {path} is gone. {remedy}"
        ) from None
    # After the name of the table, which may hold any character, and a digest with a point.
    ending = location.removeprefix(_beginning(table))[33:]
    serializer = serializers.by_ending(ending, str(path))
    try:
        return serializer.loads(content)
    except Exception as error:  # pickle raises whatever the object's own code raises
        raise UnsupportedDataError(
            f"Blob `{table}` of instance `{instance.name}`: its file {path} cannot be loaded with "
            f"the present code: {error}. {remedy}"
        ) from error


def exists(instance: Instance, table: StageTable, location: str) -> bool:
    """Whether a blob's file is there."""
    return _inside(instance, f"Blob `{table}`", location).is_file()


def remove(instance: Instance, table: StageTable, location: str) -> None:
    """Removes the file of a blob that no catalog row points to any more."""
    _inside(instance, f"Blob `{table}`", location).unlink(missing_ok=True)


def unreferenced(instance: Instance, stage: str, referenced: set[str]) -> list[Path]:
    """Gives the files of a stage that nothing refers to, half-written ones of dead runs included.

    Files that do not look like those that this package writes are left out. Call it while no run
    writes blobs of the stage: what a run has written is referenced only when it is staged.

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


def _beginning(table: StageTable) -> str:
    return f"{table.stage}/{table.name}."


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
