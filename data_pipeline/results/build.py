"""Building a table in its staging schema, with its properties: from batches or from a query."""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from data_pipeline.database.adbc_sessions import commit_adbc, run_adbc
from data_pipeline.database.connection import Database, run, transaction
from data_pipeline.database.error_messages import Lacking, query_refusal, refusal
from data_pipeline.database.identifiers import RelationName, StageTable, literal, quoted
from data_pipeline.database.sql_text import stored_query
from data_pipeline.errors import ConfigurationError
from data_pipeline.results.sql_query import check_aliases, has_long_names
from data_pipeline.store.changed_by_hand import State, built_state, remembered, state_of
from data_pipeline.store.table_properties import (
    Properties,
    Written,
    index_name,
    index_statement,
    key_name,
    key_statement,
)
from data_pipeline.transfer.progress import Progress

if TYPE_CHECKING:
    import pyarrow as pa
    from adbc_driver_manager.dbapi import Connection as AdbcConnection

# A tenth of the default takes a sixth of the time, and tells the planner what it needs of tables
# that are replaced as a whole.
_STATISTICS_TARGET = 10


_FACTS = stored_query(__file__, "build_facts")


@dataclass(frozen=True)
class Built:
    """What was built.

    Attributes:
        rows: Its rows.
        seconds: How long it took.
        state: What tells the relation from others.
        facts: The value of `facts_sql`.
    """

    rows: int
    seconds: float
    state: State
    facts: Mapping[str, Any]


def facts_sql(relation: str) -> str:
    """Return the SQL expression for columns and size of a relation, as JSON.

    Args:
        relation: The SQL of its `regclass`.
    """
    return _FACTS.format(relation=relation)


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
    check_columns(table, properties, columns)
    started = time.monotonic()
    with _building(database, table, target) as connection:
        result = load(
            connection,
            target.schema,
            target.name,
            reader,
            types=properties.types,
            nullable=dict.fromkeys(properties.not_null(columns), False),
            unlogged=is_unlogged(properties, unlogged),
            on_progress=on_progress,
        )
        run_adbc(connection, "; ".join(additions(target, properties)))
        with connection.cursor() as cursor:
            cursor.execute(_found_query(database, target))
            [(text, _)] = cursor.fetchall()
    return _built(json.loads(text), result.rows, started)


def build_from_query(
    database: Database,
    session: sa.Connection,
    table: StageTable,
    target: RelationName,
    query: str,
    properties: Properties,
    *,
    unlogged: bool = False,
) -> Built:
    """Create `target` from a query inside the database, in one transaction.

    The query stands as a sub-select and is one statement, so it can be nothing but a SELECT that
    changes no other table.

    Args:
        database: The database.
        session: A session that commits each statement by itself.
        table: Stage and name.
        target: The relation, which must not exist; its schema must.
        query: The query.
        properties: What else the table is to be.
        unlogged: Whether it is unlogged where the properties do not say.

    Raises:
        ConfigurationError: A property speaks of a column that the query does not give.
        DatabaseError: PostgreSQL refused (with the query and the position), or went away.
    """
    create = f"CREATE {_unlogged(is_unlogged(properties, unlogged))}TABLE {target.quoted} AS "
    started = time.monotonic()
    asked = _Asked(database, session, table, query)
    finish = "; ".join([*analyze(target), _found_query(database, target)])
    if properties == Properties() and not has_long_names(query):
        [found] = asked.with_query(f"{create}SELECT * FROM (\n", "\n) AS q", finish)
    else:
        with transaction(session):
            columns = "*"
            if properties.types:
                check_types(session, properties.types)
                names = asked.columns(f"{create}SELECT * FROM (\n", "\n) AS q WITH NO DATA", target)
                check_columns(table, properties, names)
                columns = ", ".join(_cast(name, properties.types.get(name)) for name in names)
                run(session, f"DROP TABLE {target.quoted}")
            names = asked.columns(f"{create}SELECT {columns} FROM (\n", "\n) AS q", target)
            check_aliases(table, query, names)
            check_columns(table, properties, names)
            added = [
                *_not_null(target, properties, names),
                *_keys(target, properties),
                *descriptions(target, properties.columns),
            ]
            [found] = asked.run("; ".join([*added, finish]))
    known = json.loads(found.built)
    return _built(known, known["rows"], started)


