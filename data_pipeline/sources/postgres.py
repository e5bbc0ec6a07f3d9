"""Tables of a PostgreSQL database as a source."""

import functools
import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from data_pipeline.database.connection import Database, database, database_at, run
from data_pipeline.database.error_messages import refusal
from data_pipeline.database.identifiers import RelationName, literal, quoted
from data_pipeline.database.sql_text import stored_query
from data_pipeline.errors import UnsupportedDataError
from data_pipeline.instances import DatabaseUrl, Instance, load_configuration
from data_pipeline.results.ranges.ranged_rows import RangedRows
from data_pipeline.results.sql_query import sql_query
from data_pipeline.sources.ranges.postgres_page_ranges import (
    PagedTable,
    Range,
    ranges_of,
    snapshot_session,
)
from data_pipeline.sources.ranges.postgres_range_reads import PostgresRanges, RangesWithin
from data_pipeline.sources.source import Open, Reading, Rows, Source, SourceError, uncounted
from data_pipeline.sources.source_catalog import SourceCatalog, SourceColumn, SourceRelation
from data_pipeline.store.table_properties import ForeignKey

if TYPE_CHECKING:
    import pyarrow as pa

_TABLES = sa.text(stored_query(__file__, "postgres_column_types"))
_COUNTERS = sa.text(stored_query(__file__, "postgres_counters"))
_PLACE = stored_query(__file__, "postgres_place")

_ALONE = frozenset({"table", "materialized view"})
_COUNTED = _ALONE | {"partitioned table", "table that others inherit from"}
_STANDBY = "the server is a standby, which counts no changes"

# Text forms that every server reads alike, whatever role and database default to.
_SETTINGS = {
    "extra_float_digits": "3",
    "DateStyle": "ISO, YMD",
    "IntervalStyle": "postgres",
    "bytea_output": "hex",
    "search_path": "pg_catalog",
}
_SETTING = "; ".join(f"SET LOCAL {name} = {literal(value)}" for name, value in _SETTINGS.items())
_BATCH_BYTES = 4 * 1024 * 1024
"""Several tables are read at once, each some batches ahead: so batches are small."""


