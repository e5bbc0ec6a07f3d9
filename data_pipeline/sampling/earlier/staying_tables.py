"""Tables that stay as they are: they would be made of the same data by the same query."""

import logging
from collections.abc import Mapping

import sqlalchemy as sa

from data_pipeline.database.connection import database
from data_pipeline.database.identifiers import StageTable
from data_pipeline.instances import Instance
from data_pipeline.results.query_identity import QueryIdentity, source_with_settings
from data_pipeline.results.sql_query import compiled
from data_pipeline.sampling.sample_request import Versions
from data_pipeline.store import catalog
from data_pipeline.store.catalog import CatalogRow
from data_pipeline.store.changed_by_hand import verdict_on
from data_pipeline.store.lookup import committed
from data_pipeline.store.table_properties import Properties, Table


def is_there(
    connection: sa.Connection,
    instance: Instance,
    target: StageTable,
    table: Table,
    declared: Properties,
) -> bool:
    """Whether the store would keep a table, if it were given it."""
    row = catalog.row(connection, instance.catalog_schema, target)
    return stays(connection, instance, row, table, declared)


def stays(
    connection: sa.Connection,
    instance: Instance,
    row: CatalogRow | None,
    table: Table,
    declared: Properties,
) -> bool:
    """Whether that is so, given what the catalog says of what is there."""
    if row is None or None in table.inputs.values():
        return False
    properties = declared.merged(table.properties).as_json()
    query, seen = compiled(table.obj), source_with_settings(None, database(instance).settings)
    made_by = QueryIdentity.of_table(query, table.inputs, properties, source=seen)
    if row.query_key != made_by.query_key:
        return False
    return verdict_on(connection, committed(instance, row.table), row).is_intact


def recorded_versions(
    connection: sa.Connection, instance: Instance, table: StageTable, inputs: Versions
) -> Versions:
    """Return the data versions of inputs that a table was made of; the given ones without a table.

    What is made of these again stays as it is.
    """
    row = catalog.row(connection, instance.catalog_schema, table)
    return inputs if row is None else {name: row.inputs.get(name) for name in inputs}


def log_not_taken(
    log: logging.Logger, made: Mapping[str, Versions], current: Mapping[str, Versions]
) -> None:
    """Say which inputs have new data, although tables stay that were made of earlier ones.

    Args:
        log: The log of the run.
        made: What the tables that stay were made of.
        current: What they would be made of now.
    """
    names = [
        f"`{name}`"
        for table, versions in made.items()
        for name, version in versions.items()
        if version != current[table][name]
    ]
    if names:
        log.info(f"input {', '.join(dict.fromkeys(names))} has new data that is not taken")