def build_from_written(
    database: Database,
    session: sa.Connection,
    table: StageTable,
    target: RelationName,
    written: Written,
    properties: Properties,
) -> Built:
    """Make `target` of a table that has its rows already, in one transaction.

    Arguments are those of `build_from_query`, and the table.

    Raises:
        ConfigurationError: A property speaks of a column that it does not have.
        DatabaseError: PostgreSQL refused, or went away.
    """
    started = time.monotonic()
    asked = _Asked(database, session, table, "")
    moved = RelationName(target.schema, written.relation.name)
    with transaction(session):
        take = [
            f"ALTER TABLE {written.relation.quoted} SET SCHEMA {quoted(target.schema)}",
            f"ALTER TABLE {moved.quoted} RENAME TO {quoted(target.name)}",
            _columns_query(target),
        ]
        names = [name for (name,) in asked.run("; ".join(take))]
        check_columns(table, properties, names)
        added = [
            *_not_null(target, properties, names),
            *_keys(target, properties),
            *descriptions(target, properties.columns),
            *analyze(target),
        ]
        found_query = _found_query(database, target, str(written.rows), is_own=False)
        [found] = asked.run("; ".join([*added, found_query]))
    return _built(json.loads(found.built), written.rows, started)


def build_view(
    database: Database,
    session: sa.Connection,
    table: StageTable,
    target: RelationName,
    query: str,
    described: Mapping[str, str],
) -> Built:
    """Create `target` as a view of a query.

    Arguments are those of `build_from_query`, and what its columns mean.

    Raises:
        ConfigurationError: It is said what a column means that the query does not give.
        DatabaseError: PostgreSQL refused (with the query and the position), or went away.
    """
    started = time.monotonic()
    asked = _Asked(database, session, table, query, "View")
    finish = _found_query(database, target, rows="0")
    create = f"CREATE VIEW {target.quoted} AS "
    with transaction(session) if described or has_long_names(query) else nullcontext():
        if described:
            names = asked.columns(create, "\n", target)
            check_columns(table, Properties(columns=described), names)
            [found] = asked.run("; ".join([*descriptions(target, described), finish]))
        else:
            [found] = asked.with_query(create, "\n", finish)
        built = _built(json.loads(found.built), 0, started)
        check_aliases(table, query, [column[0] for column in built.facts["columns"] or ()])
    return built


def check_columns(table: StageTable, properties: Properties, columns: list[str]) -> None:
    """Refuse properties of columns that a table does not have.

    Raises:
        ConfigurationError: A property speaks of one.
    """
    missing = properties.named_columns() - set(columns)
    if missing:
        listed = ", ".join(f"`{name}`" for name in sorted(missing))
        raise ConfigurationError(
            f"Table `{table}`: its properties name {listed}, but it has the columns "
            f"{', '.join(columns) or '(none)'}. Correct `Table(...)` or `table_properties(...)`"
            + (", or `Columns:` in its docstring." if missing & {*properties.columns} else ".")
        )


@dataclass(frozen=True)
class _Asked:
    """Statements with a user's query, and what they fail with."""

    database: Database
    session: sa.Connection
    table: StageTable
    query: str
    what: str = "Table"

    def with_query(self, prefix: str, suffix: str, then: str) -> Sequence[sa.Row[Any]]:
        """Execute a statement around the query, and then others, in one round trip."""
        # Only what has a semicolon can be more than one statement.
        checked = f"{_one_select(self.query)}; {prefix}" if ";" in self.query else prefix
        return self.run(f"{checked}{self.query}{suffix}; {then}", len(checked))

    def columns(self, prefix: str, suffix: str, target: RelationName) -> list[str]:
        """Create the target from the query; gives its columns."""
        found = self.with_query(prefix, suffix, _columns_query(target))
        return [name for (name,) in found]

    def run(self, statements: str, start: int = 0) -> Sequence[sa.Row[Any]]:
        """Execute statements, in the first of which the query stands behind so many characters."""
        try:
            return run(self.session, statements).all()
        except sa.exc.DBAPIError as error:
            if error.connection_invalidated:
                raise self.database.lost(error.orig) from None
            lacking = Lacking.of(error.orig, self.query)
            raise query_refusal(
                self.session,
                error.orig,
                f"{self.what} `{self.table}` could not be built",
                self.query,
                start,
                None if lacking is None else self.database.remedy(lacking),
            ) from None


def _one_select(query: str) -> str:
    """Return a statement that fails if a query is more than one; it reads no row."""
    select = literal(f"SELECT * FROM (\n{query}\n) AS q")
    block = f"DECLARE one refcursor; BEGIN OPEN one FOR EXECUTE {select}; CLOSE one; END"
    return f"DO {literal(block)}"


