"""`sa.Table` objects that refer to committed tables; no rows move."""

from dataclasses import replace

import sqlalchemy as sa

from data_pipeline.tables.catalog import CatalogRow
from data_pipeline.tables.names import RelationName
from data_pipeline.tables.table import Properties

_INFO_KEY = "data_pipeline/catalog_row"


def reference(
    connection: sa.Connection, relation: RelationName, row: CatalogRow | None
) -> sa.Table:
    """Gives the table with its columns and primary key, also for a view.

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
    """Gives what the catalog knew about a table when it was referred to."""
    row = table.info.get(_INFO_KEY)
    return row if isinstance(row, CatalogRow) else None


def properties_of(table: sa.Table) -> Properties:
    """Gives the properties that a table was made with, with the primary key that it has now."""
    row = catalog_row_of(table)
    declared = row.declared if row else Properties()
    return replace(declared, primary_key=tuple(column.name for column in table.primary_key))
