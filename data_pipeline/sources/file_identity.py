"""What tells whether files have changed."""

from collections.abc import Iterable
from pathlib import Path

from data_pipeline.memo.deciding.source_fingerprints import fingerprint_of_files


def files_seen(files: Iterable[Path], folder: Path) -> list[list[str | int]]:
    """Return path, size and time of change of files; those that are empty or missing do not count.

    Args:
        files: The files.
        folder: Where their paths start.
    """
    known = [(file, file.stat()) for file in files if file.is_file()]
    return [
        [str(file.relative_to(folder)), facts.st_size, facts.st_mtime_ns]
        for file, facts in known
        if facts.st_size
    ]


def files_read(files: Iterable[Path], folder: Path) -> list[list[str]]:
    """Return path and content of files, as a hash."""
    return [[str(file.relative_to(folder)), fingerprint_of_files(file)[0][1]] for file in files]
