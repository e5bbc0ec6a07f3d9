"""What a commit replaces, as the catalog has it, and what it puts there: one statement each."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields

import sqlalchemy as sa

from data_pipeline.instances import Instance
from data_pipeline.tables import catalog, staging
from data_pipeline.tables.catalog import CatalogRow
from data_pipeline.tables.names import StageTable, quoted
from data_pipeline.tables.visible import committed

_NAMES = [item.name for item in fields(CatalogRow)]

_PUBLISH = """
WITH published AS (
    DELETE FROM {staged} WHERE owner = :run_id AND stage = ANY (:stages) RETURNING {columns}
)
INSERT INTO {tables} ({columns}, committed_at) SELECT {columns}, clock_timestamp() FROM published
ON CONFLICT (stage, name) DO UPDATE SET {changes}, committed_at = EXCLUDED.committed_at
"""


@dataclass(frozen=True)
class Replaced:
    """What the catalog says of what a commit replaces.

    Attributes:
        rows: Of the earlier versions of its tables and blobs.
        present: Those of which the relation is there, and the rows in it; or the pointer to a file.
        passing: Views that show one of its tables under another name.
        behind: What its own views show, by the name of the relation, where that is committed.
    """

    rows: Mapping[StageTable, CatalogRow]
    present: frozenset[StageTable]
    passing: Sequence[CatalogRow]
    behind: Mapping[str, CatalogRow]


def read(connection: sa.Connection, instance: Instance, new: Sequence[CatalogRow]) -> Replaced:
    """Gives what the catalog, which must exist, says of what `new` replaces."""
    table = sa.table(catalog.TABLES, *catalog.columns(), schema=instance.catalog_schema)
    keys = {row.table for row in new}
    relations = {str(committed(instance, row.table)) for row in new}
    shown = {row.location for row in new if row.kind == "view" and row.location}
    prefix = sa.literal(instance.table_store.schema_prefix)
    schema = prefix.op("||")(table.c.stage)
    relation = sa.func.to_regclass(sa.func.format(sa.literal("%I.%I"), schema, table.c.name))
    is_wanted = [
        sa.tuple_(table.c.stage, table.c.name).in_([(key.stage, key.name) for key in keys]),
        sa.and_(table.c.kind == "view", table.c.location.in_(relations)),
    ]
    if shown:
        is_wanted.append(schema.op("||")(sa.literal(".")).op("||")(table.c.name).in_(shown))
    present = catalog.is_there(relation, table.c.kind, table.c.row_count).label("present")
    found = [
        (catalog.row_of(item), item.kind == "blob" or item.present)
        for item in connection.execute(sa.select(table, present).where(sa.or_(*is_wanted)))
    ]
    return Replaced(
        {row.table: row for row, _ in found if row.table in keys},
        frozenset(row.table for row, is_there in found if row.table in keys and is_there),
        [row for row, _ in found if row.kind == "view" and row.location in relations],
        {str(committed(instance, row.table)): row for row, _ in found},
    )


def publish(
    connection: sa.Connection, instance: Instance, run_id: str, stages: Iterable[str]
) -> None:
    """Moves what a run has staged of some stages to the catalog, in place of earlier rows."""
    columns = [name for name in _NAMES if name != "committed_at"]
    statement = _PUBLISH.format(
        staged=quoted(instance.catalog_schema, staging.STAGED),
        tables=quoted(instance.catalog_schema, catalog.TABLES),
        columns=", ".join(map(quoted, columns)),
        changes=", ".join(
            f"{quoted(name)} = EXCLUDED.{quoted(name)}"
            for name in columns
            if name not in ("stage", "name")
        ),
    )
    connection.execute(sa.text(statement), {"run_id": run_id, "stages": list(stages)})


def stages(connection: sa.Connection, instance: Instance) -> list[str]:
    """Gives the stages that have anything in the catalog, which must exist."""
    table = sa.table(catalog.TABLES, sa.column("stage", sa.Text()), schema=instance.catalog_schema)
    return list(connection.scalars(sa.select(table.c.stage).distinct().order_by(table.c.stage)))