def _found_query(
    database: Database, target: RelationName, rows: str | None = None, *, is_own: bool = True
) -> str:
    """Return the query for what its transaction has just built, in one text of JSON.

    Args:
        database: The database.
        target: What was built.
        rows: The SQL of the number of its rows, where it is known.
        is_own: Whether the same transaction has written the rows.
    """
    writer = "pg_current_xact_id()::xid::text"
    if not is_own:
        writer = f"coalesce((SELECT xmin::text FROM {target.quoted} LIMIT 1), {writer})"
    relation = f"{literal(target.quoted)}::regclass"
    # Where statistics count nothing, the rows have to be counted.
    counted = f"""CASE WHEN current_setting('track_counts')::boolean
        THEN pg_stat_get_xact_tuples_inserted({relation})
        ELSE (SELECT count(*) FROM {target.quoted}) END"""
    # A session that goes on would tell the server later what it has inserted.
    flush = "pg_stat_force_next_flush()::text" if database.keeps_sessions else "NULL"
    return f"""SELECT json_build_object(
        'state', {state_of(relation)}, 'facts', {facts_sql(relation)},
        'rows', {rows or counted}, 'writer', {writer}
        )::text AS built, {flush}"""


def built_by_several(
    database: Database,
    session: sa.Connection,
    target: RelationName,
    rows: int,
    writers: Sequence[str],
    started: float,
) -> Built:
    """Return what several transactions have built."""
    [(text, _)] = run(session, _found_query(database, target, rows=str(rows))).all()
    found = json.loads(text)
    state = remembered(
        {**found["state"], "inserted": rows, "updated": 0, "deleted": 0}, writer=writers
    )
    return Built(rows, time.monotonic() - started, state, found["facts"])


def _built(found: Mapping[str, Any], rows: int, started: float) -> Built:
    state = built_state(found["state"], rows, found["writer"])
    return Built(rows, time.monotonic() - started, state, found["facts"])


@contextmanager
def _building(
    database: Database, table: StageTable, target: RelationName
) -> Iterator["AdbcConnection"]:
    """Open a transaction for `target`, which must not exist; explains what goes wrong in it."""
    import adbc_driver_manager

    with database.adbc() as connection:
        try:
            yield connection
            commit_adbc(connection)
        except adbc_driver_manager.Error as error:
            failed, remedy = f"Table `{table}` could not be built", _remedy(database, error, "")
            raise refusal(connection, error, failed, remedy=remedy) from None


def _remedy(database: Database, error: Exception, statement: str) -> str | None:
    lacking = Lacking.of(error, statement)
    return None if lacking is None else database.remedy(lacking)


def check_types(session: sa.Connection, types: Mapping[str, str]) -> None:
    """Check that the types that are declared for columns exist.

    Raises:
        ConfigurationError: One does not.
    """
    from data_pipeline.transfer.copy_in import no_such_type

    for column, declared in types.items():
        try:
            is_known = run(session, f"SELECT to_regtype({literal(declared)}) IS NOT NULL").scalar()
        except sa.exc.ProgrammingError:
            is_known = False
        if not is_known:
            raise no_such_type(column, declared)


def _keys(target: RelationName, properties: Properties) -> list[str]:
    """Return the statements that give a table its primary key and its indexes."""
    indexes = [
        index_statement(target, index_name(target.name, index), index)
        for index in dict.fromkeys(properties.indexes)
    ]
    if not properties.primary_key:
        return indexes
    return [key_statement(target, key_name(target.name), properties.primary_key), *indexes]


def additions(target: RelationName, properties: Properties) -> list[str]:
    """Return the statements that a table with all its rows is finished by."""
    described = descriptions(target, properties.columns)
    return [*_keys(target, properties), *described, *analyze(target)]


def analyze(target: RelationName) -> list[str]:
    """Return the statements that tell the planner what it needs of a table that was written."""
    return [
        f"SET LOCAL default_statistics_target = {_STATISTICS_TARGET}",
        f"ANALYZE {target.quoted}",
    ]


def descriptions(target: RelationName, described: Mapping[str, str]) -> list[str]:
    """Return the statements that say what columns mean."""
    return [
        f"COMMENT ON COLUMN {target.quoted}.{quoted(name)} IS {literal(text)}"
        for name, text in described.items()
    ]


def _not_null(target: RelationName, properties: Properties, columns: list[str]) -> list[str]:
    return [
        f"ALTER TABLE {target.quoted} ALTER COLUMN {quoted(name)} SET NOT NULL"
        for name in properties.not_null(columns)
    ]


def _columns_query(relation: RelationName) -> str:
    return (
        "SELECT attname::text FROM pg_attribute "
        f"WHERE attrelid = {literal(relation.quoted)}::regclass "
        "AND attnum > 0 AND NOT attisdropped ORDER BY attnum"
    )


def _cast(name: str, kind: str | None) -> str:
    return f"CAST({quoted(name)} AS {kind}) AS {quoted(name)}" if kind else quoted(name)


def is_unlogged(properties: Properties, default: bool) -> bool:
    """Whether a table is unlogged, by its properties, else by what the instance defaults to."""
    return default if properties.unlogged is None else properties.unlogged


def _unlogged(unlogged: bool) -> str:
    return "UNLOGGED " if unlogged else ""
