"""Rows and bytes of a table in all instances side by side, for its page in the web UI."""

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

import dagster as dg
import sqlalchemy as sa

from data_pipeline.database.connection import Database, database, run
from data_pipeline.database.identifiers import StageTable, literal, quoted
from data_pipeline.instances import Configuration, Instance

ENTRY = "instances"
"""The metadata entry with the figures of all instances."""

_SCHEMA = dg.TableSchema(
    columns=[
        dg.TableColumn("instance"),
        dg.TableColumn("rows", "int"),
        dg.TableColumn("bytes", "int"),
        dg.TableColumn("since"),
    ]
)

# Who drops an instance may wait for what the step that looks here has locked.
_LOCK_TIMEOUT = "SET LOCAL lock_timeout = '200ms'"
_IN_THE_WAY = frozenset({"55P03", "42P01", "3F000", "42501"})
"""Locked, or dropped between two looks (table, schema), or not for this role."""

_Figures = Mapping[tuple[str, StageTable], dg.TableRecord]


def side_by_side(
    configuration: Configuration,
    instance: Instance,
    run_id: str,
    table: StageTable,
    own: Mapping[str, Any],
) -> dict[str, Any]:
    """Return a table of rows and bytes in each instance that has a table or blob; else nothing.

    Other instances are looked up once a run and process, and are shown as they were then.

    Args:
        configuration: All instances.
        instance: The instance of the run.
        run_id: The run.
        table: The table or blob.
        own: The metadata of its materialization on this instance.
    """
    each = {name: configuration.read_by(instance, name) for name in configuration.instances}
    each[instance.name] = instance
    url = instance.table_store.url.identity
    others = tuple(
        (name, other.catalog_schema)
        for name, other in each.items()
        if other is not instance and other.table_store.url.identity == url
    )
    found = _figures(run_id, database(instance), others)
    here = _record(instance.name, own.get("dagster/row_count"), own.get("bytes"), "this run")
    records = [
        here if name == instance.name else found[name, table]
        for name in each
        if name == instance.name or (name, table) in found
    ]
    return {ENTRY: dg.MetadataValue.table(records, _SCHEMA)} if len(records) > 1 else {}


@lru_cache(maxsize=8)
def _figures(run_id: str, at: Database, others: tuple[tuple[str, str], ...]) -> _Figures:
    """Return the figures of all results of instances, by name of the instance and table."""
    del run_id  # what is known is that of one run
    look = _readable_query(schema for _, schema in others)
    try:
        with at.begin() as connection:
            readable = set(run(connection, f"{_LOCK_TIMEOUT}; {look}"))
            queries = [_query(name, schema) for name, schema in others if (schema,) in readable]
            rows = run(connection, " UNION ALL ".join(queries)).all() if queries else []
    except sa.exc.DBAPIError as error:
        if getattr(error.orig, "pgcode", None) not in _IN_THE_WAY:
            raise
        return {}  # the table is made all the same
    return {
        (name, StageTable(stage, table)): _record(
            name, row_count, size, f"{at:%Y-%m-%d %H:%M:%S}" if at else ""
        )
        for name, stage, table, row_count, size, at in rows
    }


def _record(name: str, rows: int | None, size: int | None, since: str) -> dg.TableRecord:
    # A view has no bytes of its own.
    return dg.TableRecord({"instance": name, "rows": rows, "bytes": size or None, "since": since})


def _readable_query(schemas: Iterable[str]) -> str:
    """Return the query for the catalogs that this role may read, and that are no old ones."""
    listed = ", ".join(literal(schema) for schema in schemas)
    return f"""SELECT n.nspname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE c.relname = 'tables' AND n.nspname IN ({listed or "''"})
          AND has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT')
          AND EXISTS (
            SELECT FROM pg_attribute WHERE attrelid = c.oid AND attname = 'committed_at'
          )"""


def _query(name: str, schema: str) -> str:
    return f"""SELECT {literal(name)}, stage, name, row_count, bytes, committed_at
        FROM {quoted(schema, "tables")} WHERE kind NOT IN ('none', 'elsewhere', 'absent')"""
