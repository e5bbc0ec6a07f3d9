"""Loads an Arrow stream into a new PostgreSQL table: exact types first, then a binary COPY."""

import contextlib
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import adbc_driver_manager
import pyarrow as pa

from data_pipeline.database.adbc_sessions import run_adbc
from data_pipeline.database.error_messages import load_refusal
from data_pipeline.database.identifiers import RelationName, quoted
from data_pipeline.errors import ConfigurationError
from data_pipeline.transfer.arrow_types import AS_TEXT, TEXT_TYPES, PostgresType, declared_type
from data_pipeline.transfer.encode import Outgoing, outgoing
from data_pipeline.transfer.frame_checks import check_column_names
from data_pipeline.transfer.progress import Progress
from data_pipeline.transfer.table_columns import Column, relation_columns

if TYPE_CHECKING:
    from adbc_driver_manager.dbapi import Connection, Cursor

# A piece is checked and cast at once: small enough to bound memory, large enough to be fast.
_PIECE_ROWS = 65_536
_PIECE_CELLS = 4_194_304

_built_in: dict[str, PostgresType] = {}
"""What the types are to the server that follow from Arrow types alone."""


@dataclass(frozen=True)
class LoadResult:
    """What a load moved.

    Attributes:
        rows: Number of rows.
        bytes: Size of the Arrow data, in bytes.
        seconds: Duration, with the creation of the table.
    """

    rows: int
    bytes: int
    seconds: float


def load(
    connection: "Connection",
    schema: str,
    table: str,
    reader: pa.RecordBatchReader,
    *,
    types: Mapping[str, str] | None = None,
    nullable: Mapping[str, bool] | None = None,
    unlogged: bool = False,
    on_progress: Progress | None = None,
) -> LoadResult:
    """Create a table and fills it from a stream, whose batches are never all in memory.

    Both happen in the connection's open transaction, which the caller commits. When anything
    fails, that transaction is rolled back, so nothing of the table remains.

    Args:
        connection: An ADBC connection without autocommit.
        schema: An existing schema.
        table: A name that is free in it.
        reader: The rows.
        types: PostgreSQL types by column (`{"id": "smallint"}`) instead of those that follow
            from the Arrow types.
        nullable: False by column for NOT NULL.
        unlogged: Creates an unlogged table: faster, but empty after a crash of the server.
        on_progress: Called after each batch with rows and seconds so far.

    Raises:
        ConfigurationError: `types` or `nullable` names a column or a type that does not exist.
        UnsupportedDataError: PostgreSQL cannot hold a name, a type or a value.
        DatabaseError: The server refused something, or is gone.
    """
    started = time.monotonic()
    try:
        check_column_names(reader.schema.names)
        with connection.cursor() as cursor:
            declared = _declarations(cursor, reader.schema, types or {}, nullable or {})
            _create(connection, schema, table, declared, nullable or {}, unlogged=unlogged)
            found = _columns(cursor, schema, table, declared, types or {})
            columns = _plan(connection, schema, table, reader.schema, found, nullable or {})
            stream = _Stream(reader, columns, on_progress, started)
            stream.send(cursor, schema, table)
            _convert_texts(connection, schema, table, columns)
    except BaseException as error:
        # Without a connection there is no transaction left to roll back.
        with contextlib.suppress(adbc_driver_manager.Error):
            connection.rollback()
        if isinstance(error, adbc_driver_manager.Error):
            failed = f"Loading the table `{schema}.{table}` failed, and nothing of it was kept"
            raise load_refusal(connection, error, failed) from None
        raise
    return LoadResult(stream.rows, stream.bytes, time.monotonic() - started)


def append(connection: "Connection", relation: RelationName, reader: pa.RecordBatchReader) -> int:
    """Copy a stream into a relation that has its columns, and return how many rows it had.

    Args:
        connection: An ADBC connection, whose transaction the caller ends.
        relation: The relation. Each column has the type in which its values are stored by default.
        reader: The rows.

    Raises:
        UnsupportedDataError: PostgreSQL cannot hold a type or a value.
        adbc_driver_manager.Error: The server refused something, or is gone.
    """
    with connection.cursor() as cursor:
        found = relation_columns(cursor, relation.schema, relation.name)
        columns = [
            outgoing(field.name, field.type, column.type)
            for field, column in zip(reader.schema, found, strict=True)
        ]
        stream = _Stream(reader, columns, None, time.monotonic())
        stream.send(cursor, relation.schema, relation.name)
    return stream.rows


def _declarations(
    cursor: "Cursor", arrow: pa.Schema, types: Mapping[str, str], nullable: Mapping[str, bool]
) -> dict[str, str]:
    for option, given in (("types", types), ("nullable", nullable)):
        for name in given:
            if name not in arrow.names:
                raise ConfigurationError(
                    f"Table(..., {option}=...) names the column `{name}`, which is not in the "
                    f"data. Its columns are: {', '.join(arrow.names) or 'none'}."
                )
    for name, declared in types.items():
        check_type(cursor, name, declared)
    return {
        field.name: types.get(field.name) or declared_type(field.name, field.type)
        for field in arrow
    }


