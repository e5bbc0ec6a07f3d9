"""Blobs in object storage, or wherever else fsspec reaches: `s3://bucket/blobs` and the like.

An object is there as a whole or not at all, under a name that nothing refers to before the commit.
What identifies its content is in that name, and is checked whenever it is read; a look in between
compares the size. Credentials and addresses are the libraries' own: environment variables such as
AWS_ACCESS_KEY_ID and AWS_ENDPOINT_URL, their files, or the role of the machine.
"""

import posixpath
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from data_pipeline.errors import BlobStoreError, ConfigurationError
from data_pipeline.instances import Instance


def is_remote(instance: Instance) -> bool:
    """Whether the blobs of an instance lie elsewhere than in files of this machine."""
    return isinstance(instance.blob_store.base_path, str)


def place(instance: Instance) -> Path:
    """Return the place below which all blobs of an instance lie, which behaves like a path.

    Raises:
        ConfigurationError: A package that it needs is not installed.
    """
    url = str(instance.blob_store.base_path)
    try:
        from upath import UPath

        # What other machines have written since is not in any list that this process remembers.
        found: Any = UPath(url, use_listings_cache=False)
        _ = found.fs
    except (ImportError, ValueError) as error:
        extra = {"s3": "s3", "s3a": "s3", "gs": "gs", "gcs": "gs"}.get(url.partition(":")[0], "az")
        raise ConfigurationError(
            f"Blobs of instance `{instance.name}` lie in {url}, which cannot be reached with the "
            f"packages that are installed: {error}. Install data-pipeline[{extra}], or what fsspec "
            "needs for that protocol."
        ) from None
    return cast("Path", found / instance.instance_id)


def is_inside(location: str) -> bool:
    """Whether a location stays below the place of an instance."""
    plain = posixpath.normpath(location)
    return not (plain.startswith(("/", "../")) or plain in (".", "..")) and "//" not in location


def put(path: Path, content: bytes) -> None:
    """Write an object, and make sure that all of it is there.

    Raises:
        BlobStoreError: It is not.
    """
    with _explained(path, "written"):
        try:
            path.write_bytes(content)
        except FileNotFoundError as error:
            raise BlobStoreError(
                f"Blobs cannot be written to {path}: {error}. Create the bucket or container."
            ) from None
        written = path.stat().st_size
    if written != len(content):
        raise BlobStoreError(
            f"Of {path} only {written} of {len(content)} bytes have arrived. Run again."
        )


def content_of(path: Path) -> bytes | None:
    """Return the content of an object; None if there is none.

    Raises:
        BlobStoreError: The store cannot be reached, or refuses.
    """
    with _explained(path, "read"):
        try:
            return path.read_bytes()
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
            return None


def size_of(path: Path) -> int | None:
    """Return the size of an object in bytes; None if there is none.

    Raises:
        BlobStoreError: The store cannot be reached, or refuses.
    """
    with _explained(path, "looked for"):
        try:
            return path.stat().st_size if path.is_file() else None
        except (FileNotFoundError, NotADirectoryError):
            return None


def objects_below(folder: Path) -> list[Path]:
    """Return all objects below a place.

    Raises:
        BlobStoreError: The store cannot be reached, or refuses.
    """
    with _explained(folder, "listed"):
        try:
            return sorted((item for item in folder.rglob("*") if item.is_file()), key=str)
        except FileNotFoundError:
            return []


def move(path: Path, aside: Path) -> None:
    """Put an object under another name.

    Raises:
        BlobStoreError: The store cannot be reached, or refuses.
    """
    with _explained(path, "moved"):
        found: Any = path
        found.fs.mv(found.path, cast("Any", aside).path)


@contextmanager
def _explained(path: Path, what: str) -> Iterator[None]:
    """Say in our own error what the many libraries behind fsspec say each in theirs."""
    try:
        yield
    except BlobStoreError:
        raise
    except Exception as error:
        raise BlobStoreError(
            f"{path} cannot be {what}: {type(error).__name__}: {error}. Check that the blob store "
            "can be reached from this machine, and its credentials (blob_store.base_path in "
            "instances.yaml). Nothing that was committed has changed."
        ) from error
