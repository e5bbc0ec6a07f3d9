"""Reads a PostgreSQL relation as an Arrow stream over a binary COPY."""

import time
from collections.abc import Callable, Iterator
from itertools import islice
from typing import TYPE_CHECKING

import adbc_driver_manager
import pyarrow as pa

from data_pipeline.tables.columns import relation_columns
from data_pipeline.tables.decode import Incoming
from data_pipeline.tables.names import quoted
from data_pipeline.tables.progress import Progress
from data_pipeline.tables.refusal import refusal

if TYPE_CHECKING:
    from adbc_driver_manager.dbapi import Connection, Cursor


def read(
    connection: "Connection",
    schema: str,
    table: str,
    *,
    on_progress: Progress | None = None,
    on_close: Callable[[], None] | None = None,
) -> pa.RecordBatchReader:
    """Opens a table or view as a stream of batches; they arrive as they are asked for.

    The schema follows from the column types alone (see `arrow_types`). The connection serves this
    stream until it ends, fails or is dropped; then its cursor closes and `on_close` is called,
    which is the place to close the connection.

    Args:
        connection: An ADBC connection.
        schema: The schema of the relation.
        table: Its name.
        on_progress: Called after each batch with rows and seconds so far.
        on_close: Called once when the stream is over, or when opening it fails.

    Raises:
        TableNotFoundError: There is no such relation.
        UnsupportedDataError: While streaming: Arrow or Python cannot hold a value.
        DatabaseError: The server refused something, or is gone.
    """
    batches = _batches(connection, schema, table, on_progress, on_close)
    # The first thing it yields is the schema. Once started, it also closes when dropped.
    arrow = next(batches)
    return pa.RecordBatchReader.from_batches(arrow, batches)


def _batches(
    connection: "Connection",
    schema: str,
    table: str,
    on_progress: Progress | None,
    on_close: Callable[[], None] | None,
) -> Iterator[pa.Schema | pa.RecordBatch]:
    started, rows = time.monotonic(), 0
    try:
        with connection.cursor() as cursor:
            relation = f"{schema}.{table}"
            columns = [Incoming(relation, c) for c in relation_columns(cursor, schema, table)]
            yield pa.schema([column.field for column in columns])
            for batch in _select(cursor, quoted(schema, table), columns):
                yield _decoded(batch, columns, rows)
                rows += batch.num_rows
                if on_progress is not None:
                    on_progress(rows, time.monotonic() - started)
    except adbc_driver_manager.Error as error:
        failed = f"Reading the table `{schema}.{table}` failed"
        raise refusal(connection, error, failed) from None
    finally:
        if on_close is not None:
            on_close()


def _select(cursor: "Cursor", relation: str, columns: list[Incoming]) -> Iterator[pa.RecordBatch]:
    if not columns:
        # S608: identifiers cannot be parameters; `identifier` quotes them.
        cursor.execute(f"SELECT count(*) FROM {relation}")
        rows = (cursor.fetchone() or (0,))[0]
        yield pa.RecordBatch.from_struct_array(pa.array([{}] * rows, pa.struct([])))
        return
    expressions = [part for column in columns for part in column.expressions]
    numbered = ", ".join(f"{part} AS c{number}" for number, part in enumerate(expressions))
    cursor.execute(f"SELECT {numbered} FROM {relation}")
    yield from cursor.fetch_record_batch()


def _decoded(batch: pa.RecordBatch, columns: list[Incoming], first_row: int) -> pa.RecordBatch:
    if not columns:
        return batch
    # Once: pyarrow makes this list anew at each access.
    received = iter(batch.columns)
    arrays = [
        column.decode(list(islice(received, len(column.expressions))), first_row)
        for column in columns
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=pa.schema([c.field for c in columns]))