class PostgresSource(Source):
    """A schema of a PostgreSQL database.

    Args:
        url: The URL.
        schema: The schema.
        named_in: Where the URL stands, for messages.
    """

    def __init__(self, url: DatabaseUrl, schema: str, named_in: str) -> None:
        self._url = url
        self._schema = schema
        self._named_in = named_in
        self.named = f"Schema `{schema}` of the source database `{url.database}`"

    @property
    def _database(self) -> Database:
        home = load_configuration().home
        return database_at(self._url, home, named_in=self._named_in)

    def catalog(self) -> SourceCatalog:
        """Return its tables, views and foreign tables.

        Raises:
            SourceError: There is no such schema.
            DatabaseError: The database cannot be reached.
        """
        return SourceCatalog({table.name: table for table in self._tables(None)})

    def present(self, known: SourceRelation) -> SourceRelation | None:
        """Return a table as it is now; None where it is gone."""
        return next(iter(self._tables(known.name)), None)

    def _tables(self, name: str | None) -> list[SourceRelation]:
        with self._database.begin() as connection:
            _set(connection)
            given = {"schema": self._schema, "name": name}
            found = [_table(json.loads(text)) for text in connection.scalars(_TABLES, given)]
            if not found and name is None:
                self._check_schema(connection)
        return found

    def _check_schema(self, connection: sa.Connection) -> None:
        schemas = connection.scalars(
            sa.text("SELECT nspname FROM pg_namespace WHERE nspname !~ '^pg_' ORDER BY 1")
        ).all()
        if self._schema not in schemas:
            raise SourceError(
                f"{self.named}: there is no such schema. Name one of {', '.join(schemas)}: "
                f'schema="...", {self._named_in}.'
            )

    def fingerprint(self, table: SourceRelation, updated_at: str | None) -> Any:
        """Return the counters of a table, or count and latest change of its rows.

        Counters lag: a change is counted within a second or so of its commit, and within ten where
        its session stays idle.

        Raises:
            ConfigurationError: Nothing is counted.
            SourceError: There is no such table any more.
            DatabaseError: The database cannot be reached.
        """
        with self._database.begin() as connection:
            if updated_at is not None:
                _set(connection)
                return self._latest(connection, table, updated_at)
            columns = [column.name for column in table.columns]
            given = {"schema": self._schema, "name": table.name, "columns": columns}
            found = connection.execute(_COUNTERS, given).one_or_none()
        if found is None:
            raise SourceError(f"{self.named} has no table `{table.name}` any more.")
        if found.standby or not found.counts:
            raise uncounted(self.named, table, _STANDBY if found.standby else "track_counts is off")
        return found.identity

    def _latest(self, connection: sa.Connection, table: SourceRelation, column: str) -> list[str]:
        query = f"SELECT count(*)::text, max({quoted(column)})::text FROM {self._name(table)}"
        return list(run(connection, query).one())

    def _name(self, table: SourceRelation) -> str:
        return RelationName(self._schema, table.name).quoted

    def within(
        self, table: SourceRelation, instance: Instance, how: Reading
    ) -> sa.TextClause | RangedRows | None:
        """Return the rows of a table where an instance is in the same database, and may read it."""
        target = database(instance)
        if not self._is_within(target, table):
            return None
        if ranges := self._ranges_in(target, table):
            columns = {c.name: _sent(c, as_text=False) for c in table.columns}
            paged = PagedTable(self._named(table), columns, ranges, _SETTING)
            return RangesWithin(target, paged, how.at_once)
        listed = ", ".join(quoted(column.name) for column in table.columns)
        return sql_query(f"SELECT {listed} FROM {self._name(table)}")

    def _is_within(self, target: Database, table: SourceRelation) -> bool:
        with target.begin() as there:
            place = run(there, _PLACE).scalar()
            user = run(there, "SELECT current_user").scalar()
            name = literal(self._name(table))
            may = (
                run(there, f"SELECT to_regclass({name}) IS NOT NULL").scalar()
                and run(there, f"SELECT has_table_privilege({name}, 'SELECT')").scalar()
            )
        # Who a view or a policy takes the reader for counts.
        is_alike = user == self._place[1] or table.kind in _ALONE
        return bool(may) and place == self._place[0] and is_alike

    def _ranges_in(self, reader: Database, table: SourceRelation) -> Mapping[str, Range] | None:
        if not table.columns:
            return None
        with reader.begin() as connection:
            _set(connection)
            return ranges_of(connection, self._schema, table.name)

    def _named(self, table: SourceRelation) -> str:
        return f"`{table.name}` of {self.named[0].lower()}{self.named[1:]}"

    @functools.cached_property
    def _place(self) -> tuple[str, str]:
        """Which database of which server it is, and as whom it is read."""
        with self._database.begin() as connection:
            place = run(connection, _PLACE).scalar()
            return str(place), str(run(connection, "SELECT current_user").scalar())

    @contextmanager
    def reading(self, how: Reading) -> Iterator[Open]:
        """Open the source for the rows of several tables, all as of one moment."""
        with snapshot_session(self._database) as holder:
            _set(holder)
            snapshot = str(run(holder, "SELECT pg_export_snapshot()").scalar())
            yield functools.partial(self._open, how, snapshot)

    def _open(self, how: Reading, snapshot: str, table: SourceRelation) -> Rows:
        import pyarrow as pa

        if not how.as_frames and (ranged := self._ranges(how, snapshot, table)):
            return ranged
        stack = ExitStack()
        connection = stack.enter_context(self._database.adbc())
        try:
            with connection.cursor() as cursor:
                cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
                cursor.execute(f"SET TRANSACTION SNAPSHOT {literal(snapshot)}")
                for name, value in _SETTINGS.items():
                    cursor.execute(f"SET LOCAL {quoted(name)} = {literal(value)}")
            if how.as_frames:
                from data_pipeline.transfer.copy_out import read

                return read(connection, self._schema, table.name, on_close=stack.close)
        except BaseException as error:
            with stack:
                raise self._failed(connection, table, error) from None
        columns = [
            _SourceColumn(self.named, table.name, c, c.name in how.as_text.get(table.name, ()))
            for c in table.columns
        ]
        arrow = pa.schema([column.field for column in columns])
        batches = self._batches(stack, connection, table, columns, arrow)
        return pa.RecordBatchReader.from_batches(arrow, batches)

    def _ranges(self, how: Reading, snapshot: str, table: SourceRelation) -> PostgresRanges | None:
        ranges = self._ranges_in(self._database, table)
        if ranges is None:
            return None
        as_text = how.as_text.get(table.name, ())
        columns = {c.name: _sent(c, as_text=c.name in as_text) for c in table.columns}
        paged = PagedTable(self._named(table), columns, ranges, _SETTING)
        return PostgresRanges(self._database, paged, how.at_once, snapshot)

    def _failed(
        self, connection: Any, table: SourceRelation, error: BaseException
    ) -> BaseException:
        import adbc_driver_manager

        if not isinstance(error, adbc_driver_manager.Error):
            return error
        return refusal(connection, error, f"{self.named}: reading `{table.name}` failed")

    def _batches(
        self,
        stack: ExitStack,
        connection: Any,
        table: SourceRelation,
        columns: list["_SourceColumn"],
        arrow: "pa.Schema",
    ) -> Iterator["pa.RecordBatch"]:
        import pyarrow as pa

        try:
            with connection.cursor() as cursor:
                if not columns:
                    cursor.execute(f"SELECT count(*) FROM {self._name(table)}")
                    empty = pa.array([{}] * cursor.fetchone()[0], pa.struct([]))
                    yield pa.RecordBatch.from_struct_array(empty)
                    return
                cursor.adbc_statement.set_options(
                    **{"adbc.postgresql.batch_size_hint_bytes": _BATCH_BYTES}
                )
                listed = ", ".join(f"{c.expression} AS c{n}" for n, c in enumerate(columns))
                cursor.execute(f"SELECT {listed} FROM {self._name(table)}")
                for batch in cursor.fetch_record_batch():
                    arrays = [
                        column.decode(array)
                        for column, array in zip(columns, batch.columns, strict=True)
                    ]
                    yield pa.RecordBatch.from_arrays(arrays, schema=arrow)
        except BaseException as error:
            raise self._failed(connection, table, error) from None
        finally:
            stack.close()


