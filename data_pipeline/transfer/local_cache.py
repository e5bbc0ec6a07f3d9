"""Frames kept as Arrow files on this machine, within a size: the ones used last stay.

A file is complete or it is none: it gets its name when it is written, and the name holds a checksum
of its content. So several processes may read, write and remove files at the same time.
"""

import hashlib
import logging
import os
import re
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pyarrow as pa

from data_pipeline.embedded.home_layout import create_private

_NAME = re.compile(r"[0-9a-f]{64}\.[0-9a-f]{16}\.arrow")
_PART = re.compile(r"\.[0-9a-f]{64}\..*\.part")
_SECONDS_TO_WRITE = 3600.0
"""A file that has not been finished for so long is one that a process has left."""

_WORDS_SUMMED = 16_384
_LOG = logging.getLogger(__name__)


class LocalCache:
    """Frames by keys that tell exactly what is in them.

    Args:
        folder: Where the files lie; made when it is needed, closed to others.
        max_bytes: How much they may take up together.
    """

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self._folder = folder
        self._max_bytes = max_bytes

    def get(self, key: str) -> pa.Table | None:
        """Return a frame, its memory mapped to the file; None where there is none.

        A damaged file is removed.

        Args:
            key: 64 hexadecimal digits.
        """
        if not self._is_private():
            return None
        for file in self._folder.glob(f"{key}.*.arrow"):
            with suppress(OSError, pa.ArrowException):
                with pa.memory_map(str(file)) as mapped:
                    content = mapped.read_buffer()
                if _checksum(content) == file.name.split(".")[1]:
                    table = pa.ipc.open_file(content).read_all()
                    os.utime(file)
                    return table
            file.unlink(missing_ok=True)
        return None

    def put(self, key: str, frame: pa.Table) -> None:
        """Keep a frame, unless it is larger than all frames may be together.

        Where that cannot be done, the log says why: the caller has its frame.
        """
        if not frame.num_columns or frame.nbytes > self._max_bytes:
            return
        try:
            create_private(self._folder)
            if self._is_private():
                self._write(key, frame)
                self._remove_oldest()
        except OSError as error:
            _LOG.warning(
                f"A frame cannot be kept in table_store.local_cache ({self._folder}): {error}. It "
                "is read from the database again next time. Name another folder, or leave it out."
            )

    def _write(self, key: str, frame: pa.Table) -> None:
        descriptor, name = tempfile.mkstemp(".part", f".{key}.", self._folder)  # mode 600
        part = Path(name)
        try:
            with (
                os.fdopen(descriptor, "wb") as file,
                pa.ipc.new_file(file, frame.schema) as writer,
            ):
                writer.write_table(frame)
            with pa.memory_map(name) as mapped:
                checksum = _checksum(mapped.read_buffer())
            part.rename(self._folder / f"{key}.{checksum}.arrow")
        finally:
            part.unlink(missing_ok=True)

    def _remove_oldest(self) -> None:
        """Remove what was used longest ago, until the others fit."""
        found = []
        for entry in os.scandir(self._folder):
            with suppress(FileNotFoundError):  # another process was faster
                state = entry.stat(follow_symlinks=False)
                if _NAME.fullmatch(entry.name):
                    found.append((state.st_mtime_ns, state.st_size, entry.path))
                elif _PART.fullmatch(entry.name) and _is_left(state):
                    Path(entry.path).unlink(missing_ok=True)
        total = sum(size for _, size, _ in found)
        for _, size, path in sorted(found):
            if total <= self._max_bytes:
                break
            Path(path).unlink(missing_ok=True)
            total -= size

    def _is_private(self) -> bool:
        """Whether nobody else can lay files here; where there is no folder, nobody has."""
        try:
            state = self._folder.stat()
        except FileNotFoundError:
            return False
        if state.st_uid == os.geteuid() and not state.st_mode & 0o022:
            return True
        _LOG.warning(
            f"table_store.local_cache ({self._folder}) is not used: others can write to the folder "
            "or own it. Name a folder of your own, or take their right: chmod go-w."
        )
        return False


def _is_left(state: os.stat_result) -> bool:
    return time.time() - state.st_mtime > _SECONDS_TO_WRITE


def _checksum(content: pa.Buffer) -> str:
    """Return a checksum that a missing page, another byte or another order of blocks changes.

    Sums of blocks run at the speed of memory, which a cryptographic hash of everything does not.
    """
    data = np.frombuffer(content, np.uint8)
    block = _WORDS_SUMMED * 8
    whole = len(data) // block * block
    sums = data[:whole].view(np.uint64).reshape(-1, _WORDS_SUMMED).sum(axis=1, dtype=np.uint64)
    digest = hashlib.sha256(sums.tobytes())
    digest.update(data[whole:].tobytes())
    return digest.hexdigest()[:16]
