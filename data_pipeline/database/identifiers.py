"""Names of relations: how asset keys become schemas and tables, and how names are quoted."""

import datetime as dt
import math
import re
import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.engine import Dialect

from data_pipeline.errors import ConfigurationError

_Literal = Callable[[Any], str]


class _Date(sa.Date):
    def literal_processor(self, dialect: Dialect) -> _Literal:
        return lambda value: f"DATE '{value.isoformat()}'"


class _DateTime(sa.DateTime):
    def literal_processor(self, dialect: Dialect) -> _Literal:
        return lambda value: f"TIMESTAMP{_zone(value)} '{value.isoformat(sep=' ')}'"


class _Time(sa.Time):
    def literal_processor(self, dialect: Dialect) -> _Literal:
        return lambda value: f"TIME{_zone(value)} '{value.isoformat()}'"


class _Binary(sa.LargeBinary):
    def literal_processor(self, dialect: Dialect) -> _Literal:
        return lambda value: f"BYTEA '\\x{bytes(value).hex()}'"


class _Uuid(sa.Uuid[Any]):
    def literal_processor(self, dialect: Dialect) -> _Literal:
        return lambda value: f"UUID '{uuid.UUID(str(value))}'"


class _Float(sa.Float[Any]):
    def literal_processor(self, dialect: Dialect) -> _Literal:
        return lambda value: (
            str(value) if math.isfinite(value) else f"DOUBLE PRECISION '{float(value)}'"
        )


LITERAL_TYPES: dict[type[sa.types.TypeEngine[Any]], type[sa.types.TypeEngine[Any]]] = {
    sa.Date: _Date,
    sa.DateTime: _DateTime,
    sa.Time: _Time,
    sa.LargeBinary: _Binary,
    sa.Uuid: _Uuid,
    sa.Float: _Float,
}
"""Types that write their values out with their names, by SQLAlchemy's types."""


def _zone(value: dt.datetime | dt.time) -> str:
    return " WITH TIME ZONE" if value.tzinfo else ""


MAX_IDENTIFIER_BYTES = 63
SLICE_MARK = "@"
"""What stands between a table and the key of its slice; asset keys cannot have it."""
"""PostgreSQL cuts longer identifiers off in silence (NAMEDATALEN - 1)."""

# Not the psycopg2 dialect: it would double every percent sign.
DIALECT = postgresql.dialect(paramstyle="named")  # type: ignore[no-untyped-call] # no types there
DIALECT.colspecs = {**DIALECT.colspecs, **LITERAL_TYPES}
"""The dialect that writes out names, types and queries."""


def quoted(*parts: str) -> str:
    """Return a possibly dotted identifier with each part in double quotes."""
    return ".".join(DIALECT.identifier_preparer.quote_identifier(part) for part in parts)


def literal(text: str) -> str:
    """Return a string as an SQL literal (for statements that take no parameters)."""
    return "'" + text.replace("'", "''") + "'"


@dataclass(frozen=True)
class RelationName:
    """A table or view in a schema."""

    schema: str
    name: str

    def __str__(self) -> str:
        return f"{self.schema}.{self.name}"

    @property
    def quoted(self) -> str:
        """The name as it stands in SQL."""
        return quoted(self.schema, self.name)


@dataclass(frozen=True)
class StageTable:
    """A table or blob as pipelines know it: stage and name, for any instance."""

    stage: str
    name: str

    def __str__(self) -> str:
        return f"{self.stage}/{self.name}"

    @classmethod
    def of_key(cls, path: Sequence[str]) -> "StageTable":
        """Read the path of any asset key; without a stage unless it has two parts.

        Use it where the asset may be one that stores nothing here.
        """
        return cls(*path) if len(path) == 2 else cls("", "/".join(path))

    @classmethod
    def from_path(cls, path: Sequence[str]) -> "StageTable":
        """Read the path of an asset key.

        Raises:
            ConfigurationError: The key is not `[stage, table]`, or its table name is longer than
                PostgreSQL allows.
        """
        if len(path) != 2:
            key = "/".join(path)
            raise ConfigurationError(
                f"Asset `{key}` cannot be stored as a table: its key has {len(path)} part(s), "
                f"but [stage, table] is needed. Give it a stage: "
                f'@dg.asset(key_prefix="<stage>") or key=["<stage>", "{path[-1]}"].'
            )
        stage, name = path
        size = len(name.encode())
        if size > MAX_IDENTIFIER_BYTES:
            raise ConfigurationError(
                f"Asset `{stage}/{name}`: the table name has {size} bytes, but PostgreSQL allows "
                f"{MAX_IDENTIFIER_BYTES}. Shorten the last part of the asset key."
            )
        return cls(stage, name)

    @property
    def slice(self) -> str | None:
        """The key of the slice that it is of its table; None for a whole table."""
        return self.name.partition(SLICE_MARK)[2] or None

    @property
    def whole(self) -> "StageTable":
        """The table that it is a slice of, or itself."""
        return StageTable(self.stage, self.name.partition(SLICE_MARK)[0])

    def of_slice(self, key: str | None) -> "StageTable":
        """Return a slice of a table, which is a table of its own; without a key, the table.

        Raises:
            ConfigurationError: Its name is longer than PostgreSQL allows.
        """
        if key is None:
            return self
        return StageTable.from_path([self.stage, f"{self.name}{SLICE_MARK}{key}"])


def few(names: Sequence[str], most: int = 3, separator: str = ", ") -> str:
    """List names, of many only the first ones and how many more there are."""
    more = len(names) - most
    listed = separator.join(names if more <= 0 else names[:most])
    return f"{listed} and {more} more" if more > 0 else listed


def op_names(names: Iterable[str]) -> dict[str, str]:
    """Return names that Dagster takes for inputs and outputs of ops, by the names of tables.

    Those of letters without accents, digits and underscores stay as they are.
    """
    names = list(names)
    found = {name: name for name in names if re.fullmatch(r"[A-Za-z0-9_]+", name)}
    taken = {*found}
    for name in names:
        if name not in found:
            plain = re.sub(r"[^A-Za-z0-9_]", "_", name)
            while plain in taken:
                plain += "_"
            taken.add(plain)
            found[name] = plain
    return found
