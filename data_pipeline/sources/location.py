"""Where a source is, as an asset's code says it: a URL with placeholders, or a folder."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote

from data_pipeline.errors import ConfigurationError
from data_pipeline.instances import DatabaseUrl, project
from data_pipeline.instances.environment import Environment
from data_pipeline.instances.merged_layers import Located, problem
from data_pipeline.instances.placeholders import Placeholders
from data_pipeline.instances.yaml_file import read_url_attrs
from data_pipeline.sources.source import Source

_FORMS = (
    "'postgresql://user:password@host:port/database', 'sqlite:///path/to/file' or "
    "'duckdb:///path/to/file'"
)


@dataclass(frozen=True)
class DatabaseLocation:
    """A database by its URL. Its `repr` shows no URL.

    Attributes:
        url: The URL, with `{$VARIABLE}` and `{key}` of the attrs file.
        schema: The schema; None: the usual one.
        url_attrs_file: A YAML file with values for the URL.
        file: The module that says so.
        key: The argument, for messages.
    """

    url: str = field(repr=False)
    schema: str | None
    url_attrs_file: str | None
    file: Path
    key: str

    def connect(self) -> Source:
        """Return the source; nothing is opened yet.

        Raises:
            ConfigurationError: The URL is wrong, or its placeholders have no value. No part of it
                is shown.
        """
        filled = self._filled()
        scheme, found, path = filled.partition(":///")
        if found and scheme in ("sqlite", "duckdb"):
            return self._of_file(scheme, in_project(unquote(path)))
        try:
            url = DatabaseUrl(filled)
            flaw = "a source cannot be 'embedded'" if url.is_embedded else None
        except ValueError as error:
            known = filled.startswith("postgres")
            flaw = str(error) if known else "databases of this kind cannot be read"
        if flaw:
            raise problem(self.file, self.key, f"no usable URL: {flaw}", f"Write {_FORMS}.")
        from data_pipeline.sources.postgres import PostgresSource

        return PostgresSource(url, self.schema or "public", f"{self.key} in {self.file}")

    def _of_file(self, scheme: str, path: Path) -> Source:
        if not path.is_file():
            raise problem(self.file, self.key, f"there is no file {path}", "Correct the path.")
        if scheme == "sqlite":
            from data_pipeline.sources.sqlite import SqliteSource

            return SqliteSource(path)
        from data_pipeline.sources.duckdb import DuckdbSource

        return DuckdbSource(path, self.schema or "main")

    def _filled(self) -> str:
        environment = Environment(os.environ)
        placeholders = Placeholders(self.file, environment, {"username": environment.username})
        return placeholders.fill_url(Located(self.url, self.key), self._attrs)

    def _attrs(self) -> Mapping[str, str] | None:
        if self.url_attrs_file is None:
            return None
        key = self.key.replace("url", "url_attrs_file")
        environment = Environment(os.environ)
        placeholders = Placeholders(self.file, environment, {"username": environment.username})
        path = in_project(placeholders.fill(Located(self.url_attrs_file, key)))
        return read_url_attrs(path, self.file, key)


@dataclass(frozen=True)
class FolderLocation:
    """A folder with files.

    Attributes:
        folder: The folder, with `{$VARIABLE}`.
        by_content: Whether files are told by their content, not by size and time.
        file: The module that says so.
        key: The argument, for messages.
    """

    folder: str
    by_content: bool
    file: Path
    key: str

    def connect(self) -> Source:
        """Return the source.

        Raises:
            ConfigurationError: There is no such folder.
        """
        from data_pipeline.sources.files import FilesSource

        environment = Environment(os.environ)
        placeholders = Placeholders(self.file, environment, {"username": environment.username})
        path = in_project(placeholders.fill(Located(self.folder, self.key)))
        if not path.is_dir():
            raise problem(self.file, self.key, f"there is no folder {path}", "Correct the path.")
        return FilesSource(path, by_content=self.by_content)


def in_project(path: str | Path) -> Path:
    """Return a path; a relative one starts at the folder of the project."""
    return (project.root() or Path.cwd()) / Path(path).expanduser()


def needs_extra(library: str, extra: str) -> ConfigurationError:
    """Return the error to raise for a driver that is not installed."""
    return ConfigurationError(
        f"{library} is not installed, which reads this source. Install it: "
        f"pip install 'data-pipeline[{extra}]'"
    )
