"""Building a table in its staging schema, with its properties: from batches or from a query."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from data_pipeline.errors import ConfigurationError
from data_pipeline.tables.connection import Database
from data_pipeline.tables.names import RelationName, literal, quoted
from data_pipeline.tables.refusal import refusal
from data_pipeline.tables.table import Properties

if TYPE_CHECKING:
    import pyarrow as pa
    from adbc_driver_manager.dbapi import Connection as AdbcConnection


@dataclass(frozen=True)
class Built:
    """What was built: rows, and the seconds it took."""

    rows: int
    seconds: float


Progress = Callable[[int, float], None]
"""Called now and then during a long transfer with rows so far and seconds since its start."""


def build_from_batches(
    database: Database,
    target: RelationName,
    reader: "pa.RecordBatchReader",
    properties: Properties,
    *,
    unlogged: bool = False,
    on_progress: Progress | None = None,
) -> Built:
    """Creates `target` with exact types and streams the batches into it, in one transaction.

    Raises:
        UnsupportedDataError: PostgreSQL cannot hold a name, type or value; nothing is written.
        ConfigurationError: A property speaks of a column that the frame does not have.
        DatabaseError: PostgreSQL refused, or went away; nothing is written.
    """
    from data_pipeline.tables.load import load

    columns = list(reader.schema.names)
    _check_columns(target, properties, columns)
    started = time.monotonic()
    with _building(database, target) as connection:
        result = load(
            connection,
            target.schema,
            target.name,
            reader,
            types=properties.types,
            nullable=dict.fromkeys(properties.not_null(columns), False),
            unlogged=_is_unlogged(properties, unlogged),
            on_progress=on_progress,
        )
        _apply_properties(connection, target, properties)
    return Built(result.rows, time.monotonic() - started)


def build_from_query(
    database: Database,
    target: RelationName,
    query: str,
    properties: Properties,
    *,
    unlogged: bool = False,
) -> Built:
    """Creates `target` from a query inside the database, in one transaction.

    The query stands as a sub-select and is sent by the extended protocol, so it can be nothing but
    one SELECT that changes no other table.

    Raises:
        ConfigurationError: A property speaks of a column that the query does not give.
        DatabaseError: PostgreSQL refused (with the query and the position), or went away.
    """
    create = f"CREATE {_unlogged(_is_unlogged(properties, unlogged))}TABLE {target.quoted} AS "
    select = create + "SELECT * FROM (\n"
    started = time.monotonic()
    with _building(database, target, query, select) as connection:
        if properties.types:
            _execute(connection, f"{select}{query}\n) AS q WITH NO DATA")
            columns = _columns(connection, target)
            _check_columns(target, properties, columns)
            casts = ", ".join(_cast(name, properties.types.get(name)) for name in columns)
            _execute(connection, f"DROP TABLE {target.quoted}")
            select = f"{create}SELECT {casts} FROM (\n"
        rows = _execute(connection, f"{select}{query}\n) AS q")
        columns = _columns(connection, target)
        _check_columns(target, properties, columns)
        _execute(connection, *_not_null(target, properties, columns))
        _apply_properties(connection, target, properties)
    return Built(rows, time.monotonic() - started)


@contextmanager
def _building(
    database: Database, target: RelationName, query: str | None = None, prefix: str = ""
) -> Iterator["AdbcConnection"]:
    """Opens a transaction in which `target` does not exist yet; explains what goes wrong in it."""
    import adbc_driver_manager

    with database.adbc() as connection:
        try:
            _execute(
                connection,
                f"CREATE SCHEMA IF NOT EXISTS {quoted(target.schema)}",
                f"DROP TABLE IF EXISTS {target.quoted}",
            )
            connection.commit()
            yield connection
            connection.commit()
        except adbc_driver_manager.Error as error:
            raise refusal(database, target, error, query, prefix) from None


def _apply_properties(
    connection: "AdbcConnection", target: RelationName, properties: Properties
) -> None:
    statements = []
    if properties.primary_key:
        key = ", ".join(quoted(name) for name in properties.primary_key)
        statements.append(f"ALTER TABLE {target.quoted} ADD PRIMARY KEY ({key})")
    for index in properties.indexes:
        indexed = ", ".join(quoted(name) for name in index)
        statements.append(f"CREATE INDEX ON {target.quoted} ({indexed})")
    statements.append(f"ANALYZE {target.quoted}")
    _execute(connection, *statements)


def _not_null(target: RelationName, properties: Properties, columns: list[str]) -> list[str]:
    return [
        f"ALTER TABLE {target.quoted} ALTER COLUMN {quoted(name)} SET NOT NULL"
        for name in properties.not_null(columns)
    ]


def _execute(connection: "AdbcConnection", *statements: str) -> int:
    """Executes statements; gives the number of rows of the last one."""
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
        return cursor.rowcount if statements else 0


def _columns(connection: "AdbcConnection", relation: RelationName) -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT attname::text FROM pg_attribute "
            f"WHERE attrelid = {literal(relation.quoted)}::regclass "
            "AND attnum > 0 AND NOT attisdropped ORDER BY attnum"
        )
        return [name for (name,) in cursor.fetchall()]


def _cast(name: str, kind: str | None) -> str:
    return f"CAST({quoted(name)} AS {kind}) AS {quoted(name)}" if kind else quoted(name)


def _is_unlogged(properties: Properties, default: bool) -> bool:
    return default if properties.unlogged is None else properties.unlogged


def _unlogged(unlogged: bool) -> str:
    return "UNLOGGED " if unlogged else ""


def _check_columns(target: RelationName, properties: Properties, columns: list[str]) -> None:
    missing = properties.named_columns() - set(columns)
    if missing:
        listed = ", ".join(f"`{name}`" for name in sorted(missing))
        raise ConfigurationError(
            f"Table `{target.name}`: its properties name {listed}, but it has the columns "
            f"{', '.join(columns) or '(none)'}. Correct `Table(...)` or `table_properties(...)`."
        )
