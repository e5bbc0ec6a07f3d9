"""Names of relations: how asset keys become schemas and tables, and how names are quoted."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy.dialects import postgresql

from data_pipeline.errors import ConfigurationError
from data_pipeline.tables.literals import LITERAL_TYPES

MAX_IDENTIFIER_BYTES = 63
"""PostgreSQL cuts longer identifiers off in silence (NAMEDATALEN - 1)."""

# Not the psycopg2 dialect: it would double every percent sign.
DIALECT = postgresql.dialect(paramstyle="named")  # type: ignore[no-untyped-call] # no types there
DIALECT.colspecs = {**DIALECT.colspecs, **LITERAL_TYPES}
"""The dialect that writes out names, types and queries."""


def quoted(*parts: str) -> str:
    """Gives a possibly dotted identifier with each part in double quotes."""
    return ".".join(DIALECT.identifier_preparer.quote_identifier(part) for part in parts)


def literal(text: str) -> str:
    """Gives a string as an SQL literal (for statements that take no parameters)."""
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
    def from_path(cls, path: Sequence[str]) -> "StageTable":
        """Reads the path of an asset key.

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
