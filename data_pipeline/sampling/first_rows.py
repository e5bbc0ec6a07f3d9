"""The rows that a copy filter keeps: as a query in the database, and on frames in memory."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from data_pipeline.database.identifiers import StageTable
from data_pipeline.errors import ConfigurationError
from data_pipeline.instances import CopyFilter
from data_pipeline.sampling.key_hash import sampled_mask, sampled_sql
from data_pipeline.store.reading import catalog_row_of
from data_pipeline.store.table_properties import KEY_DECLARATION

if TYPE_CHECKING:
    import pyarrow as pa

SALT = 0
"""Added to the hash of every key; another salt would choose other rows."""


def selected_query(table: StageTable, source: sa.Table, keep: CopyFilter) -> sa.Select[Any]:
    """Return the query for the rows of a source table that a filter keeps.

    Args:
        table: The sampled table, for messages.
        source: The source table, with its primary key.
        keep: The filter. A number of rows takes the first ones by primary key, or in load order
            where there is none (any rows of a view); a rate takes those whose hash of the primary
            key is low.

    Raises:
        ConfigurationError: A rate, but no primary key.
    """
    query = sa.select(source)
    key = list(source.primary_key.columns)
    if keep.keeps_all_rows:
        return query
    if keep.cnt is not None:
        row = catalog_row_of(source)
        order = [_sortable(column) for column in key]
        if not order and (row is None or row.kind != "view"):  # a view has no places
            order = [sa.literal_column("ctid")]
        return query.order_by(*order).limit(keep.cnt)
    _check_key(table, [column.name for column in key])
    return query.where(sampled_sql(key, _rate(keep), SALT))


def selected_frame(
    table: StageTable, frame: Any, primary_key: Sequence[str], keep: CopyFilter
) -> Any:
    """Return the rows of a frame that a filter keeps: the same ones as `selected_query`.

    Args:
        table: The sampled table, for messages.
        frame: A pandas or polars frame or an Arrow table.
        primary_key: Its key columns.
        keep: The filter.

    Returns:
        A frame of the same type (a lazy polars frame becomes an eager one).

    Raises:
        ConfigurationError: A rate, but no primary key.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    from data_pipeline.transfer.frames import to_reader

    if type(frame).__name__ == "LazyFrame":
        frame = frame.collect()
    if keep.keeps_all_rows:
        return frame
    if keep.cnt is not None and not primary_key:
        return taken(frame, pa.array(range(min(keep.cnt, _length(frame))), pa.int64()))
    _check_key(table, primary_key)
    key = to_reader(frame).read_all().select(list(primary_key))
    if keep.cnt is not None:
        order = pc.sort_indices(_sort_form(key), [(name, "ascending") for name in primary_key])
        return taken(frame, order[: keep.cnt])
    return taken(frame, pa.array(sampled_mask(key.columns, _rate(keep), SALT).nonzero()[0]))


def _rate(keep: CopyFilter) -> float:
    return 1.0 if keep.rate is None else keep.rate


def _check_key(table: StageTable, primary_key: Sequence[str]) -> None:
    if not primary_key:
        raise ConfigurationError(
            f"Table `{table}` cannot be sampled by rate: its raw table has no primary key. Declare "
            f"one, {KEY_DECLARATION}, or set "
            f"`copy_filter_overrides: {{{table}: {{copy_filter_cnt: ...}}}}` in the instance's "
            "attrs."
        )


def _sortable(column: sa.Column[Any]) -> sa.ColumnElement[Any]:
    """Return the column in an order that does not depend on the database's locale."""
    if isinstance(column.type, sa.String):
        return sa.collate(column, "C")
    return column


def _sort_form(key: "pa.Table") -> "pa.Table":
    """Return the key with types that Arrow sorts as PostgreSQL does."""
    import pyarrow as pa

    for number, item in enumerate(key.schema):
        if pa.types.is_dictionary(item.type):
            key = key.set_column(number, item.name, key.column(number).cast(item.type.value_type))
    return key


def _length(frame: Any) -> int:
    return frame.num_rows if type(frame).__module__.startswith("pyarrow") else len(frame)


def taken(frame: Any, numbers: "pa.Array") -> Any:
    """Return some rows of a pandas or polars frame or an Arrow table."""
    import pyarrow as pa

    if isinstance(frame, pa.Table):
        columns = [_taken(column, numbers) for column in frame.columns]
        return pa.Table.from_arrays(columns, schema=frame.schema)
    positions = numbers.to_numpy()
    if type(frame).__module__.startswith("polars"):
        return frame[positions]
    return frame.iloc[positions].reset_index(drop=True)


def _taken(column: "pa.ChunkedArray", numbers: "pa.Array") -> "pa.ChunkedArray":
    import pyarrow as pa

    # What stands in for the types of which Arrow can take no rows.
    stand_ins = {pa.string_view(): pa.large_string(), pa.binary_view(): pa.large_binary()}
    plain = stand_ins.get(column.type)
    if plain is None:
        return column.take(numbers)
    return column.cast(plain).take(numbers).cast(column.type)