def check_type(cursor: "Cursor", column: str, declared: str) -> None:
    """Check that the type that is declared for a column exists.

    Raises:
        ConfigurationError: It does not.
    """
    try:
        cursor.execute("SELECT to_regtype($1::text) IS NOT NULL", (declared,))
        row = cursor.fetchone()
        known = bool(row and row[0])
    except adbc_driver_manager.ProgrammingError:
        known = False
    if not known:
        raise no_such_type(column, declared)


def no_such_type(column: str, declared: str) -> ConfigurationError:
    """Return the error to raise for a type that is declared for a column and does not exist."""
    return ConfigurationError(
        f"Table(..., types={{{column!r}: {declared!r}}}): PostgreSQL has no type `{declared}`. "
        "Give a type name as in CREATE TABLE, such as 'smallint' or 'numeric(12,2)'."
    )


def _create(
    connection: "Connection",
    schema: str,
    table: str,
    declared: Mapping[str, str],
    nullable: Mapping[str, bool],
    *,
    unlogged: bool,
) -> None:
    columns = ", ".join(
        f"{quoted(name)} {kind}{'' if nullable.get(name, True) else ' NOT NULL'}"
        for name, kind in declared.items()
    )
    kind = "UNLOGGED TABLE" if unlogged else "TABLE"
    run_adbc(connection, f"CREATE {kind} {quoted(schema, table)} ({columns})")


def _columns(
    cursor: "Cursor",
    schema: str,
    table: str,
    declared: Mapping[str, str],
    types: Mapping[str, str],
) -> list[Column]:
    """Return the columns of the table that was created; built-in types are looked up once."""
    if not types and all(kind in _built_in for kind in declared.values()):
        return [Column(name, _built_in[kind]) for name, kind in declared.items()]
    columns = relation_columns(cursor, schema, table)
    for column in columns:
        if column.name not in types:
            _built_in[declared[column.name]] = column.type
    return columns


def _plan(
    connection: "Connection",
    schema: str,
    table: str,
    arrow: pa.Schema,
    found: list[Column],
    nullable: Mapping[str, bool],
) -> list[Outgoing]:
    columns = [
        outgoing(
            field.name,
            field.type,
            column.type,
            not_null=not nullable.get(field.name, True),
            as_text=field.metadata == AS_TEXT and column.type.name not in TEXT_TYPES,
        )
        for field, column in zip(arrow, found, strict=True)
    ]
    as_text = [f"{quoted(c.name)} TYPE text" for c in columns if c.via_text]
    _alter(connection, schema, table, as_text)
    return columns


def _convert_texts(
    connection: "Connection", schema: str, table: str, columns: list[Outgoing]
) -> None:
    changes = []
    for column in columns:
        if column.via_text:
            name = quoted(column.name)
            changes.append(f"{name} TYPE {column.declared} USING {name}::{column.declared}")
    _alter(connection, schema, table, changes)


def _alter(connection: "Connection", schema: str, table: str, changes: list[str]) -> None:
    if changes:
        actions = ", ".join(f"ALTER COLUMN {change}" for change in changes)
        run_adbc(connection, f"ALTER TABLE {quoted(schema, table)} {actions}")


class _Stream:
    """The batches on their way, counted."""

    def __init__(
        self,
        source: pa.RecordBatchReader,
        columns: list[Outgoing],
        on_progress: Progress | None,
        started: float,
    ) -> None:
        self.rows = 0
        self.bytes = 0
        self._source = source
        self._columns = columns
        self._on_progress = on_progress
        self._started = started
        self._failure: BaseException | None = None

    def send(self, cursor: "Cursor", schema: str, table: str) -> None:
        if not self._columns:
            self._send_empty_rows(cursor, schema, table)
            return
        arrow = pa.schema([(column.name, column.sent) for column in self._columns])
        reader = pa.RecordBatchReader.from_batches(arrow, self._batches(arrow))
        try:
            cursor.adbc_ingest(table, reader, mode="append", db_schema_name=schema)
        except adbc_driver_manager.Error:
            # The driver reports a failure of the stream as its own; the original says more.
            if self._failure is not None:
                raise self._failure from None
            raise

    def _batches(self, arrow: pa.Schema) -> Iterator[pa.RecordBatch]:
        step = max(1, min(_PIECE_ROWS, _PIECE_CELLS // len(arrow)))
        try:
            for batch in self._source:
                for start in range(0, batch.num_rows, step):
                    piece = batch.slice(start, step)
                    arrays = [
                        column.encode(array, self.rows)
                        for column, array in zip(self._columns, piece.columns, strict=True)
                    ]
                    yield pa.RecordBatch.from_arrays(arrays, schema=arrow)
                    self._count(piece)
        except BaseException as error:
            self._failure = error
            raise

    def _send_empty_rows(self, cursor: "Cursor", schema: str, table: str) -> None:
        for batch in self._source:
            self._count(batch)
        cursor.execute(
            f"INSERT INTO {quoted(schema, table)} SELECT FROM generate_series(1, {self.rows})"
        )

    def _count(self, batch: pa.RecordBatch) -> None:
        self.rows += batch.num_rows
        self.bytes += batch.nbytes
        if self._on_progress is not None:
            self._on_progress(self.rows, time.monotonic() - self._started)
