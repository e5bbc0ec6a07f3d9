"""The catalog: what the database itself knows about every table and blob of an instance.

It is one plain table, `<instance_id>_catalog.tables`, whose rows change in the same transaction as
the tables they describe.
"""

import getpass
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime
from functools import cache
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB, insert

from data_pipeline.database.identifiers import SLICE_MARK, StageTable, literal, quoted
from data_pipeline.store.catalog_versions import ensure as ensure
from data_pipeline.store.catalog_versions import is_readable as is_readable
from data_pipeline.store.table_properties import Properties

TABLES = "tables"

Kind = Literal["table", "view", "blob", "tables", "sliced", "none", "elsewhere", "absent"]
"""What a result is: of the last three, nothing but the row is kept here."""

RELATIONS = frozenset({"table", "view", "sliced"})
"""The kinds that are relations."""

WITHOUT_VALUE = frozenset({"none", "elsewhere", "absent"})
"""The kinds of which nothing but the row is kept here."""

ONLY_ROW = WITHOUT_VALUE | {"tables"}
"""The kinds that have neither a relation nor a file of their own."""


@dataclass(frozen=True)
class CatalogRow:
    """What the catalog knows about one table or blob.

    Attributes:
        stage: The first part of the asset key.
        name: The second part.
        kind: `table`, `view` (a query, or another table under this name), `blob` (a file), `none`
            (its asset stores nothing), `elsewhere` (another IO manager keeps it), `tables` (its
            asset has several, each with a row of its own), `sliced` (a table whose slices have
            rows of their own, named `table@key`) or `absent` (an optional output that the
            last run of its step did not make).
        part_of: The name of the asset that made it as one of several tables; None: its own.
        data_version: Identity of the data in it.
        location: The relation behind a view, or the file of a blob, below the blob store.
        cache_key: Identity of the computation that made it; None when it is not reusable.
        query_key: Identity of query, inputs and properties of what is made by a query.
        query: The query that made it, as people see it; None where none did.
        code_version: Identity of the code that made it.
        code_parts: A digest of each function, class, constant and file of that code.
        identity: Digests of configuration, declared properties, attrs, resources and source.
        checksum: SHA-256 of the content of frames and blobs; None where none was taken.
        content_hash: Hash of the rows in the database, in any order; None where none was taken.
        inputs: Data version of every input that was read, by asset.
        properties: Primary key, indexes, types and more that it was made with.
        increment: Of a table that grows by increments, what these rest on; see `increments`.
        slice: Of a slice, which rows belong to it (see `SliceBounds`); of a sliced table, by which
            column it is cut.
        relation: What the relation was when it was built, see `changed_by_hand`; of a value that
            another IO manager keeps, that, and the file.
        row_count: Number of rows; None for a blob.
        bytes: Size on disk with indexes.
        run_id: Dagster run that made it.
        made_in: Code location of that run.
        seen_in: Code location that last had an asset of this name.
        username: Operating-system user of that run.
        host: Machine of that run.
        built_at: When it was built, which is some time before it is visible.
        committed_at: When it became visible.
    """

    stage: str
    name: str
    kind: Kind
    data_version: str
    part_of: str | None = None
    location: str | None = None
    cache_key: str | None = None
    query_key: str | None = None
    query: str | None = None
    code_version: str | None = None
    code_parts: Mapping[str, str] = field(default_factory=dict)
    identity: Mapping[str, Any] = field(default_factory=dict)
    checksum: str | None = None
    content_hash: str | None = None
    inputs: Mapping[str, str | None] = field(default_factory=dict)
    properties: Mapping[str, Any] = field(default_factory=dict)
    increment: Mapping[str, Any] = field(default_factory=dict)
    slice: Mapping[str, Any] = field(default_factory=dict)
    relation: Mapping[str, Any] = field(default_factory=dict)
    row_count: int | None = None
    bytes: int | None = None
    run_id: str | None = None
    made_in: str | None = None
    seen_in: str | None = None
    username: str | None = None
    host: str | None = None
    built_at: datetime | None = None
    committed_at: datetime | None = None

    @property
    def table(self) -> StageTable:
        """Stage and name."""
        return StageTable(self.stage, self.name)

    @property
    def asset(self) -> StageTable:
        """The asset that made it: that of its name, or one that makes several tables."""
        return StageTable(self.stage, self.part_of or self.name)

    @property
    def is_gone(self) -> bool:
        """Whether it is one of several tables, and its asset makes it no more."""
        return self.is_absent and self.part_of is not None

    @property
    def is_relation(self) -> bool:
        """Whether it is a table, whole or sliced, or a view."""
        return self.kind in RELATIONS

    @property
    def is_absent(self) -> bool:
        """Whether it stands for an optional output that was not made."""
        return self.kind == "absent"

    @property
    def is_increment(self) -> bool:
        """Whether, while it is staged, its relation has the rows that go into the table alone."""
        return "onto" in self.increment

    @property
    def declared(self) -> Properties:
        """The properties that the table was made with."""
        return Properties.from_json(self.properties)


