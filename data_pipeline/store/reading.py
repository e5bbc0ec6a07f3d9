"""Fetching what a step reads: a reference, a frame, a stream of batches, or a blob."""

import hashlib
import json
import logging
import typing
import warnings
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from data_pipeline.database.connection import Database, database
from data_pipeline.database.identifiers import RelationName, StageTable
from data_pipeline.errors import TableNotFoundError, UnsupportedDataError
from data_pipeline.instances import Instance
from data_pipeline.store import catalog
from data_pipeline.store.blobs import blob_files
from data_pipeline.store.catalog import CatalogRow
from data_pipeline.store.lookup import FoundTable, checked_for_changes, committed, find_table
from data_pipeline.store.named_columns import INFO_KEY, name_columns
from data_pipeline.store.several_tables import form_of_each
from data_pipeline.store.table_properties import Properties, declared_version
from data_pipeline.transfer.frames import is_stream, is_stream_type
from data_pipeline.transfer.progress import reporter

if TYPE_CHECKING:
    import pyarrow as pa

_FILE_FORMAT = 1
"""Another number wherever the same rows would be read as another frame."""


def reference(
    connection: sa.Connection,
    relation: RelationName,
    row: CatalogRow | None,
    *,
    is_own: bool = False,
) -> sa.Table:
    """Return the table with its columns and primary key, also for a view.

    What the catalog knows comes along: see `catalog_row_of` and `properties_of`.

    Args:
        connection: A connection.
        relation: The table.
        row: What the catalog knows of it.
        is_own: Whether the run has just built it, so that its key is the one that was declared.

    Raises:
        NoSuchTableError: There is no such relation.
    """
    inspector = sa.inspect(connection)
    place = {"table_name": relation.name, "schema": relation.schema}
    with warnings.catch_warnings():  # rows of such a type, as `point`, go by it unnamed
        warnings.filterwarnings("ignore", "Did not recognize type", sa.exc.SAWarning)
        found_columns = inspector.get_columns(**place)
    columns = [
        sa.Column(item["name"], item["type"], nullable=item["nullable"], comment=item["comment"])
        for item in found_columns
    ]
    table = sa.Table(relation.name, sa.MetaData(), *columns, schema=relation.schema)
    found = [] if is_own else inspector.get_pk_constraint(**place)["constrained_columns"]
    key = found or (row.declared.primary_key if row else ())
    if key:
        present = [table.c[name] for name in key if name in table.c]
        table.append_constraint(sa.PrimaryKeyConstraint(*present))
    table.info[INFO_KEY] = row
    name_columns(table)
    return table


def catalog_row_of(table: sa.Table) -> CatalogRow | None:
    """Return what the catalog knew about a table when it was referred to."""
    row = table.info.get(INFO_KEY)
    return row if isinstance(row, CatalogRow) else None


def properties_of(table: sa.Table) -> Properties:
    """Return what a copy of a table has of its properties, with the key that it has now."""
    row = catalog_row_of(table)
    declared = row.declared.as_a_whole() if row else Properties()
    return replace(
        declared,
        primary_key=tuple(column.name for column in table.primary_key),
        # Earlier versions kept what was said of columns that a table does not have.
        columns={name: text for name, text in declared.columns.items() if name in table.c},
    )


def known_properties(table: sa.Table, declared: Properties) -> Properties:
    """Return the properties of a table by its declaration and by what it was made with.

    What it was made with counts, but for relationships whose declaration has changed since: these
    are facts about rows, which nothing has to be made anew for.

    Args:
        table: The table.
        declared: What its asset declares now.
    """
    known, row = properties_of(table), catalog_row_of(table)
    before = None if row is None else row.identity.get("declared")
    merged = declared.as_a_whole().merged(known)
    if before is None or before == declared_version(declared):
        return merged
    return replace(merged, foreign_keys=declared.foreign_keys)


