"""What is known of a source: its tables, as a file of the project keeps them."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from data_pipeline.errors import ConfigurationError
from data_pipeline.store.table_properties import ForeignKey, Properties
from data_pipeline.transfer.stable_hash import fingerprint

_FORM = 1


@dataclass(frozen=True)
class SourceColumn:
    """A column of a source.

    Attributes:
        name: Its name.
        type: The PostgreSQL type that holds its values, whatever the source is.
        source_type: Its type as the source names it, where that is another.
        not_null: Whether it is never NULL.
        comment: What the source says of it.
    """

    name: str
    type: str
    source_type: str = ""
    not_null: bool = False
    comment: str | None = None

    @property
    def shown_type(self) -> str:
        """Its type in the words of the source."""
        return self.source_type or self.type


@dataclass(frozen=True)
class SourceRelation:
    """A table of a source.

    Attributes:
        name: Its name.
        kind: What it is in the source: `table`, `view`, `partitioned table`, ...
        columns: Its columns, in order.
        primary_key: The columns of its key; empty where it has none.
        foreign_keys: What it refers to, also tables that are not loaded.
        comment: What the source says of it.
        uncounted: Why the source counts no changes of it; empty where it does.
    """

    name: str
    kind: str
    columns: tuple[SourceColumn, ...]
    primary_key: tuple[str, ...] = ()
    foreign_keys: tuple[ForeignKey, ...] = ()
    comment: str | None = None
    uncounted: str = ""

    @property
    def version(self) -> str:
        """Identity of what its rows look like; comments and keys do not count."""
        return fingerprint("source-1", [(c.name, c.type, c.source_type) for c in self.columns])

    def properties(self, names: Mapping[str, str]) -> Properties:
        """Return the properties of its raw table.

        Args:
            names: The raw table of each table that is loaded; references to others are left out.
        """
        loaded = [key for key in self.foreign_keys if key.references in names]
        strict = {c.name: False for c in self.columns if c.not_null}
        return Properties(
            primary_key=self.primary_key,
            foreign_keys=tuple(replace(key, references=names[key.references]) for key in loaded),
            types={c.name: c.type for c in self.columns},
            nullable=strict or None,
            columns={c.name: c.comment for c in self.columns if c.comment},
        )


@dataclass(frozen=True)
class SourceCatalog:
    """The tables of a source by name."""

    tables: Mapping[str, SourceRelation]


def read_catalog_file(file: Path) -> SourceCatalog:
    """Read what `write_catalog_file` wrote.

    Raises:
        ConfigurationError: It cannot be read, or is no such file.
    """
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        if content["form"] != _FORM:
            raise ValueError(f"it is of form {content['form']}")
        tables = {name: _table(name, said) for name, said in content["tables"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigurationError(
            f"The catalog file {file} cannot be read ({error}). Delete it and write it anew: "
            "data-pipeline source refresh"
        ) from error
    return SourceCatalog(tables)


def write_catalog_file(file: Path, catalog: SourceCatalog) -> None:
    """Write a catalog such that changes of the source show in a diff, line by line.

    Raises:
        ConfigurationError: The file cannot be written.
    """
    tables = {name: _said(catalog.tables[name]) for name in sorted(catalog.tables)}
    text = json.dumps({"form": _FORM, "tables": tables}, indent=1, ensure_ascii=False)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(
            f"The catalog file {file} cannot be written ({error.strerror}). Name another place: "
            'catalog="..."'
        ) from error


def _said(table: SourceRelation) -> dict[str, Any]:
    keys = [
        {
            "columns": list(key.columns),
            "references": key.references,
            "referenced_columns": list(key.referenced_columns),
        }
        for key in table.foreign_keys
    ]
    said = {
        "kind": table.kind,
        "comment": table.comment,
        "uncounted": table.uncounted,
        "primary_key": list(table.primary_key),
        "foreign_keys": keys,
        "columns": {c.name: _said_of_column(c) for c in table.columns},
    }
    return {name: value for name, value in said.items() if value or name == "columns"}


def _said_of_column(column: SourceColumn) -> dict[str, Any]:
    said = {
        "type": column.type,
        "source_type": column.source_type,
        "not_null": column.not_null,
        "comment": column.comment,
    }
    return {name: value for name, value in said.items() if value}


def _table(name: str, said: Mapping[str, Any]) -> SourceRelation:
    return SourceRelation(
        name=name,
        kind=said["kind"],
        columns=tuple(SourceColumn(column, **of) for column, of in said["columns"].items()),
        primary_key=tuple(said.get("primary_key", ())),
        foreign_keys=tuple(ForeignKey(**key) for key in said.get("foreign_keys", ())),
        comment=said.get("comment"),
        uncounted=said.get("uncounted", ""),
    )


@dataclass(frozen=True)
class Changes:
    """What has changed in a source since its catalog was read.

    Attributes:
        refused: What makes another table of it, by table: it is not loaded until that is taken in.
        added: What is new, and not loaded yet.
    """

    refused: Mapping[str, tuple[str, ...]]
    added: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.refused or self.added)

    def lines(self) -> Iterator[str]:
        """Return all of it in words."""
        for name, changes in self.refused.items():
            yield f"`{name}`: {', '.join(changes)}"
        yield from self.added


def changes(before: SourceCatalog, now: SourceCatalog, names: Iterable[str]) -> Changes:
    """Compare two catalogs of a source.

    Args:
        before: The catalog that the assets were made of.
        now: What the source says now.
        names: The tables that are loaded.
    """
    refused: dict[str, tuple[str, ...]] = {}
    added: list[str] = []
    for name in names:
        table, found = before.tables[name], now.tables.get(name)
        if found is None:
            refused[name] = (f"there is no such {table.kind} any more",)
            continue
        if what := tuple(_of_columns(table, found)):
            refused[name] = what
        known = {column.name for column in table.columns}
        new = [f"`{c.name}` ({c.shown_type})" for c in found.columns if c.name not in known]
        if new:
            added.append(f"`{name}` has new columns {', '.join(new)}")
    if new := sorted(now.tables.keys() - before.tables.keys()):
        added.append(f"new: {', '.join(f'`{name}`' for name in new)}")
    return Changes(refused, tuple(added))


def _of_columns(table: SourceRelation, found: SourceRelation) -> Iterator[str]:
    present = {column.name: column for column in found.columns}
    for column in table.columns:
        now = present.get(column.name)
        if now is None:
            yield f"column `{column.name}` is gone"
        elif (now.type, now.shown_type) != (column.type, column.shown_type):
            yield f"column `{column.name}` is {now.shown_type}, and was {column.shown_type}"
        elif column.not_null and not now.not_null:
            yield f"column `{column.name}` may be NULL, which it could not"
    if table.primary_key != found.primary_key:
        now_key, key = ", ".join(found.primary_key), ", ".join(table.primary_key)
        yield f"its primary key is ({now_key}), and was ({key})"
    if {*table.foreign_keys} != {*found.foreign_keys}:
        yield "its foreign keys are others"
