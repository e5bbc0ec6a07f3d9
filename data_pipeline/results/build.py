"""Building a table in its staging schema, with its properties: from batches or from a query."""

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from data_pipeline.database.connection import Database, ensure_schema
from data_pipeline.database.identifiers import (
    RelationName,
    StageTable,
    literal,
    quoted,
)
from data_pipeline.database.server_errors import Lacking, refusal
from data_pipeline.errors import ConfigurationError
from data_pipeline.store.relation_state import State, built_state, state_of
from data_pipeline.store.table_properties import (
    Properties,
    index_name,
    index_statement,
    key_name,
    key_statement,
)
from data_pipeline.transfer.frames import Progress

if TYPE_CHECKING:
    import pyarrow as pa
    from adbc_driver_manager.dbapi import Connection as AdbcConnection

# A tenth of the default takes a sixth of the time, and tells the planner what it needs of tables
# that are replaced as a whole.
_STATISTICS_TARGET = 10


@dataclass(frozen=True)
class Built:
    """What was built: rows, the seconds it took, and what tells the relation from others."""

    rows: int
    seconds: float
    state: State


def build_from_batches(
    database: Database,
    table: StageTable,
    target: RelationName,
    reader: "pa.RecordBatchReader",
    properties: Properties,
    *,
    unlogged: bool = False,
    on_progress: Progress | None = None,
) -> Built:
    """Create `target` with exact types and streams the batches into it, in one transaction.

    Raises:
        UnsupportedDataError: PostgreSQL cannot hold a name, type or value; nothing is written.
        ConfigurationError: A property speaks of a column that the frame does not have.
        DatabaseError: PostgreSQL refused, or went away; nothing is written.
    """
    from data_pipeline.transfer.copy_in import load

    columns = list(reader.schema.names)
    _check_columns(table, properties, columns)
    started = time.monotonic()
    with _building(database, table, target) as connection:
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
        state = _state(connection, target, result.rows)
    return Built(result.rows, time.monotonic() - started, state)


def build_from_query(
    database: Database,
    table: StageTable,
    target: RelationName,
    query: str,
    properties: Properties,
    *,
    unlogged: bool = False,
) -> Built:
    """Create `target` from a query inside the database, in one transaction.

    The query stands as a sub-select and is sent by the extended protocol, so it can be nothing but
    one SELECT that changes no other table.

    Raises:
        ConfigurationError: A property speaks of a column that the query does not give.
        DatabaseError: PostgreSQL refused (with the query and the position), or went away.
    """
    create = f"CREATE {_unlogged(_is_unlogged(properties, unlogged))}TABLE {target.quoted} AS "
    started = time.monotonic()
    with _building(database, table, target) as connection:
        columns = "*"
        if properties.types:
            _check_types(connection, properties.types)
            _create_as(
                database, connection, table, f"{create}SELECT * FROM (\n", query, " WITH NO DATA"
            )
            names = _columns(connection, target)
            _check_columns(table, properties, names)
            columns = ", ".join(_cast(name, properties.types.get(name)) for name in names)
            _execute(connection, f"DROP TABLE {target.quoted}")
        rows = _create_as(database, connection, table, f"{create}SELECT {columns} FROM (\n", query)
        names = _columns(connection, target)
        _check_columns(table, properties, names)
        _execute(connection, *_not_null(target, properties, names))
        _apply_properties(connection, target, properties)
        state = _state(connection, target, rows)
    return Built(rows, time.monotonic() - started, state)


def build_view(database: Database, table: StageTable, target: RelationName, query: str) -> State:
    """Create `target` as a view of a query; gives what tells it from others.

    Raises:
        DatabaseError: PostgreSQL refused (with the query and the position), or went away.
    """
    import adbc_driver_manager

    prefix = f"CREATE VIEW {target.quoted} AS "
    with _building(database, table, target) as connection:
        try:
            _execute(connection, f"{prefix}{query}")
        except adbc_driver_manager.Error as error:
            failed = f"View `{table}` could not be built"
            remedy = _remedy(database, error, query)
            raise refusal(connection, error, failed, query, prefix, remedy) from None
        return _state(connection, target, 0)


@contextmanager
def _building(
    database: Database, table: StageTable, target: RelationName
) -> Iterator["AdbcConnection"]:
    """Open a transaction for `target`, which must not exist; explains what goes wrong in it."""
    import adbc_driver_manager

    with database.begin() as session:
        ensure_schema(session, target.schema)
    with database.adbc() as connection:
        try:
            yield connection
            connection.commit()
        except adbc_driver_manager.Error as error:
            failed, remedy = f"Table `{table}` could not be built", _remedy(database, error, "")
            raise refusal(connection, error, failed, remedy=remedy) from None


def _remedy(database: Database, error: Exception, statement: str) -> str | None:
    lacking = Lacking.of(error, statement)
    return None if lacking is None else database.remedy(lacking)


def _create_as(
    database: Database,
    connection: "AdbcConnection",
    table: StageTable,
    prefix: str,
    query: str,
    suffix: str = "",
) -> int:
    import adbc_driver_manager

    try:
        return _execute(connection, f"{prefix}{query}\n) AS q{suffix}")
    except adbc_driver_manager.Error as error:
        failed, remedy = f"Table `{table}` could not be built", _remedy(database, error, query)
        raise refusal(connection, error, failed, query, prefix, remedy) from None


def _check_types(connection: "AdbcConnection", types: Mapping[str, str]) -> None:
    from data_pipeline.transfer.copy_in import check_type

    with connection.cursor() as cursor:
        for column, kind in types.items():
            check_type(cursor, column, kind)


def _apply_properties(
    connection: "AdbcConnection", target: RelationName, properties: Properties
) -> None:
    statements = []
    if properties.primary_key:
        statements.append(key_statement(target, key_name(target.name), properties.primary_key))
    statements += [
        index_statement(target, index_name(target.name, index), index)
        for index in dict.fromkeys(properties.indexes)
    ]
    statements.append(f"SET LOCAL default_statistics_target = {_STATISTICS_TARGET}")
    statements.append(f"ANALYZE {target.quoted}")
    _execute(connection, *statements)


def _not_null(target: RelationName, properties: Properties, columns: list[str]) -> list[str]:
    return [
        f"ALTER TABLE {target.quoted} ALTER COLUMN {quoted(name)} SET NOT NULL"
        for name in properties.not_null(columns)
    ]


def _execute(connection: "AdbcConnection", *statements: str) -> int:
    """Execute statements; gives the number of rows of the last one."""
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
        return cursor.rowcount if statements else 0


def _state(connection: "AdbcConnection", target: RelationName, rows: int) -> State:
    state = state_of(f"{literal(target.quoted)}::regclass")
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {state}::text, pg_current_xact_id()::xid::text")
        found, transaction = cursor.fetchall()[0]
    return built_state(json.loads(found), rows, transaction)


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


def _check_columns(table: StageTable, properties: Properties, columns: list[str]) -> None:
    missing = properties.named_columns() - set(columns)
    if missing:
        listed = ", ".join(f"`{name}`" for name in sorted(missing))
        raise ConfigurationError(
            f"Table `{table}`: its properties name {listed}, but it has the columns "
            f"{', '.join(columns) or '(none)'}. Correct `Table(...)` or `table_properties(...)`."
        )