def fetch(
    instance: Instance,
    table: StageTable,
    annotation: Any,
    log: logging.Logger,
    found: FoundTable | None = None,
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
    if found is None:
        with source.begin() as connection:
            committed_one = find_table(connection, instance, table, None)
            [found] = checked_for_changes(connection, [committed_one])
    relation, row = found.relation, found.row
    version = row.data_version if row else None
    if row is not None and found.is_only_row:
        raise _without_value(instance, row)
    if row is not None and found.is_blob:
        return _blob(source, instance, row)
    if found.is_several:
        form = form_of_each(annotation)
        each = {
            name: fetch(instance, StageTable(table.stage, name), form, log, item)[0]
            for name, item in found.members.items()
        }
        return each, version
    if takes_reference(annotation):
        try:
            with source.session() as connection:
                return reference(connection, relation, row, is_own=found.is_own), version
        except sa.exc.NoSuchTableError:
            raise _missing(instance, table, committed(instance, table), row) from None
    if not is_frame_type(annotation):
        raise UnsupportedDataError(
            f"Table `{table}` cannot be given as {shown(annotation)}. Annotate the "
            "parameter with pd.DataFrame, pl.DataFrame, pl.LazyFrame, pa.Table, "
            "pa.RecordBatchReader or sa.Table."
        )
    try:
        if is_stream_type(annotation) or not found.is_as_built:
            rows = stream(source, relation, log)
        else:
            rows = _local_or_read(instance, source, found, log)
    except TableNotFoundError:
        raise _missing(instance, table, committed(instance, table), row) from None
    return from_reader(rows, annotation), version


def _local_or_read(
    instance: Instance, source: Database, found: FoundTable, log: logging.Logger
) -> "pa.RecordBatchReader":
    """Return the rows of a committed table, from a file of this machine if they are kept there."""
    folder, row = instance.table_store.local_cache, found.row
    if folder is None or row is None or not _is_keepable(source, found):
        return stream(source, found.relation, log)
    from data_pipeline.transfer.local_cache import LocalCache

    files = LocalCache(folder, instance.table_store.local_cache_max_bytes)
    key = _file_key(source, found.relation, row)
    if (kept := files.get(key)) is not None:
        return kept.to_reader()
    frame = stream(source, found.relation, log).read_all()
    with source.begin() as connection:
        again = find_table(connection, instance, row.table, None)
        if [found] == checked_for_changes(connection, [again]):  # no commit came in between
            files.put(key, frame)
    return frame.to_reader()


_KEEPABLE = sa.text(
    """
    SELECT has_table_privilege(c.oid, 'SELECT') AND NOT c.relrowsecurity AND NOT EXISTS (
        SELECT FROM pg_attribute a
        JOIN pg_type declared ON declared.oid = a.atttypid
        JOIN pg_type t ON t.oid = coalesce(nullif(declared.typelem, 0), declared.oid)
        WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
          AND (t.typnamespace <> 'pg_catalog'::regnamespace OR t.typname <> ALL (:known))
    )
    FROM pg_class c WHERE c.oid = to_regclass(:relation)
    """
)


def _is_keepable(source: Database, found: FoundTable) -> bool:
    """Whether what is read of a table depends on its rows alone, and everybody here may see it.

    Not so with a view, row security, and types whose text form an ALTER TYPE or a setting changes.
    """
    from data_pipeline.transfer.arrow_types import KNOWN

    if found.row is None or found.row.kind != "table":
        return False
    asked = {"known": sorted(KNOWN), "relation": found.relation.quoted}
    with source.begin() as connection:
        return bool(connection.scalar(_KEEPABLE, asked))


def _file_key(source: Database, relation: RelationName, row: CatalogRow) -> str:
    """Return what tells the rows of a table from all others: server, database, relation, build."""
    url = source.url
    of_relation = {name: row.relation.get(name) for name in ("database", "oid", "columns")}
    parts = {
        "server": [url.host, url.port, url.database, url.username, sorted(url.query.items())],
        "relation": [relation.schema, relation.name, of_relation],
        "build": [row.data_version, row.run_id, str(row.built_at), row.row_count],
    }
    text = json.dumps([_FILE_FORMAT, parts], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def is_in_memory(value: Any) -> bool:
    """Whether a value that was fetched needs the database no more."""
    if isinstance(value, dict):
        return all(map(is_in_memory, value.values()))
    return not (isinstance(value, sa.Table) or is_stream(value))


def stream(source: Database, relation: RelationName, log: logging.Logger) -> "pa.RecordBatchReader":
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


def takes_reference(annotation: Any) -> bool:
    """Whether an annotation lets a `sa.Table` in; where there is none, it is `Any`."""
    if annotation is Any:
        return True
    if isinstance(annotation, type) and typing.get_origin(annotation) is None:
        return issubclass(sa.Table, annotation)
    return typing.get_origin(annotation) is None


def shown(annotation: Any) -> str:
    """Return an annotation as it is written."""
    if isinstance(annotation, type) and typing.get_origin(annotation) is None:
        return f"{annotation.__module__}.{annotation.__qualname__}"
    return str(annotation)


def _missing(
    instance: Instance, table: StageTable, relation: RelationName, row: CatalogRow | None
) -> TableNotFoundError:
    whole = instance if table.slice else replace(instance, sliced_by=None)
    state = (
        "has been dropped since it was built"
        if row is not None
        else f"has not been built yet in instance `{instance.name}`"
    )
    of_source = (
        f"Raw tables are in `{instance.root_source.name}` alone, from which `{instance.name}` "
        "takes its rows: read these there. "
        if row is None and instance.copies
        else ""
    )
    return TableNotFoundError(
        f"Table `{table}` ({relation}) {state}. {of_source}Build it: {whole.build_command}"
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
