"""Blobs: files that hold what is no table, such as a fitted model.

A blob is a pickle. Loading a pickle runs code that is stored in it, so a blob is only ever loaded
from the directory of the instance that made it; who can write there can run code in the pipeline.
"""

import hashlib
import os
import pickle
import tempfile
from pathlib import Path
from typing import Any

from data_pipeline.errors import IsolationError, TableNotFoundError, UnsupportedDataError
from data_pipeline.instances import Instance
from data_pipeline.tables.names import StageTable


def directory(instance: Instance) -> Path:
    """Gives the directory below which all blobs of an instance lie."""
    return Path(instance.blob_store.base_path) / instance.instance_id


def serialised(table: StageTable, obj: Any) -> bytes:
    """Gives the bytes of a blob.

    Raises:
        UnsupportedDataError: The object cannot be pickled.
    """
    try:
        return pickle.dumps(obj, protocol=5)
    except Exception as error:  # pickle raises whatever the object's own code raises
        raise UnsupportedDataError(
            f"Asset `{table}` returned {type(obj).__module__}.{type(obj).__qualname__}, which is "
            f"no table and cannot be stored as a blob either: {error}. Return a data frame, a SQL "
            "query, `Table(...)`, or an object that can be pickled."
        ) from error


def version(content: bytes) -> str:
    """Gives the identity of a blob's content."""
    return hashlib.sha256(content).hexdigest()[:32]


def write(instance: Instance, table: StageTable, content: bytes) -> str:
    """Writes a blob's file, flushed to disk; gives its location below the instance's directory.

    Raises:
        IsolationError: The asset's name leads out of that directory.
    """
    location = f"{table.stage}/{table.name}.{version(content)}.pickle"
    path = _inside(instance, table, location)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".new.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return location


def read(instance: Instance, table: StageTable, location: str) -> Any:
    """Loads a blob.

    Raises:
        IsolationError: The location points out of the instance's directory.
        TableNotFoundError: The file is gone.
        UnsupportedDataError: It cannot be loaded with the present code.
    """
    path = _inside(instance, table, location)
    remedy = f"Build it again: {instance.build_command}"
    try:
        content = path.read_bytes()
    except (FileNotFoundError, IsADirectoryError):
        raise TableNotFoundError(
            f"Blob `{table}` of instance `{instance.name}`: its file {path} is gone. {remedy}"
        ) from None
    try:
        return pickle.loads(content)  # noqa: S301 - from the instance's own directory, see above
    except Exception as error:  # pickle raises whatever the object's own code raises
        raise UnsupportedDataError(
            f"Blob `{table}` of instance `{instance.name}`: its file {path} cannot be loaded with "
            f"the present code: {error}. {remedy}"
        ) from error


def exists(instance: Instance, table: StageTable, location: str) -> bool:
    """Whether a blob's file is there."""
    return _inside(instance, table, location).is_file()


def remove(instance: Instance, table: StageTable, location: str) -> None:
    """Removes the file of a blob that no catalog row points to any more."""
    _inside(instance, table, location).unlink(missing_ok=True)


def _inside(instance: Instance, table: StageTable, location: str) -> Path:
    root = directory(instance).resolve()
    path = (root / location).resolve()
    if not path.is_relative_to(root):
        raise IsolationError(
            f"Blob `{table}` of instance `{instance.name}`: its location {location!r} points out "
            f"of {root}. Blobs load only from their instance's directory; correct the catalog row "
            "or build the blob again."
        )
    return path