def _set(connection: sa.Connection) -> None:
    run(connection, _SETTING)


def _sent(column: SourceColumn, *, as_text: bool) -> tuple[str, str]:
    """Return the type that a column is sent as, and the SQL of its values."""
    kind, name = "text" if as_text else column.type, quoted(column.name)
    return kind, f"CAST({name} AS {kind})" if as_text or column.source_type else name


def _table(said: Mapping[str, Any]) -> SourceRelation:
    kind = said["kind"]
    reason = "" if kind in _COUNTED else f"it is a {kind}"
    if said["has_foreign"] and not reason:
        reason = "a part of it is a foreign table"
    return SourceRelation(
        name=said["name"],
        kind=kind,
        columns=tuple(
            SourceColumn(
                item["name"],
                item["type"],
                "" if item["source_type"] == item["type"] else item["source_type"],
                item["not_null"],
                item["comment"],
            )
            for item in said["columns"]
        ),
        primary_key=tuple(said["primary_key"] or ()),
        foreign_keys=tuple(dict.fromkeys(ForeignKey(**key) for key in said["foreign_keys"] or ())),
        comment=said["comment"],
        uncounted=_STANDBY if said["standby"] and not reason else reason,
    )


class _SourceColumn:
    """How a column is selected and decoded: exactly, as text where Arrow has no such type."""

    def __init__(self, named: str, table: str, column: SourceColumn, as_text: bool) -> None:
        import pyarrow as pa

        from data_pipeline.transfer.arrow_types import AS_TEXT

        self._place = f"{named}: column `{column.name}` of `{table}`"
        self._remedy = (
            f"properties={{{table!r}: {{'types': {{{column.name!r}: {column.type!r}}}}}}}"
        )
        arrow = None if as_text else _arrow(column.type)
        kept = None if arrow else AS_TEXT
        self.field = pa.field(column.name, arrow or pa.string(), metadata=kept)
        name = quoted(column.name)
        typed = name if as_text else f"CAST({name} AS {column.type})"
        self.expression = typed if arrow else f"CAST({typed} AS text)"

    def decode(self, array: "pa.Array") -> "pa.Array":
        """Return what came with the type of `field`.

        Raises:
            UnsupportedDataError: Arrow cannot hold a value.
        """
        import pyarrow as pa

        from data_pipeline.transfer.copy_out import decoded
        from data_pipeline.transfer.frame_checks import ValueRefusedError

        try:
            return decoded(array, self.field.type)
        except (ValueRefusedError, pa.ArrowException) as error:
            raise UnsupportedDataError(
                f"{self._place} has a value that does not pass through Arrow as {self.field.type}: "
                f"{str(error).splitlines()[0]}. Let the column travel as text: {self._remedy}."
            ) from error


def _arrow(declared: str) -> "pa.DataType | None":
    """Return the Arrow type that holds every value of a type exactly; None where none does."""
    if match := _NUMERIC.fullmatch(declared):
        from data_pipeline.transfer.arrow_types import decimal_type

        return decimal_type(int(match[1]), int(match[2]))
    plain = re.sub(r"\(\d+\)", "", declared)
    make = _EXACT.get(plain)
    return None if make is None else make()


_NUMERIC = re.compile(r"numeric\((\d+),(-?\d+)\)")


def _of(name: str, *arguments: str) -> Callable[[], Any]:
    def make() -> Any:
        import pyarrow as pa

        return getattr(pa, name)(*arguments)

    return make


_EXACT: Mapping[str, Callable[[], Any]] = {
    "boolean": _of("bool_"),
    "smallint": _of("int16"),
    "integer": _of("int32"),
    "bigint": _of("int64"),
    "real": _of("float32"),
    "double precision": _of("float64"),
    "bytea": _of("binary"),
    "date": _of("date32"),
    "time without time zone": _of("time64", "us"),
    "timestamp without time zone": _of("timestamp", "us"),
    "timestamp with time zone": _of("timestamp", "us", "UTC"),
    "uuid": _of("uuid"),
    "json": _of("json_"),
    "jsonb": _of("json_"),
    "text": _of("string"),
    "character varying": _of("string"),
    "character": _of("string"),
}
