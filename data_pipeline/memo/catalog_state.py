"""What the catalogs know, of all instances that a run writes and reads, in one query."""

from collections.abc import Iterable, Mapping

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSON

from data_pipeline.database.connection import Database
from data_pipeline.instances import Instance
from data_pipeline.memo.decisions import Key, Known
from data_pipeline.store import blob_files, catalog, staging
from data_pipeline.store.blob_files import DROPPED
from data_pipeline.store.catalog import CatalogRow
from data_pipeline.store.lookup import committed
from data_pipeline.store.relation_state import Verdict, judge, state_of


def known_to_run(
    database: Database, instances: Iterable[Instance], instance: Instance, run_id: str
) -> dict[Key, Known]:
    """Return what `known` gives, with what a run has staged in place of what is committed."""
    found = known(database, instances)
    with database.begin() as connection:
        staged = staging.of_run(connection, instance, run_id)
    return found | {(instance.instance_id, t): Known(row, True) for t, row in staged.items()}


def known(database: Database, instances: Iterable[Instance]) -> dict[Key, Known]:
    """Return the catalog rows of instances, and what became of their tables and files since.

    An instance that has not committed anything yet has none.
    """
    with database.begin() as connection:
        present = [i for i in instances if catalog.is_readable(connection, i.catalog_schema)]
        return _query(connection, present)


def remember(database: Database, instance: Instance, found: Mapping[Key, Known]) -> None:
    """Note what identifies relations now that a look at their rows found unchanged.

    Maintenance, a crash of the server and a restored database change what identifies a relation.
    """
    with database.begin() as connection:
        for (instance_id, _), item in found.items():
            if instance_id == instance.instance_id and item.is_intact and item.state is not None:
                catalog.remember(connection, instance.catalog_schema, item.row, item.state)


def _query(connection: sa.Connection, instances: list[Instance]) -> dict[Key, Known]:
    if not instances:
        return {}
    by_id = {instance.instance_id: instance for instance in instances}
    query = sa.union_all(*(_rows(instance) for instance in instances))
    found = {
        (item.instance_id, row.table): (row, item.state)
        for item in connection.execute(query)
        for row in [catalog.row_of(item)]
    }
    verdicts = judge(
        connection,
        [
            (committed(by_id[instance_id], table), row, state)
            for (instance_id, table), (row, state) in found.items()
            if row.is_relation
        ],
    )
    relations = iter(verdicts)
    return {
        key: _of(row, next(relations)) if row.is_relation else _of_other(by_id[key[0]], row)
        for key, (row, _) in found.items()
    }


def _rows(instance: Instance) -> sa.Select[tuple[object, ...]]:
    schema = instance.catalog_schema
    prefix = instance.table_store.schema_prefix
    state = state_of(catalog.relation_sql(prefix, "tables.stage", "tables.name"))
    return catalog.select_rows(schema).add_columns(
        sa.literal(instance.instance_id).label("instance_id"),
        sa.literal_column(state, JSON()).label("state"),
    )


def _of(row: CatalogRow, verdict: Verdict) -> Known:
    return Known(verdict.seen(row), verdict.is_there, verdict.change, verdict.state)


def _of_other(instance: Instance, row: CatalogRow) -> Known:
    if row.kind in catalog.WITHOUT_VALUE:
        return Known(row, True)
    flaw = blob_files.flaw(instance, row)
    if flaw == DROPPED:
        return Known(row, False)
    return Known(row, True, flaw and f"file of blob `{row.table}` {flaw}")