_FIELDS = [item.name for item in fields(CatalogRow)]
_MAPPINGS = ("code_parts", "identity", "inputs", "properties", "increment", "slice", "relation")
_NUMBERS = ("row_count", "bytes")
_TIMES = ("built_at", "committed_at")


def exists(connection: sa.Connection, schema: str, table: str = TABLES) -> bool:
    """Whether the instance with this catalog schema has committed anything yet."""
    name = quoted(schema, table)
    return connection.scalar(sa.select(sa.func.to_regclass(name))) is not None


def rows(connection: sa.Connection, schema: str) -> dict[StageTable, CatalogRow]:
    """Return all rows of a catalog in one query; none where it does not exist."""
    if not is_readable(connection, schema):
        return {}
    found = connection.execute(select_rows(schema).order_by("stage", "name"))
    return {row.table: row for row in map(row_of, found)}


def select_rows(schema: str) -> sa.Select[Any]:
    """Return the query for all rows of a catalog, which must exist; see `row_of`."""
    return sa.select(_table(schema))


def row(connection: sa.Connection, schema: str, table: StageTable) -> CatalogRow | None:
    """Return the row of one table or blob, or None where there is none."""
    return row_in(connection, schema, table) if is_readable(connection, schema) else None


def row_in(connection: sa.Connection, schema: str, table: StageTable) -> CatalogRow | None:
    """Return the row of one table or blob of a catalog that is known to be there."""
    target = _table(schema)
    query = sa.select(target).where(target.c.stage == table.stage, target.c.name == table.name)
    found = connection.execute(query).one_or_none()
    return None if found is None else row_of(found)


def slices(connection: sa.Connection, schema: str, whole: StageTable) -> list[CatalogRow]:
    """Return the rows of the slices of a table."""
    target = _table(schema)
    name = sa.func.split_part(target.c.name, SLICE_MARK, 1)
    is_slice = target.c.slice.op("?")("key")
    own = sa.and_(target.c.stage == whole.stage, is_slice, name == whole.name)
    query = sa.select(target).where(own).order_by(target.c.name)
    return list(map(row_of, connection.execute(query)))


def forget(connection: sa.Connection, schema: str, tables: Sequence[StageTable]) -> None:
    """Delete the rows of tables."""
    target = _table(schema)
    names = [(table.stage, table.name) for table in tables]
    if names:
        gone = sa.tuple_(target.c.stage, target.c.name).in_(names)
        connection.execute(sa.delete(target).where(gone))


def keep(connection: sa.Connection, schema: str, table: StageTable) -> None:
    """Keep the row of a table or blob, where there is one, from changing in this transaction."""
    target = _table(schema)
    own = sa.and_(target.c.stage == table.stage, target.c.name == table.name)
    connection.execute(sa.select(target.c.name).where(own).with_for_update(read=True))


def put(connection: sa.Connection, schema: str, rows: Sequence[CatalogRow]) -> None:
    """Write the rows of what this transaction makes visible, in place of earlier ones."""
    upsert(connection, _table(schema), [values_of(row) for row in rows], "committed_at")


def values_of(row: CatalogRow) -> dict[str, Any]:
    """Return the values of a row to be written, with the user and the machine that made it."""
    by = {"username": row.username or _username(), "host": row.host or socket.gethostname()}
    return {**vars(row), **by}


def upsert(
    connection: sa.Connection,
    target: sa.TableClause,
    values: Sequence[Mapping[str, Any]],
    clock: str,
) -> None:
    """Write rows that are keyed by stage and name, in place of earlier ones.

    Args:
        connection: The transaction.
        target: The table.
        values: The rows.
        clock: The column that takes the time of writing.
    """
    if not values:
        return
    connection.execute(_upsert(target, clock), values)


