"""Tables that are one of several of an asset: those that it returns no more go with its commit."""

from collections.abc import Iterator

import sqlalchemy as sa

from data_pipeline.commit.replacement import Replaced
from data_pipeline.instances import Instance
from data_pipeline.store import catalog
from data_pipeline.store.catalog import CatalogRow
from data_pipeline.store.several_tables import names_of
from data_pipeline.transfer.stable_hash import fingerprint

_GONE = fingerprint("gone")


def gone(
    connection: sa.Connection, instance: Instance, earlier: Replaced, run_id: str
) -> list[CatalogRow]:
    """Return rows for tables that their assets, which this commit replaces, return no more."""
    new = {row.table: row for row in earlier.staged}
    replaced = {table: new[table] for table, row in earlier.rows.items() if row.kind == "tables"}
    if not replaced:
        return []
    rows = catalog.rows(connection, instance.catalog_schema).values()
    return [
        CatalogRow(row.stage, row.name, "absent", _GONE, row.part_of, run_id=run_id)
        for row in rows
        if row.part_of is not None
        and (by := replaced.get(row.asset)) is not None
        and row.name not in names_of(by.relation)
        and row.table not in new
    ]


def taken(earlier: Replaced) -> Iterator[str]:
    """Say which tables of other assets would be overwritten."""
    new = {row.table: row for row in earlier.staged}
    for row in earlier.staged:
        before = earlier.rows.get(row.table)
        if before is None or before.kind in catalog.WITHOUT_VALUE or before.asset == row.asset:
            continue
        by = new.get(before.asset)
        if before.part_of is None or by is None or row.name in names_of(by.relation):
            yield f"`{row.table}`, which asset `{row.asset}` has made, is that of `{before.asset}`"
