"""Fetching what a step reads: a reference, a frame, a stream of batches, or a blob."""

import logging
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import pyarrow as pa
import sqlalchemy as sa

from data_pipeline.database.connection import Database, database
from data_pipeline.database.identifiers import RelationName, StageTable
from data_pipeline.database.relations import relation_kind
from data_pipeline.errors import TableNotFoundError, UnsupportedDataError
from data_pipeline.instances import Instance
from data_pipeline.store import blob_files, catalog
from data_pipeline.store.catalog import CatalogRow
from data_pipeline.store.lookup import Visible, committed, looked_at, visible
from data_pipeline.store.table_properties import Properties
from data_pipeline.transfer.frames import reporter

_INFO_KEY = "data_pipeline/catalog_row"


def reference(
    connection: sa.Connection, relation: RelationName, row: CatalogRow | None
) -> sa.Table:
    """Return the table with its columns and primary key, also for a view.

    What the catalog knows comes along: see `catalog_row_of` and `properties_of`.
    """
    table = sa.Table(
        relation.name,
        sa.MetaData(),
        schema=relation.schema,
        autoload_with=connection,
        resolve_fks=False,
    )
    primary_key = row.declared.primary_key if row else ()
    if primary_key and not table.primary_key.columns:
        columns = [table.c[name] for name in primary_key if name in table.c]
        table.append_constraint(sa.PrimaryKeyConstraint(*columns))
    table.info[_INFO_KEY] = row
    return table


def catalog_row_of(table: sa.Table) -> CatalogRow | None:
    """Return what the catalog knew about a table when it was referred to."""
    row = table.info.get(_INFO_KEY)
    return row if isinstance(row, CatalogRow) else None


def properties_of(table: sa.Table) -> Properties:
    """Return the properties that a table was made with, with the primary key that it has now."""
    row = catalog_row_of(table)
    declared = row.declared if row else Properties()
    return replace(declared, primary_key=tuple(column.name for column in table.primary_key))


def fetch(
    instance: Instance,
    table: StageTable,
    annotation: Any,
    log: logging.Logger,
    found: Visible | None = None,
) -> tuple[Any, str | None]:
    """Return a table or blob in the form that an annotation asks for, with its data version.

    Args:
        instance: Whose table.
        table: Stage and name.
        annotation: A frame type, `pa.RecordBatchReader`, `sa.Table`, or anything else, which means
            a reference for a table and the object for a blob.
        log: Takes the progress of long transfers.
        found: Where it is, for the step that reads; default: what is committed.

    Raises:
        TableNotFoundError: It has not been built yet, or it is gone.
        UnsupportedDataError: It cannot be given as what the annotation says.
    """
    from data_pipeline.transfer.frames import from_reader, is_frame_type

    source = database(instance)
    with source.begin() as connection:
        if found is None:
            [found] = looked_at(connection, [visible(connection, instance, table, None)])
        relation, row = found.relation, found.row
        if row is not None and found.is_only_row:
            raise _without_value(instance, row)
        if not found.is_blob and relation_kind(connection, relation) is None:
            raise _missing(instance, table, committed(instance, table), row)
        version = row.data_version if row else None
        if not found.is_blob and not _is_of_a_frame_library(annotation):
            return reference(connection, relation, row), version
    if row is not None and found.is_blob:
        return _blob(source, instance, row)
    if not is_frame_type(annotation):
        raise UnsupportedDataError(
            f"Table `{table}` cannot be given as {annotation.__module__}.{annotation.__qualname__}."
            " Annotate the parameter with pd.DataFrame, pl.DataFrame, pl.LazyFrame, pa.Table, "
            "pa.RecordBatchReader or sa.Table."
        )
    batches = stream(source, relation, log)
    return from_reader(batches, annotation), version


def is_in_memory(value: Any) -> bool:
    """Whether a value that was fetched needs the database no more."""
    return not isinstance(value, sa.Table | pa.RecordBatchReader)


def stream(source: Database, relation: RelationName, log: logging.Logger) -> pa.RecordBatchReader:
    """Return the rows of a relation batch by batch; the connection closes behind the last one."""
    from data_pipeline.transfer.copy_out import read

    stack = ExitStack()
    connection = stack.enter_context(source.adbc())
    return read(
        connection,
        relation.schema,
        relation.name,
        on_progress=reporter(log, f"Reading {relation}"),
        on_close=stack.close,
    )


def _blob(source: Database, instance: Instance, row: CatalogRow) -> tuple[Any, str]:
    try:
        value = blob_files.read(instance, row.table, row.location or "", row.checksum)
        return value, row.data_version
    except TableNotFoundError:
        current = _row(source, instance, row.table)
        if current is None or current.kind != "blob" or current.location == row.location:
            raise
        # A commit has replaced the file since its location was read.
        return _blob(source, instance, current)


def _is_of_a_frame_library(annotation: Any) -> bool:
    if not isinstance(annotation, type):
        return False
    return annotation.__module__.split(".")[0] in ("pandas", "polars", "pyarrow")


def _missing(
    instance: Instance, table: StageTable, relation: RelationName, row: CatalogRow | None
) -> TableNotFoundError:
    state = (
        "has been dropped since it was built"
        if row is not None
        else f"has not been built yet in instance `{instance.name}`"
    )
    return TableNotFoundError(
        f"Table `{table}` ({relation}) {state}. Build it: {instance.build_command}"
    )


def _without_value(instance: Instance, row: CatalogRow) -> TableNotFoundError:
    if row.kind == "elsewhere":
        return TableNotFoundError(
            f"The value of asset `{row.table}` of instance `{instance.name}` is kept by the IO "
            f"manager `{row.relation.get('io_manager')}`, and cannot be read by this one."
        )
    if row.is_absent:
        return TableNotFoundError(
            f"`{row.table}` is an optional output, which its step did not make when it last ran in "
            f"instance `{instance.name}` (run {row.run_id}), so there is nothing to read."
        )
    return TableNotFoundError(
        f"Asset `{row.table}` stores nothing in instance `{instance.name}`, so there is nothing to "
        "read. Let it return a table or an object; or, if only the order counts, name it in "
        "`deps=` and not as a parameter."
    )


def known_version(instance: Instance, table: StageTable) -> str | None:
    """Return the data version of a table or blob from the catalog, None where there is none."""
    row = _row(database(instance), instance, table)
    return row.data_version if row else None


def _row(source: Database, instance: Instance, table: StageTable) -> CatalogRow | None:
    with source.begin() as connection:
        return catalog.row(connection, instance.catalog_schema, table)
