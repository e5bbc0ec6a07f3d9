"""Reads a PostgreSQL relation as an Arrow stream over a binary COPY."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from itertools import islice
from typing import TYPE_CHECKING

import adbc_driver_manager
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from data_pipeline.database.error_messages import refusal
from data_pipeline.database.identifiers import quoted
from data_pipeline.errors import UnsupportedDataError
from data_pipeline.transfer.arrow_types import JSON_TYPES, MICROSECONDS_PER_DAY
from data_pipeline.transfer.encode import first_refused, shown_value
from data_pipeline.transfer.frame_checks import ValueRefusedError, check_values, interval_parts
from data_pipeline.transfer.progress import Progress
from data_pipeline.transfer.table_columns import Column, relation_columns

if TYPE_CHECKING:
    from adbc_driver_manager.dbapi import Connection, Cursor


_MAX_DURATION_DAYS = 2**63 // MICROSECONDS_PER_DAY - 1
# Beyond it not every whole number is a float64.
_EXACT_FLOAT64 = 2.0**53


@dataclass(frozen=True)
class Incoming:
    """How one column is selected and decoded.

    Attributes:
        relation: The table, as it stands in messages.
        column: The column and its PostgreSQL type.
    """

    relation: str
    column: Column

    @property
    def field(self) -> pa.Field:
        """Name and Arrow type of what `decode` gives."""
        return pa.field(self.column.name, self.column.type.arrow)

    @property
    def expressions(self) -> list[str]:
        """What stands for it in a SELECT list: the value, and for an array its dimensions."""
        name, kind = quoted(self.column.name), self.column.type
        if kind.is_array:
            return [_cast_array(name, kind.name, known=kind.is_known), f"array_ndims({name})"]
        if kind.name == "oid":
            return [f"{name}::bigint"]
        if kind.name == "interval":
            # Whole days apart: the driver holds the rest in nanoseconds, up to 292 years.
            return [f"justify_hours({name})"]
        return [name if kind.is_known else f"{name}::text"]

    def decode(self, arrays: list[pa.Array], first_row: int) -> pa.Array:
        """Return the column's array with exactly the type of `field`.

        Args:
            arrays: What came for `expressions`.
            first_row: The number of the first row in the whole table, from 0.

        Raises:
            UnsupportedDataError: Arrow or Python cannot hold a value.
        """
        try:
            if len(arrays) > 1:
                _check_dimensions(arrays[1])
            return decoded(arrays[0], self.field.type)
        except (ValueRefusedError, pa.ArrowException) as error:
            raise self._refused(arrays, first_row, error) from error

    def _refused(
        self, arrays: list[pa.Array], first_row: int, error: Exception
    ) -> UnsupportedDataError:
        def attempt(piece: pa.Array) -> pa.Array:
            return decoded(piece, self.field.type)

        try:
            attempt(arrays[0])
        except (ValueRefusedError, pa.ArrowException):
            row = first_refused(arrays[0], attempt)
        else:
            row = first_refused(arrays[1], _check_dimensions)
        return UnsupportedDataError(
            f"Table `{self.relation}`, column `{self.column.name}`, row {first_row + row} (from 0)"
            f": the value {shown_value(arrays[0], row)} of type {self.column.type.declared} cannot "
            f"be read as {self.field.type}: {str(error).splitlines()[0]}. "
            "Cast or change it in the query that makes the table."
        )


def decoded(array: pa.Array, promised: pa.DataType) -> pa.Array:
    """Return an array of the driver with the promised type, its values checked.

    Raises:
        ValueRefusedError: The promised type cannot hold a value.
        pa.ArrowException: The same, found by a cast.
    """
    if pa.types.is_list(promised) and array.type != promised:
        values = decoded(array.flatten(), promised.value_type)
        return _list_like(array, values)
    if pa.types.is_duration(promised):
        return _durations(array)
    if isinstance(array.type, pa.BaseExtensionType) and array.type != promised:
        array = array.storage
    if pa.types.is_float64(promised) and pa.types.is_string(array.type):
        return _floats(array)
    if pa.types.is_decimal(promised):
        return array.cast(promised)
    if array.type != promised:
        raise ValueRefusedError(f"the driver sent {array.type}; the table was changed meanwhile")
    check_values(array)
    return array


def _cast_array(name: str, element: str, *, known: bool) -> str:
    if element == "oid":
        return f"{name}::bigint[]"
    if element in JSON_TYPES or not known:
        return f"{name}::text[]"
    # The driver does not know arrays of domains; for all others this cast does nothing.
    return f"{name}::pg_catalog.{quoted(element)}[]"


def _check_dimensions(dimensions: pa.Array) -> None:
    if (pc.max(dimensions).as_py() or 0) > 1:
        raise ValueRefusedError("it is an array of several dimensions")


def _list_like(array: pa.Array, values: pa.Array) -> pa.Array:
    lengths = pc.fill_null(pc.list_value_length(array), 0)
    offsets = pa.concat_arrays(
        [pa.array([0], pa.int64()), pc.cumulative_sum(lengths.cast("int64"))]
    )
    return pa.ListArray.from_arrays(offsets.cast(pa.int32()), values, mask=array.is_null())


def _durations(array: pa.Array) -> pa.Array:
    parts = interval_parts(array)
    if parts["months"].any():
        raise ValueRefusedError("it has months or years, which have no fixed length")
    if (np.abs(parts["days"].astype(np.int64)) > _MAX_DURATION_DAYS).any():
        raise ValueRefusedError("it is longer than 64 bits of microseconds")
    microseconds = parts["days"] * np.int64(MICROSECONDS_PER_DAY) + parts["nanoseconds"] // 1000
    valid = array.is_valid().to_numpy(zero_copy_only=False)
    return pa.array(microseconds, pa.int64(), mask=~valid).cast(pa.duration("us"))


def _floats(array: pa.Array) -> pa.Array:
    floats = array.cast(pa.float64())
    large = pc.greater_equal(pc.abs(floats), _EXACT_FLOAT64)
    texts, values = array.filter(large).to_pylist(), floats.filter(large).to_pylist()
    for text, value in zip(texts, values, strict=True):
        if int(Decimal(value)) != int(Decimal(text)) if np.isfinite(value) else "inf" not in text:
            raise ValueRefusedError("its whole part has more digits than float64 holds")
    return floats


def read(
    connection: "Connection",
    schema: str,
    table: str,
    *,
    on_progress: Progress | None = None,
    on_close: Callable[[], None] | None = None,
) -> pa.RecordBatchReader:
    """Open a table or view as a stream of batches; they arrive as they are asked for.

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
