"""Tables of a DuckDB file as a source."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data_pipeline.database.identifiers import literal, quoted
from data_pipeline.errors import UnsupportedDataError
from data_pipeline.results.ranges.batch_ranges import BatchRanges
from data_pipeline.sources.fingerprints import files_seen
from data_pipeline.sources.location import needs_extra
from data_pipeline.sources.ranges.rowid_ranges import rowid_ranges
from data_pipeline.sources.source import Open, Reading, Rows, Source, SourceError
from data_pipeline.sources.source_catalog import SourceCatalog, SourceColumn, SourceRelation
from data_pipeline.store.table_properties import ForeignKey

if TYPE_CHECKING:
    import pyarrow as pa

_AS_TEXT = {
    "UUID": "uuid",
    "BIT": "text",
    "HUGEINT": "numeric",
    "UHUGEINT": "numeric",
    "UBIGINT": "numeric",
    "BIGNUM": "numeric",
    "TIME WITH TIME ZONE": "time with time zone",
}
"""Types that Arrow does not hold exactly, and what they become."""


class DuckdbSource(Source):
    """A schema of a DuckDB file.

    Args:
        path: The file.
        schema: The schema.
    """

    def __init__(self, path: Path, schema: str) -> None:
        self._path = path
        self._schema = schema
        self.named = f"Schema `{schema}` of the DuckDB file {path}"

    def catalog(self) -> SourceCatalog:
        """Return its tables and views.

        Raises:
            SourceError: It is no such file, another process writes it, or there is no such schema.
        """
        with self._connected() as connection:
            where = (
                f"WHERE database_name = current_database() AND schema_name = "
                f"{literal(self._schema)} AND NOT internal"
            )
            found = _rows(
                connection,
                f"SELECT table_name AS name, 'table' AS kind, comment FROM duckdb_tables() {where} "
                f"UNION ALL SELECT view_name, 'view', comment FROM duckdb_views() {where} "
                "ORDER BY name",
            )
            if not found:
                raise SourceError(f"{self.named} has no tables. Name another schema: schema=...")
            columns = _rows(connection, f"SELECT * FROM duckdb_columns() {where}")
            constraints = _rows(
                connection,
                f"SELECT * FROM duckdb_constraints() {where[: -len(' AND NOT internal')]}",
            )
            return self.described(
                {
                    item["name"]: partial(self._table, connection, item, columns, constraints)
                    for item in found
                }
            )

    def present(self, known: SourceRelation) -> SourceRelation | None:
        """Return a table as it is now; None where it is gone."""
        self.wanted = {known.name}
        return self.catalog().tables.get(known.name)

    def fingerprint(self, table: SourceRelation, updated_at: str | None) -> Any:
        """Return size and time of change of the file and its log, or what `updated_at` tells."""
        if updated_at is None:
            wal = self._path.with_name(f"{self._path.name}.wal")
            return files_seen([self._path, wal], self._path.parent)
        with self._connected() as connection:
            latest = f"max({quoted(updated_at)})"
            query = (
                f"SELECT count(*)::VARCHAR AS n, {latest}::VARCHAR AS at FROM {self._name(table)}"
            )
            return list(_rows(connection, query)[0].values())

    @contextmanager
    def reading(self, how: Reading) -> Iterator[Open]:
        """Open the source for the rows of several tables, each in its own session.

        Nobody writes to the file while it is open.
        """
        with self._connected() as connection:
            yield partial(self._open, connection, how)

    def _open(self, connection: Any, how: Reading, table: SourceRelation) -> Rows:
        as_text = how.as_text.get(table.name, frozenset())
        listed = ", ".join(_expression(c, as_text=c.name in as_text) for c in table.columns)
        query = f"SELECT {listed} FROM {self._name(table)}"
        if how.as_frames or not (conditions := self._conditions(connection, table)):
            return _reader(connection, query)
        schema = _reader(connection, f"{query} LIMIT 0").read_all().schema
        ranges = {
            name: partial(_reader, connection, f"{query} WHERE {condition}")
            for name, condition in conditions.items()
        }
        named = f"`{table.name}` of the DuckDB file {self._path}"
        return BatchRanges(named, schema, ranges, how.at_once)

    def _conditions(self, connection: Any, table: SourceRelation) -> Mapping[str, str] | None:
        """Return the conditions for ranges of a table; None where it has none."""
        if table.kind != "table":
            return None
        name = self._name(table)
        query = f"SELECT count(*) AS n, min(rowid) AS a, max(rowid) AS z FROM {name}"
        with connection.adbc_clone() as session:  # others read by the connection itself
            [found] = _rows(session, query)
        state = self.fingerprint(table, None)
        return rowid_ranges(state, "rowid", found["n"], found["a"], found["z"])

    def _name(self, table: SourceRelation) -> str:
        return quoted(self._schema, table.name)

    def _table(
        self,
        connection: Any,
        found: Mapping[str, Any],
        columns: list[dict[str, Any]],
        constraints: list[dict[str, Any]],
    ) -> SourceRelation:
        from data_pipeline.transfer.arrow_types import declared_type

        name = found["name"]
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT * FROM {quoted(self._schema, name)} LIMIT 0")
            arrow = {field.name: field.type for field in cursor.fetch_record_batch().schema}
        own = [item for item in constraints if item["table_name"] == name]

        def type_of(item: Mapping[str, Any]) -> str:
            kind = _AS_TEXT.get(item["data_type"], "jsonb" if item["data_type"] == "JSON" else None)
            try:
                return kind or declared_type(item["column_name"], arrow[item["column_name"]])
            except UnsupportedDataError as error:
                raise UnsupportedDataError(f"{self.named}: table `{name}`: {error}") from None

        keys = [item for item in own if item["constraint_type"] == "PRIMARY KEY"]
        return SourceRelation(
            name=name,
            kind=found["kind"],
            columns=tuple(
                SourceColumn(
                    item["column_name"],
                    type_of(item),
                    item["data_type"],
                    not item["is_nullable"],
                    item["comment"],
                )
                for item in columns
                if item["table_name"] == name
            ),
            primary_key=tuple(keys[0]["constraint_column_names"]) if keys else (),
            foreign_keys=tuple(
                ForeignKey(
                    item["constraint_column_names"],
                    item["referenced_table"],
                    item["referenced_column_names"],
                )
                for item in own
                if item["constraint_type"] == "FOREIGN KEY"
            ),
            comment=found["comment"],
        )

    @contextmanager
    def _connected(self) -> Iterator[Any]:
        try:
            import adbc_driver_duckdb
        except ModuleNotFoundError:
            raise needs_extra("duckdb", "duckdb") from None
        import adbc_driver_manager.dbapi as adbc

        try:
            with adbc.connect(
                driver=adbc_driver_duckdb.driver_path(),
                entrypoint="duckdb_adbc_init",
                db_kwargs={"path": str(self._path), "access_mode": "READ_ONLY"},
                autocommit=True,
            ) as connection:
                yield connection
        except adbc.Error as error:
            raise SourceError(f"{self.named} cannot be read: {error}") from None


def _rows(connection: Any, query: str) -> list[dict[str, Any]]:
    with connection.cursor() as cursor:
        cursor.execute(query)
        found: list[dict[str, Any]] = cursor.fetch_arrow_table().to_pylist()
        return found


def _reader(connection: Any, query: str) -> "pa.RecordBatchReader":
    """Return the rows of a query, which has its own session."""
    import pyarrow as pa

    session = connection.adbc_clone()
    cursor = session.cursor()
    cursor.execute(query)
    reader = cursor.fetch_record_batch()

    def batches() -> Iterator[pa.RecordBatch]:
        with session, cursor:
            yield from reader

    return pa.RecordBatchReader.from_batches(reader.schema, batches())


def _expression(column: SourceColumn, *, as_text: bool) -> str:
    name = quoted(column.name)
    travels_as_text = as_text or column.source_type in _AS_TEXT
    return f"CAST({name} AS VARCHAR) AS {name}" if travels_as_text else name
