"""Blobs in object storage, or wherever else fsspec reaches: `s3://bucket/blobs` and the like.

An object is there as a whole or not at all, under a name that nothing refers to before the commit.
What identifies its content is in that name, and is checked whenever it is read; a look in between
compares the size. Credentials and addresses are the libraries' own: environment variables such as
AWS_ACCESS_KEY_ID and AWS_ENDPOINT_URL, their files, or the role of the machine.
"""

import posixpath
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from data_pipeline.errors import BlobStoreError, ConfigurationError, DataPipelineError
from data_pipeline.instances import Instance


def is_remote(instance: Instance) -> bool:
    """Whether the blobs of an instance lie elsewhere than in files of this machine."""
    return isinstance(instance.blob_store.base_path, str)


def place(instance: Instance) -> Path:
    """Return the place below which all blobs of an instance lie, which behaves like a path.

    Raises:
        BlobStoreError: It cannot be reached, as some protocols find out at once.
        ConfigurationError: A package that it needs is not installed.
    """
    url = str(instance.blob_store.base_path)
    with _explained(instance, url, "reached"):
        try:
            from upath import UPath

            # What other machines have written since is not in any list that this process remembers.
            found: Any = UPath(url, use_listings_cache=False)
            _ = found.fs
        except (ImportError, ValueError) as error:
            extra = _EXTRAS.get(url.partition(":")[0])
            what = f"data-pipeline[{extra}]" if extra else "what it names"
            raise ConfigurationError(
                f"Blobs of instance `{instance.name}` lie in {_shown(url)}, which cannot be "
                f"reached with the packages that are installed: {error}. Install {what}."
            ) from None
    return cast("Path", found / instance.instance_id)


def is_inside(location: str) -> bool:
    """Whether a location stays below the place of an instance."""
    plain = posixpath.normpath(location)
    return not (plain.startswith(("/", "../")) or plain in (".", "..")) and "//" not in location


def put(instance: Instance, path: Path, content: bytes) -> None:
    """Write an object, and make sure that all of it is there.

    Raises:
        BlobStoreError: It is not, or the store cannot be reached, or refuses.
    """
    with _explained(instance, path, "written"):
        path.write_bytes(content)
        written = path.stat().st_size
    if written != len(content):
        raise BlobStoreError(
            f"Of {path} only {written} of {len(content)} bytes have arrived. Run again."
        )


def content_of(instance: Instance, path: Path) -> bytes | None:
    """Return the content of an object; None if there is none.

    Raises:
        BlobStoreError: The store cannot be reached, or refuses.
    """
    with _explained(instance, path, "read"):
        try:
            return path.read_bytes()
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
            return None


def size_of(instance: Instance, path: Path) -> int | None:
    """Return the size of an object in bytes; None if there is none.

    Raises:
        BlobStoreError: The store cannot be reached, or refuses.
    """
    with _explained(instance, path, "looked for"):
        found: Any = path
        try:
            # `is_file` says of what cannot be reached that it is none.
            info = found.fs.info(found.path)
        except (FileNotFoundError, NotADirectoryError):
            return None
        return int(info["size"]) if info["type"] == "file" else None


def objects_below(instance: Instance, folder: Path) -> list[Path]:
    """Return all objects below a place.

    Raises:
        BlobStoreError: The store cannot be reached, or refuses.
    """
    with _explained(instance, folder, "listed"):
        try:
            return sorted((item for item in folder.rglob("*") if item.is_file()), key=str)
        except FileNotFoundError:
            return []


def move(instance: Instance, path: Path, aside: Path) -> None:
    """Put an object under another name.

    Raises:
        BlobStoreError: The store cannot be reached, or refuses.
    """
    with _explained(instance, path, "moved"):
        found: Any = path
        found.fs.mv(found.path, cast("Any", aside).path)


def remove(instance: Instance, path: Path) -> None:
    """Remove an object, if it is there.

    Raises:
        BlobStoreError: The store cannot be reached, or refuses.
    """
    with _explained(instance, path, "removed"):
        path.unlink(missing_ok=True)


_EXTRAS = {
    "s3": "s3",
    "s3a": "s3",
    "gs": "gs",
    "gcs": "gs",
    "az": "az",
    "abfs": "az",
    "abfss": "az",
}
_ACCESS = {
    "s3": (
        "AWS_ACCESS_KEY_ID with AWS_SECRET_ACCESS_KEY, AWS_PROFILE, or the role of the machine",
        "AWS_ENDPOINT_URL where it is not Amazon's",
    ),
    "gs": (
        "GOOGLE_APPLICATION_CREDENTIALS, or the account of the machine",
        "STORAGE_EMULATOR_HOST where it is not Google's",
    ),
    "az": (
        "AZURE_STORAGE_ACCOUNT_NAME with AZURE_STORAGE_ACCOUNT_KEY, or "
        "AZURE_STORAGE_CONNECTION_STRING",
        "AZURE_STORAGE_ACCOUNT_NAME",
    ),
}
_OTHER_ACCESS = ("user, password or key that the URL or fsspec's configuration names", "its host")
# The answer to a question for a size has no body; "Bad Request" alone is most likely about them.
_DENIED = re.compile(
    "Credential|Auth|AccessDenied|Access Denied|Forbidden|InvalidAccessKeyId|Signature|Token"
    "|Expired|Bad Request"
)
_UNREACHABLE = re.compile("Connect|Timeout|Endpoint|gaierror|Resol|SSLError")


@contextmanager
def _explained(instance: Instance, where: Path | str, what: str) -> Iterator[None]:
    """Say in our own error what the many libraries behind fsspec say each in theirs."""
    try:
        yield
    except DataPipelineError:
        raise
    except Exception as error:
        url = str(instance.blob_store.base_path)
        raise BlobStoreError(
            f"Blobs of instance `{instance.name}` lie in {_shown(url)} (blob_store.base_path), "
            f"where {_shown(str(where))} cannot be {what}: {type(error).__name__}: "
            f"{_shown(str(error))}. {_what_to_check(url, error)} Nothing that was committed has "
            "changed."
        ) from error


def _what_to_check(url: str, error: Exception) -> str:
    """Return what is likely wrong: the bucket, the credentials, the network, or any of them."""
    credentials, address = _ACCESS.get(_EXTRAS.get(url.partition(":")[0], ""), _OTHER_ACCESS)
    access = f"Check the credentials, and whether they have expired: {credentials}."
    network = f"Check network and proxy of this machine, and the address: {address}."
    bucket = "Create the bucket or container, or correct base_path."
    said = f"{type(error).__name__} {error}"
    if isinstance(error, FileNotFoundError):
        return bucket
    if isinstance(error, PermissionError) or _DENIED.search(said):
        return access
    if isinstance(error, ConnectionError | TimeoutError) or _UNREACHABLE.search(said):
        return network
    return f"{network} {access} {bucket}"


def _shown(text: str) -> str:
    """Return a text without the user and password of a URL in it."""
    return re.sub(r"(?<=://)[^/@\s]*@", "", text)
