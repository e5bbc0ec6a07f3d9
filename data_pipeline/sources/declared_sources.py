"""The sources that a project declares, and their catalog files: read, written, compared."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from data_pipeline.errors import ConfigurationError, DataPipelineError
from data_pipeline.instances import project
from data_pipeline.sources.source import Source, SourceError
from data_pipeline.sources.source_catalog import (
    Changes,
    SourceCatalog,
    changes,
    read_catalog_file,
    write_catalog_file,
)

REFRESH = ("source", "refresh")
"""The words of the command that reads catalogs."""

NOT_LOADED = f"That is loaded once it is taken in (`data-pipeline {' '.join(REFRESH)}`)."
"""What is said of columns that are new in a source."""

SOURCE_TABLE_KEY = "data_pipeline/source_table"
"""The metadata of a raw table that holds its name in the source."""

CATALOG_FILE_KEY = "data_pipeline/source_catalog"
"""The metadata of a raw table that holds the path of its source's catalog file."""


class Location(Protocol):
    """Where a source is."""

    def connect(self) -> Source:
        """Return the source."""


@dataclass(frozen=True)
class DeclaredSource:
    """A source as a project declares it.

    Attributes:
        stage: The stage of its raw tables.
        place: What declares it, for messages.
        file: Its catalog file.
        location: Where it is.
        tables: The tables that are loaded; None: all that are tables.
    """

    stage: str
    place: str
    file: Path
    location: Location
    tables: tuple[str, ...] | None

    def catalog(self) -> SourceCatalog:
        """Return what is known of it, without asking it, and remember that there is such a source.

        Only while catalogs are refreshed it is asked, the first time.

        Raises:
            ConfigurationError: There is no catalog file yet, or another source has it.
        """
        other = _declared.get(self.file)
        # A module that was changed and loaded again may say something else in the same place.
        if other is not None and other.location != self.location and other.place != self.place:
            raise ConfigurationError(
                f"{self.place} and {other.place} would keep their catalogs in one file, "
                f'{self.file}. Name another for one of them: catalog="..."'
            )
        _declared[self.file] = self
        if _refreshed is not None and self.file not in _refreshed:
            return self.refresh()
        if not self.file.is_file():
            raise ConfigurationError(
                f"{self.place}: its catalog has not been read yet, so its tables are not known "
                f"({self.file} is missing). Read it: {project.command(*REFRESH)}"
            )
        return read_catalog_file(self.file)

    def refresh(self) -> SourceCatalog:
        """Read the catalog of the source into its file.

        Raises:
            DataPipelineError: It cannot be reached.
        """
        before = read_catalog_file(self.file) if self.file.is_file() else SourceCatalog({})
        source = self.location.connect()
        source.wanted = self.tables
        now = source.catalog()
        write_catalog_file(self.file, now)
        if _refreshed is not None:
            common = before.tables.keys() & now.tables.keys()
            found = changes(before, now, sorted(common))
            gone = sorted(before.tables.keys() - now.tables.keys())
            lines = [*found.lines(), *(f"`{name}` is gone" for name in gone)]
            _refreshed[self.file] = Refreshed(self, now, lines if before.tables else [])
        return now


@dataclass(frozen=True)
class Refreshed:
    """What came of reading a catalog.

    Attributes:
        source: The source.
        catalog: Its catalog.
        changes: What has changed, in words.
    """

    source: DeclaredSource
    catalog: SourceCatalog
    changes: list[str]


_declared: dict[Path, DeclaredSource] = {}
_refreshed: dict[Path, Refreshed] | None = None


@contextmanager
def refreshing() -> Iterator[dict[Path, Refreshed]]:
    """Let sources be asked when they are declared; gives what came of it."""
    global _refreshed
    before, _refreshed = _refreshed, {}
    try:
        yield _refreshed
    finally:
        _refreshed = before


def differences(known: SourceCatalog, source: Source, name: str) -> Changes:
    """Return what has changed of a table since its source's catalog file was written.

    Args:
        known: The catalog of the file.
        source: The source, which is asked.
        name: The table.
    """
    present = source.present(known.tables[name])
    return changes(known, SourceCatalog({name: present} if present else {}), [name])


def changed(named: str, found: Changes) -> SourceError:
    """Return the error to raise for a source that is not what its catalog file says."""
    lines = "".join(f"\n  `{name}`: {', '.join(what)}" for name, what in found.refused.items())
    return SourceError(
        f"{named} has changed since its catalog was read:{lines}\nNothing was loaded of it. Take "
        f"the change in: {project.command(*REFRESH)}"
    )


def source_changes(specs: Iterable[Any]) -> Iterator[str]:
    """Say what has changed in the sources of raw tables; they are asked.

    Args:
        specs: The specs of assets; others than those of sources do not count.
    """
    loaded: dict[Path, dict[str, None]] = {}
    for spec in specs:
        if file := spec.metadata.get(CATALOG_FILE_KEY):
            table = spec.metadata[SOURCE_TABLE_KEY]
            names = loaded.setdefault(Path(getattr(file, "value", file)), {})
            names[str(getattr(table, "value", table))] = None
    for file, names in loaded.items():
        try:
            source = _declared[file].location.connect()
            known = read_catalog_file(file)
            source.wanted = known.tables
            found = changes(known, source.now(known), names)
        except DataPipelineError as error:
            yield f"what has changed in a source is not known: {error}"
            continue
        for line in found.lines():
            yield f"source changed: {source.named}: {line}"
        if found:
            yield f"take it in: {project.command(*REFRESH)}"
