"""What `data-pipeline init --from-database` makes of a database: raw tables, and their samples."""

import json
import keyword
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql.base import ischema_names

from data_pipeline.copies_of_related_tables import root_of
from data_pipeline.errors import ConfigurationError
from data_pipeline.sampling.suggested_relationships import likely_children
from data_pipeline.sources.location import DatabaseLocation
from data_pipeline.sources.raw_assets import VIEWS, raw_names
from data_pipeline.sources.source_catalog import SourceCatalog, SourceRelation

ATTRS_FILE = "source.yaml"
_SECRETS = frozenset({"password", "passfile", "sslpassword", "sslkey"})
_FILES = ("sqlite", "duckdb")


@dataclass(frozen=True)
class SourceDatabase:
    """The database that a new project begins with.

    Attributes:
        url: The URL as the user gave it. It is not shown.
        schema: The schema; None: the usual one.
        catalog: Its tables.
    """

    url: str
    schema: str | None
    catalog: SourceCatalog

    def __repr__(self) -> str:
        return f"SourceDatabase({len(self.catalog.tables)} tables)"

    @classmethod
    def at(cls, url: str, schema: str | None) -> "SourceDatabase":
        """Read the catalog of a database.

        Raises:
            DataPipelineError: It cannot be reached, or has no tables.
        """
        key, url = "--from-database", _from_here(url)
        location = DatabaseLocation(url, schema, None, Path("data-pipeline init"), key)
        found = cls(url, schema, location.connect().catalog())
        if not found.tables:
            where = (
                f" in its schema `{schema or 'public'}` that this user may read. Name another: "
                "--schema NAME"
            )
            is_server = url.startswith("postgres")
            raise ConfigurationError(
                f"{key}: the database has no tables{where if is_server else ''}"
            )
        return found

    @property
    def tables(self) -> Mapping[str, SourceRelation]:
        """The tables that the project loads: all but views."""
        return {name: t for name, t in self.catalog.tables.items() if t.kind not in VIEWS}

    @property
    def extra(self) -> str:
        """The extra of this package that reads it."""
        scheme = self.url.partition(":")[0]
        return f",{scheme}" if scheme in _FILES else ""

    def arguments(self) -> str:
        """Return the arguments of `database_tables`."""
        uncounted = [name for name, table in self.tables.items() if table.uncounted]
        lines = [f"{json.dumps(self._location()[0])},"]
        if self.attrs:
            lines.append(f'url_attrs_file="{ATTRS_FILE}",')
        if self.schema is not None:
            lines.append(f"schema={json.dumps(self.schema, ensure_ascii=False)},")
        if uncounted:
            lines.append(
                "# Nothing counts their changes. Where a column tells when a row was changed,"
            )
            lines.append('# write updated_at={"table": "column"} instead.')
            lines.append(f"every_run={json.dumps(uncounted, ensure_ascii=False)},")
        return "\n".join(f"    {line}" for line in lines)

    @property
    def attrs(self) -> Mapping[str, str]:
        """What the URL holds that is for no code: it goes to a file that is not under control."""
        return self._location()[1]

    def _location(self) -> tuple[str, Mapping[str, str]]:
        """Return the URL as it stands in the code, and what is filled into it."""
        scheme, found, path = self.url.partition(":///")
        if "{" in self.url:
            return self.url, {}
        if found and scheme in _FILES:
            return f"{scheme}:///{Path(unquote(path)).expanduser().absolute()}", {}
        parts = urlsplit(self.url)
        attrs = {
            "username": unquote(parts.username or ""),
            "password": unquote(parts.password or ""),
            "host": parts.hostname or "",
            "port": str(parts.port or ""),
            "database": unquote(parts.path[1:]),
        }
        query = parse_qsl(parts.query)
        attrs |= {name: value for name, value in query if name in _SECRETS}
        kept = {name: value for name, value in attrs.items() if value}
        login = "{username}" + (":{password}" if parts.password else "") + "@"
        place = ("{host}" if parts.hostname else "") + (":{port}" if parts.port else "")
        said = [f"{n}={{{n}}}" if n in _SECRETS else urlencode({n: v}) for n, v in query]
        options = f"?{'&'.join(said)}" if said else ""
        return f"postgresql://{login if parts.username else ''}{place}/{{database}}{options}", kept

    def samples(self) -> Mapping[str, str]:
        """Return what the instances say of the rows that they take."""
        names = raw_names(self.tables)
        roots = [names[name] for name in self.roots()]
        if not roots:  # nothing refers to anything
            return {"midi": "      copy_filter_cnt: 1000", "mini": "      copy_filter_cnt: 10"}
        midi = ", ".join(f"{name}: {{rate: 0.1}}" for name in roots)
        mini = ", ".join(f"{name}: {{}}" for name in roots)
        return {
            "midi": f"      sample: {{roots: {{{midi}}}, salt: 0}}",
            "mini": f"      sample: {{roots: {{{mini}}}, size: minimal, salt: 0}}",
        }

    def roots(self) -> list[str]:
        """Return the tables to draw: those that refer to others, and nothing refers to them.

        All else comes with them. Where all of a group refer to each other, it is one of them. So is
        a partitioned table without relationships: it is large, and nothing brings its rows along.
        """
        tables = self.tables
        related = [
            (name, key.references)
            for name, table in tables.items()
            for key in table.foreign_keys
            if key.references in tables and key.references != name
        ]
        parents = {parent for _, parent in related}
        found = []
        for group in _groups(related):
            within = [pair for pair in related if pair[0] in group]
            ends = dict.fromkeys(child for child, _ in within if child not in parents)
            found += [*ends] or [root_of(within)]
        alone = tables.keys() - parents - {child for child, _ in related}
        partitioned = [n for n in tables if n in alone and tables[n].kind == "partitioned table"]
        return [*found, *partitioned]

    def likely_children(self) -> list[str]:
        """Return the raw tables that declare no reference, though their columns look like some."""
        metadata, names = sa.MetaData(), raw_names(self.tables)
        tables = {
            name: sa.Table(name, metadata, *_columns(table)) for name, table in self.tables.items()
        }
        return [
            names[name] for name in likely_children(tables) if not self.tables[name].foreign_keys
        ]

    def first_table(self) -> Mapping[str, str]:
        """Return what the first table of the stage `clean` is made of, as words of its template."""
        source = next(iter(self.roots()), next(iter(self.tables)))
        name, said = raw_names(self.tables)[source], []
        if key := self.tables[source].primary_key:
            said.append(f"primary_key={json.dumps(list(key), ensure_ascii=False)}")
        word = name
        if not name.isidentifier() or keyword.iskeyword(name):
            word = "first_table"
            said.append(f'ins={{"{word}": dg.AssetIn(["inputs", "{name}"])}}')
        imports = ["import dagster as dg"] if word != name else []
        return {
            "table": word,
            "properties": f"({', '.join(said)})" if said else "",
            "imports": "\n".join([*imports, "import sqlalchemy as sa"]),
        }


def _columns(table: SourceRelation) -> Iterable[sa.Column[Any]]:
    for column in table.columns:
        kind = ischema_names.get(column.type.partition("(")[0], sa.types.NullType)
        yield sa.Column(column.name, kind(), primary_key=column.name in table.primary_key)


def _groups(related: Iterable[tuple[str, str]]) -> list[set[str]]:
    found: list[set[str]] = []
    for pair in related:
        together = {*pair}.union(*(group for group in found if group & {*pair}))
        found = [group for group in found if not group & together] + [together]
    return sorted(found, key=lambda group: (-len(group), min(group)))


def _from_here(url: str) -> str:
    """Return a URL in which the path of a file starts at the current directory, not the project."""
    scheme, separator, path = url.partition(":///")
    if scheme not in _FILES or not separator or not path or path.startswith(("/", "~", "{")):
        return url
    return f"{scheme}{separator}{Path.cwd() / path}"
