"""What the catalogs know, of all instances that a run writes and reads, in one query."""

from collections.abc import Iterable

import sqlalchemy as sa

from data_pipeline.caching.decisions import Key, Known
from data_pipeline.instances import Instance
from data_pipeline.tables import blobs, catalog, staging
from data_pipeline.tables.catalog import CatalogRow
from data_pipeline.tables.connection import Database


def known_to_run(
    database: Database, instances: Iterable[Instance], instance: Instance, run_id: str
) -> dict[Key, Known]:
    """Gives what `known` gives, with what a run has staged in place of what is committed."""
    found = known(database, instances)
    with database.begin() as connection:
        staged = staging.of_run(connection, instance, run_id)
    return found | {(instance.instance_id, t): Known(row, True) for t, row in staged.items()}


def known(database: Database, instances: Iterable[Instance]) -> dict[Key, Known]:
    """Gives the catalog rows of instances, and whether their tables and files are still there.

    An instance that has not committed anything yet has none.
    """
    present = list(instances)
    with database.begin() as connection:
        try:
            with connection.begin_nested():
                return _query(connection, present)
        except sa.exc.ProgrammingError as error:
            if getattr(error.orig, "pgcode", None) not in catalog.MISSING:
                raise
        present = [item for item in present if catalog.exists(connection, item.catalog_schema)]
        for item in present:
            catalog.ensure(connection, item.catalog_schema)
        return _query(connection, present)


def _query(connection: sa.Connection, instances: list[Instance]) -> dict[Key, Known]:
    if not instances:
        return {}
    by_id = {instance.instance_id: instance for instance in instances}
    found = {}
    query = sa.union_all(*(_rows(instance) for instance in instances))
    for item in connection.execute(query):
        row = catalog.row_of(item)
        instance = by_id[item.instance_id]
        there = _file_exists(instance, row) if row.kind == "blob" else item.present
        found[instance.instance_id, row.table] = Known(row, there)
    return found


def _rows(instance: Instance) -> sa.Select[tuple[object, ...]]:
    rows = catalog.select_rows(instance.catalog_schema)
    column = rows.selected_columns
    stage, name = column["stage"], column["name"]
    schema = sa.literal(instance.table_store.schema_prefix).op("||")(stage)
    relation = sa.func.to_regclass(sa.func.format(sa.literal("%I.%I"), schema, name))
    return rows.add_columns(
        sa.literal(instance.instance_id).label("instance_id"),
        catalog.is_there(relation, column["kind"], column["row_count"]).label("present"),
    )


def _file_exists(instance: Instance, row: CatalogRow) -> bool:
    return row.location is not None and blobs.exists(instance, row.table, row.location)
