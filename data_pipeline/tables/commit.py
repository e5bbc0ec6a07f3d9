"""The commit: one transaction that makes a table, view or blob visible, with its catalog row."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import sqlalchemy as sa

from data_pipeline.errors import DatabaseError
from data_pipeline.instances import Instance
from data_pipeline.tables import catalog
from data_pipeline.tables.catalog import CatalogRow
from data_pipeline.tables.connection import Database, run
from data_pipeline.tables.dependents import Attachments, dependent_views, relation_kind
from data_pipeline.tables.names import RelationName, StageTable, quoted


def committed(instance: Instance, table: StageTable) -> RelationName:
    """Names the relation of a table as readers see it."""
    return RelationName(instance.schema(table.stage), table.name)


def staged(instance: Instance, table: StageTable) -> RelationName:
    """Names the relation of a table while it is built."""
    return RelationName(instance.staging_schema(table.stage), table.name)


def commit_table(database: Database, instance: Instance, row: CatalogRow) -> None:
    """Replaces a table by the staged one; views, grants and comments come along.

    Raises:
        DatabaseError: Something built on the old table does not fit the new one; the old one stays.
    """
    target = committed(instance, row.table)
    with _replacement(database, instance, row) as connection:
        run(
            connection,
            f"ALTER TABLE {staged(instance, row.table).quoted} SET SCHEMA {quoted(target.schema)}",
        )


def commit_view(
    database: Database, instance: Instance, row: CatalogRow, source: RelationName
) -> None:
    """Makes a table a view of `source`; what is built on the table comes along.

    Raises:
        DatabaseError: As in `commit_table`.
    """
    target = committed(instance, row.table)
    with _replacement(database, instance, row) as connection:
        run(connection, f"CREATE VIEW {target.quoted} AS {_pass_through(source)}")


def commit_blob(database: Database, instance: Instance, row: CatalogRow) -> str | None:
    """Makes a blob's file the current one; gives the location of the file it replaces, if any."""
    with _replacement(database, instance, row) as connection:
        earlier = catalog.row(connection, instance.catalog_schema, row.table)
    return earlier.location if earlier and earlier.kind == "blob" else None


@contextmanager
def _replacement(
    database: Database, instance: Instance, row: CatalogRow
) -> Iterator[sa.Connection]:
    """Takes a relation down, lets the caller put another there, and puts the rest up again."""
    target = committed(instance, row.table)
    try:
        with database.begin() as connection:
            run(connection, "SET LOCAL search_path = ''")
            catalog.ensure(connection, instance.catalog_schema)
            run(connection, f"CREATE SCHEMA IF NOT EXISTS {quoted(target.schema)}")
            views = dependent_views(connection, target)
            attachments = Attachments.of(connection, target)
            for view in reversed(views):
                view.drop(connection)
            if kind := relation_kind(connection, target):
                run(connection, f"DROP {kind} {target.quoted}")
            yield connection
            if relation_kind(connection, target):
                attachments.apply(connection, target)
            passed_through = _passed_through(connection, instance, target)
            for view in views:
                ours = view.relation in passed_through
                view.create(connection, _pass_through(target) if ours else None)
            for shown in passed_through.values():
                catalog.put(connection, instance.catalog_schema, _shown_through(shown, row))
            catalog.put(connection, instance.catalog_schema, row)
    except sa.exc.DBAPIError as error:
        raise DatabaseError(
            f"Table `{row.table}` of instance `{instance.name}` could not be committed; "
            f"{target} is unchanged. PostgreSQL says: {database.scrubbed(error.orig)}\n"
            "If a view or other object built on the table stands in the way, drop it or adapt it "
            "to the new columns, then run again."
        ) from None


def _pass_through(source: RelationName) -> str:
    return f"SELECT * FROM {source.quoted}"


def _passed_through(
    connection: sa.Connection, instance: Instance, source: RelationName
) -> dict[RelationName, CatalogRow]:
    rows = catalog.views_of(connection, instance.catalog_schema, source)
    return {committed(instance, row.table): row for row in rows}


def _shown_through(view: CatalogRow, source: CatalogRow) -> CatalogRow:
    """Gives the row of a pass-through view once `source` has other data."""
    return replace(
        view,
        data_version=source.data_version,
        inputs={str(source.table): source.data_version},
        properties=source.properties,
        row_count=source.row_count,
        run_id=source.run_id,
    )
