"""The catalog: what the database itself knows about every table and blob of an instance.

It is one plain table, `<instance_id>_catalog.tables`, whose rows change in the same transaction as
the tables they describe.
"""

import getpass
import json
import socket
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime
from typing import Any, Literal

import sqlalchemy as sa

from data_pipeline.tables.connection import ensure_schema, run
from data_pipeline.tables.names import RelationName, StageTable, literal, quoted
from data_pipeline.tables.table import Properties

TABLES = "tables"

_LOCK = sa.text("SELECT pg_advisory_xact_lock(hashtextextended(:name, 0))")

Kind = Literal["table", "view", "blob"]

_COLUMNS = {
    "stage": ("text", "Stage: the first part of the asset key"),
    "name": ("text", "Table or blob: the second part of the asset key"),
    "kind": ("text", "table, view (shows another table under this name) or blob (a file)"),
    "location": ("text", "Relation behind a view, or file of a blob, below the blob store"),
    "cache_key": ("text", "Identity of the computation that made it; NULL when it is not reusable"),
    "code_version": ("text", "Identity of the code that made it"),
    "data_version": ("text", "Identity of the data in it"),
    "inputs": ("jsonb", "Data version of every input that was read, by asset"),
    "properties": ("jsonb", "Primary key, indexes, types and more that it was made with"),
    "row_count": ("bigint", "Number of rows; NULL for a blob"),
    "bytes": ("bigint", "Size on disk with indexes, in bytes"),
    "run_id": ("text", "Dagster run that made it"),
    "username": ("text", "Operating-system user of that run"),
    "host": ("text", "Machine of that run"),
    "committed_at": ("timestamptz", "When it became visible"),
}


@dataclass(frozen=True)
class CatalogRow:
    """What the catalog knows about one table or blob."""

    stage: str
    name: str
    kind: Kind
    data_version: str
    location: str | None = None
    cache_key: str | None = None
    code_version: str | None = None
    inputs: Mapping[str, str] = field(default_factory=dict)
    properties: Mapping[str, Any] = field(default_factory=dict)
    row_count: int | None = None
    bytes: int | None = None
    run_id: str | None = None
    username: str | None = None
    host: str | None = None
    committed_at: datetime | None = None

    @property
    def table(self) -> StageTable:
        """Stage and name."""
        return StageTable(self.stage, self.name)

    @property
    def declared(self) -> Properties:
        """The properties that the table was made with."""
        return Properties.from_json(self.properties)


_FIELDS = [item.name for item in fields(CatalogRow)]


def exists(connection: sa.Connection, schema: str) -> bool:
    """Whether the instance with this catalog schema has committed anything yet."""
    name = f"{quoted(schema, TABLES)}"
    return connection.scalar(sa.select(sa.func.to_regclass(name))) is not None


def ensure(connection: sa.Connection, schema: str) -> None:
    """Creates the catalog where it does not exist yet; safe beside other sessions."""
    if exists(connection, schema):
        return
    ensure_schema(connection, schema)
    connection.execute(_LOCK, {"name": f"data_pipeline:catalog:{schema}"})
    relation = quoted(schema, TABLES)
    columns = ", ".join(f"{name} {kind}" for name, (kind, _) in _COLUMNS.items())
    statements = [
        f"CREATE TABLE IF NOT EXISTS {relation} ({columns}, PRIMARY KEY (stage, name))",
        f"COMMENT ON TABLE {relation} IS 'Tables and blobs of this instance, one row each'",
        *(
            f"COMMENT ON COLUMN {relation}.{name} IS {literal(comment)}"
            for name, (_, comment) in _COLUMNS.items()
        ),
    ]
    for statement in statements:
        run(connection, statement)


def rows(connection: sa.Connection, schema: str) -> dict[StageTable, CatalogRow]:
    """Gives all rows of a catalog in one query; none where it does not exist."""
    if not exists(connection, schema):
        return {}
    found = connection.execute(sa.select(_table(schema)).order_by("stage", "name"))
    return {row.table: row for row in (_row(item) for item in found)}


def row(connection: sa.Connection, schema: str, table: StageTable) -> CatalogRow | None:
    """Gives the row of one table or blob, or None where there is none."""
    if not exists(connection, schema):
        return None
    target = _table(schema)
    query = sa.select(target).where(target.c.stage == table.stage, target.c.name == table.name)
    found = connection.execute(query).one_or_none()
    return None if found is None else _row(found)


def put(connection: sa.Connection, schema: str, new: CatalogRow) -> None:
    """Writes the row of what this transaction makes visible, in place of an earlier one."""
    from sqlalchemy.dialects.postgresql import insert

    values = {
        **asdict(new),
        "username": _username(),
        "host": socket.gethostname(),
        "committed_at": sa.func.clock_timestamp(),
    }
    # A table, and the commit of a raw table behind it, may both write its row at the same time.
    statement = insert(_table(schema)).values(values)
    changed = {name: statement.excluded[name] for name in values if name not in ("stage", "name")}
    connection.execute(
        statement.on_conflict_do_update(index_elements=["stage", "name"], set_=changed)
    )


def views_of(connection: sa.Connection, schema: str, source: RelationName) -> list[CatalogRow]:
    """Gives the rows of the views that pass `source` through under another name."""
    target = _table(schema)
    query = sa.select(target).where(target.c.kind == "view", target.c.location == str(source))
    return [_row(item) for item in connection.execute(query)]


def _row(found: sa.Row[Any]) -> CatalogRow:
    mapping = found._mapping
    return CatalogRow(**{name: mapping[name] for name in _FIELDS})


def _table(schema: str) -> sa.TableClause:
    return sa.table(TABLES, *(_column(name) for name in _FIELDS), schema=schema)


def _column(name: str) -> sa.ColumnClause[Any]:
    from sqlalchemy.dialects.postgresql import JSONB

    kinds: dict[str, Any] = {"jsonb": JSONB(), "bigint": sa.BigInteger(), "text": sa.Text()}
    return sa.column(name, kinds.get(_COLUMNS[name][0], sa.DateTime(timezone=True)))


def _username() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container whose user id has no name
        return "unknown"


def fingerprint(*parts: Any) -> str:
    """Gives a short stable identity of JSON-like parts (SHA-256, the first 32 hex digits)."""
    import hashlib

    text = json.dumps(parts, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:32]
