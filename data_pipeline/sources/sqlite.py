"""Tables of a SQLite file as a source.

SQLite lets any value stand in any column. So each travels as text, and what does not fit the type
that its column declares is an error, not another value.
"""

import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
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

_TYPES = (
    ("BOOL", "boolean"),
    ("INT", "bigint"),
    ("CHAR|CLOB|TEXT", "text"),
    ("BLOB", "bytea"),
    ("REAL|FLOA|DOUB", "double precision"),
    ("DATETIME|TIMESTAMP", "timestamp without time zone"),
    ("DATE", "date"),
    ("TIME", "time without time zone"),
    ("DEC|NUM|MONEY", "numeric"),
)
"""By what a declared type contains: SQLite's own rules, and words that it gives no meaning."""

_BATCH_ROWS = 16_384
_LARGE_BYTES = 16 * 1024 * 1024
"""A file below this size has no large tables."""


class SqliteSource(Source):
    """A SQLite file.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.named = f"SQLite file {path}"

    def catalog(self) -> SourceCatalog:
        """Return its tables and views.

        Raises:
            SourceError: It is no such file.
        """
        with self._connected() as connection:
            found = _rows(
                connection,
                "SELECT name, type FROM sqlite_schema WHERE type IN ('table', 'view') "
                "AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY name",
            )
            keys = {name: _key(connection, name) for name, _ in found}
            tables = [_table(connection, name, kind, keys) for name, kind in found]
        return SourceCatalog({table.name: table for table in tables})

    def present(self, known: SourceRelation) -> SourceRelation | None:
        """Return a table as it is now; None where it is gone."""
        return self.catalog().tables.get(known.name)

    def fingerprint(self, table: SourceRelation, updated_at: str | None) -> Any:
        """Return size and time of change of the file and its log, or what `updated_at` tells."""
        if updated_at is None:
            wal = self._path.with_name(f"{self._path.name}-wal")
            return files_seen([self._path, wal], self._path.parent)
        with self._connected() as connection:
            query = f"SELECT count(*), max({quoted(updated_at)}) FROM {quoted(table.name)}"
            return [str(value) for value in _rows(connection, query)[0]]

    @contextmanager
    def reading(self, how: Reading) -> Iterator[Open]:
        """Open the source for the rows of several tables."""
        with ExitStack() as held:
            yield partial(self._open, how, held)

    def _open(self, how: Reading, held: ExitStack, table: SourceRelation) -> Rows:
        import pyarrow as pa

        from data_pipeline.transfer.arrow_types import AS_TEXT

        as_text = how.as_text.get(table.name, frozenset())
        kinds = [_arrow("text" if c.name in as_text else c.type, how) for c in table.columns]
        arrow = pa.schema(
            pa.field(c.name, kind, metadata=AS_TEXT if kind == pa.string() else None)
            for c, kind in zip(table.columns, kinds, strict=True)
        )
        if not how.as_frames and (ranges := self._ranges(table, arrow, held)):
            return ranges
        return pa.RecordBatchReader.from_batches(arrow, self._batches(table, arrow))

    def _ranges(
        self, table: SourceRelation, arrow: "pa.Schema", held: ExitStack
    ) -> BatchRanges | None:
        """Return the ranges of a large table, which one session reads in one snapshot."""
        before = self.fingerprint(table, None)
        if table.kind != "table" or sum(size for _, size, _ in before) < _LARGE_BYTES:
            return None
        connection = held.enter_context(self._connected())
        if (rowid := _rowid(connection, table)) is None:
            return None
        name = quoted(table.name)
        query = f"SELECT count(*), min({rowid}), max({rowid}) FROM {name}"  # takes the snapshot
        conditions = rowid_ranges(before, rowid, *_rows(connection, query)[0])
        if conditions is None:
            return None
        is_written = self.fingerprint(table, None) != before
        return BatchRanges(
            f"`{table.name}` of the {self.named}",
            arrow,
            {
                name: partial(self._range, connection, table, arrow, condition)
                for name, condition in conditions.items()
            },
            at_once=1,
            uncertain=f"{self._path} was written at that moment" if is_written else "",
        )

    def _range(
        self, connection: Any, table: SourceRelation, arrow: "pa.Schema", condition: str
    ) -> "pa.RecordBatchReader":
        import pyarrow as pa

        batches = self._selected(connection, table, arrow, f" WHERE {condition}")
        return pa.RecordBatchReader.from_batches(arrow, batches)

    def _batches(self, table: SourceRelation, arrow: "pa.Schema") -> Iterator["pa.RecordBatch"]:
        with self._connected() as connection:
            yield from self._selected(connection, table, arrow)

    def _selected(
        self, connection: Any, table: SourceRelation, arrow: "pa.Schema", where: str = ""
    ) -> Iterator["pa.RecordBatch"]:
        import pyarrow as pa

        listed = ", ".join(_expression(c.name, c.type) for c in table.columns)
        with connection.cursor() as cursor:
            options = {"adbc.sqlite.query.batch_rows": str(_BATCH_ROWS)}
            cursor.adbc_statement.set_options(**options)
            cursor.execute(f"SELECT {listed} FROM {quoted(table.name)}{where}")
            for batch in cursor.fetch_record_batch():
                arrays = [
                    self._decoded(table, field, column)
                    for field, column in zip(arrow, batch.columns, strict=True)
                ]
                yield pa.RecordBatch.from_arrays(arrays, schema=arrow)

    def _decoded(self, table: SourceRelation, field: "pa.Field", column: "pa.Array") -> "pa.Array":
        import pyarrow as pa
        import pyarrow.compute as pc

        if pa.types.is_null(column.type) or not len(column):
            return pa.nulls(len(column), field.type)
        try:
            texts = pc.utf8_slice_codeunits(column, start=1, stop=None)
            texts = pc.if_else(pc.equal(column, "n"), pa.scalar(None, pa.string()), texts)
            if pa.types.is_binary(field.type):
                values = [None if t is None else bytes.fromhex(t) for t in texts.to_pylist()]
                return pa.array(values, pa.binary())
            return texts.cast(field.type)
        except pa.ArrowException as error:
            typed = f"properties={{{table.name!r}: {{'types': {{{field.name!r}: 'text'}}}}}}"
            is_text = pa.types.is_string(field.type)
            raise UnsupportedDataError(
                f"{self.named}: column `{field.name}` of `{table.name}` has a value that is no "
                f"{field.type}: {str(error).splitlines()[0]}. "
                f"{'Correct it there.' if is_text else f'Say what its type is: {typed}.'}"
            ) from error

    @contextmanager
    def _connected(self) -> Iterator[Any]:
        try:
            import adbc_driver_sqlite.dbapi as sqlite
        except ModuleNotFoundError:
            raise needs_extra("adbc-driver-sqlite", "sqlite") from None
        try:
            with sqlite.connect(f"{self._path.resolve().as_uri()}?mode=ro") as connection:
                yield connection
        except sqlite.Error as error:
            raise SourceError(f"{self.named} cannot be read: {error}") from None


def _rowid(connection: Any, table: SourceRelation) -> str | None:
    """Return the name of the number of a row; None where rows of a table have none."""
    query = f"SELECT type, wr FROM pragma_table_list({literal(table.name)}) WHERE schema = 'main'"
    taken = {column.name.lower() for column in table.columns}
    free = [name for name in ("rowid", "_rowid_", "oid") if name not in taken]
    return free[0] if free and _rows(connection, query) == [("table", 0)] else None


def _rows(connection: Any, query: str) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(query)
        return [tuple(row) for row in cursor.fetchall()]


def _key(connection: Any, name: str) -> tuple[str, ...]:
    query = f"SELECT name, pk FROM pragma_table_xinfo({literal(name)}) WHERE pk > 0 ORDER BY pk"
    return tuple(column for column, _ in _rows(connection, query))


def _table(
    connection: Any, name: str, kind: str, keys: dict[str, tuple[str, ...]]
) -> SourceRelation:
    # A column of a virtual table that is hidden is none of its rows.
    query = f"""SELECT name, type, "notnull", pk FROM pragma_table_xinfo({literal(name)})
        WHERE hidden <> 1 ORDER BY cid"""
    columns = [
        SourceColumn(column, _type(declared), declared, bool(not_null or place))
        for column, declared, not_null, place in _rows(connection, query)
    ]
    references = _references(connection, name, keys)
    return SourceRelation(name, kind, tuple(columns), keys[name], tuple(dict.fromkeys(references)))


def _references(
    connection: Any, name: str, keys: dict[str, tuple[str, ...]]
) -> Iterator[ForeignKey]:
    query = f"""SELECT id, "table", "from", "to" FROM pragma_foreign_key_list({literal(name)})
        ORDER BY id, seq"""
    found: dict[int, list[tuple[str, str, str | None]]] = {}
    for number, table, own, other in _rows(connection, query):
        found.setdefault(number, []).append((table, own, other))
    known = {table.lower(): table for table in keys}
    for parts in found.values():
        parent = known.get(parts[0][0].lower(), parts[0][0])
        others = [other for _, _, other in parts]
        named = [item for item in others if item is not None] or keys.get(parent, ())
        if len(named) == len(parts):
            yield ForeignKey([own for _, own, _ in parts], parent, named)


def _type(declared: str) -> str:
    for words, name in _TYPES:
        if re.search(words, declared.upper()):
            return name
    return "text"


def _expression(name: str, kind: str) -> str:
    """Return a column as text, never NULL: the driver takes types from the first rows."""
    column = quoted(name)
    text = f"CAST({column} AS TEXT)"
    if kind == "bytea":
        text = f"hex({column})"
    if kind == "double precision":  # a cast to text gives 15 digits
        exact = f"printf('%!.17g', {column})"
        text = f"CASE typeof({column}) WHEN 'real' THEN {exact} ELSE {text} END"
    return f"CASE WHEN {column} IS NULL THEN 'n' ELSE 'v' || {text} END"


def _arrow(kind: str, how: Reading) -> "pa.DataType":
    """Return the type that values are told as; others than these PostgreSQL reads from text."""
    import pyarrow as pa

    stored = {
        "boolean": pa.bool_(),
        "bigint": pa.int64(),
        "bytea": pa.binary(),
        "double precision": pa.float64(),
    }
    in_memory = {
        "timestamp without time zone": pa.timestamp("us"),
        "date": pa.date32(),
        "time without time zone": pa.time64("us"),
        "numeric": pa.float64(),
    }
    return {**stored, **(in_memory if how.as_frames else {})}.get(kind, pa.string())