@cache
def _upsert(target: sa.TableClause, clock: str) -> sa.Insert:
    statement = insert(target).values({clock: sa.func.clock_timestamp()})
    return statement.on_conflict_do_update(
        index_elements=["stage", "name"],
        set_={c.name: c for c in statement.excluded if c.name not in ("stage", "name")},
    )


def forget_gone(connection: sa.Connection, schema: str, stages: Sequence[str]) -> None:
    """Delete the rows of tables that were one of several and are made no more."""
    target = _table(schema)
    gone = sa.and_(target.c.part_of.is_not(None), target.c.kind == "absent")
    connection.execute(sa.delete(target).where(gone, target.c.stage.in_(stages)))


def confirm(
    connection: sa.Connection, schema: str, row: CatalogRow, *, of_query: bool = False
) -> None:
    """Note that a table, left as it is, is what another computation would have made too.

    Args:
        connection: The transaction.
        schema: The schema of the catalog.
        row: The row that it would have got.
        of_query: Whether it is made by a query, which may be another one.
    """
    target = _table(schema)
    names = ["cache_key", "code_version", "code_parts", "identity", "inputs", "increment"]
    names += ["query_key", "query"] if of_query else []
    connection.execute(
        sa.update(target)
        .where(target.c.stage == row.stage, target.c.name == row.name)
        .values({name: getattr(row, name) for name in names})
    )


def remember(
    connection: sa.Connection, schema: str, row: CatalogRow, state: Mapping[str, Any]
) -> None:
    """Note what identifies a relation now, if the row still speaks of the same one."""
    if state == row.relation:
        return
    target = _table(schema)
    connection.execute(
        sa.update(target)
        .where(target.c.stage == row.stage, target.c.name == row.name)
        .where(target.c.data_version == row.data_version)
        .where(target.c.relation.is_not_distinct_from(row.relation or None))
        .values(relation=state)
    )


def set_relation(
    connection: sa.Connection, schema: str, table: StageTable, state: Mapping[str, Any]
) -> None:
    """Write what identifies the relation of a table."""
    target = _table(schema)
    own = sa.and_(target.c.stage == table.stage, target.c.name == table.name)
    connection.execute(sa.update(target).where(own).values(relation=state))


def row_of(found: sa.Row[Any]) -> CatalogRow:
    """Read a row of a query that has all columns of the catalog.

    What an older catalog did not keep is empty.
    """
    mapping = found._mapping  # SQLAlchemy makes a new one whenever it is asked for
    values = {name: mapping[name] for name in _FIELDS}
    return CatalogRow(**values | {name: values[name] or {} for name in _MAPPINGS})


def columns() -> list[sa.ColumnClause[Any]]:
    """Return the columns that `row_of` reads, for one table."""
    return [_column(name) for name in _FIELDS]


def relation_sql(prefix: str, stage: str, name: str, suffix: str = "") -> str:
    """Return the SQL for the `regclass` of a result, given the SQL of stage and name.

    Args:
        prefix: The schema prefix of the instance.
        stage: SQL of the stage.
        name: SQL of the relation's name.
        suffix: What follows the stage in the name of the schema.
    """
    schema = f"{literal(prefix)} || {stage} || {literal(suffix)}"
    return f"to_regclass(format('%I.%I', {schema}, {name}))"


def origins(schema: str) -> sa.TableClause:
    """Return the part of the catalog that says where results come from."""
    names = ("stage", "name", "part_of", "made_in", "seen_in")
    return sa.table(TABLES, *map(_column, names), schema=schema)


@cache
def _table(schema: str) -> sa.TableClause:
    return sa.table(TABLES, *columns(), schema=schema)


def _column(name: str) -> sa.ColumnClause[Any]:
    kinds: list[tuple[Sequence[str], sa.types.TypeEngine[Any]]] = [
        (_MAPPINGS, JSONB()),
        (_NUMBERS, sa.BigInteger()),
        (_TIMES, sa.DateTime(timezone=True)),
    ]
    return sa.column(name, next((kind for names, kind in kinds if name in names), sa.Text()))


def _username() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container whose user id has no name
        return "unknown"
