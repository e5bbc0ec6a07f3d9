"""What is staged: tables and blobs that are built, and wait for the commit of their stage.

Each has a row in `<instance_id>_catalog.staged`: the catalog row that it will get, and the run that
will commit it. Tables lie in the staging schema of their stage under their own names.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import sqlalchemy as sa

from data_pipeline.database.connection import run
from data_pipeline.database.identifiers import RelationName, StageTable
from data_pipeline.errors import DatabaseError
from data_pipeline.instances import Instance
from data_pipeline.store import blob_files, catalog, run_registry
from data_pipeline.store.catalog import WITHOUT_VALUE, CatalogRow
from data_pipeline.store.relation_state import intact_relations

STAGED = "staged"

_RELATIONS = sa.text("""
SELECT n.nspname AS schema, c.relname AS name, c.relkind::text AS kind
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = ANY (:schemas) AND c.relkind IN ('r', 'v', 'm', 'p', 'f')
ORDER BY n.nspname, c.relname
""")


@dataclass(frozen=True)
class Staged:
    """A table or blob that is built.

    Attributes:
        row: The catalog row that it will get.
        owner: The run that is to commit it.
        is_there: Whether its relation, the rows in it, or its file still are, as they were built.
    """

    row: CatalogRow
    owner: str
    is_there: bool

    @property
    def table(self) -> StageTable:
        """Stage and name."""
        return self.row.table


def relation_of(instance: Instance, table: StageTable) -> RelationName:
    """Name the relation of a table while it is staged."""
    return RelationName(instance.staging_schema(table.stage), table.name)


def put(connection: sa.Connection, instance: Instance, row: CatalogRow, owner: str) -> None:
    """List what a run has built.

    Raises:
        DatabaseError: The run was taken for dead; another one may be at work on the stage.
    """
    check_alive(connection, instance, owner)
    values = {**catalog.values_of(row), "owner": owner}
    catalog.upsert(connection, _table(instance), [values], "built_at")


def check_alive(connection: sa.Connection, instance: Instance, run_id: str) -> None:
    """Make sure, until the transaction ends, that a run is not taken for dead.

    Raises:
        DatabaseError: It was.
    """
    if not run_registry.is_registered(connection, instance, run_id):
        raise DatabaseError(
            f"Run {run_id} may not write to instance `{instance.name}` any more: the process that "
            "led it ended or lost its database session, so that other runs took it for dead; or "
            f"its resources are those of another instance than `{instance.instance_id}` (another "
            "configuration, or per_user, than that of its executor). Nothing that was committed "
            f"has changed. Run again: {instance.build_command}"
        )


def of_run(
    connection: sa.Connection, instance: Instance, run_id: str
) -> dict[StageTable, CatalogRow]:
    """Return what a run has staged and not committed."""
    if not catalog.exists(connection, instance.catalog_schema, STAGED):
        return {}
    staged = _table(instance)
    query = sa.select(*catalog.columns()).select_from(staged).where(staged.c.owner == run_id)
    return {row.table: row for row in map(catalog.row_of, connection.execute(query))}


def row(
    connection: sa.Connection, instance: Instance, run_id: str, table: StageTable
) -> CatalogRow | None:
    """Return what a run has staged of one table."""
    if not catalog.exists(connection, instance.catalog_schema, STAGED):
        return None
    staged = _table(instance)
    found = connection.execute(
        sa.select(staged).where(
            staged.c.owner == run_id, staged.c.stage == table.stage, staged.c.name == table.name
        )
    ).one_or_none()
    return catalog.row_of(found) if found else None


def everything(connection: sa.Connection, instance: Instance) -> list[Staged]:
    """Return all that is staged, by whatever run."""
    if not catalog.exists(connection, instance.catalog_schema, STAGED):
        return []
    query = sa.select(_table(instance)).order_by("stage", "name")
    found = [(catalog.row_of(item), item.owner) for item in connection.execute(query)]
    relations = {relation_of(instance, row.table): row for row, _ in found if row.is_relation}
    intact = intact_relations(connection, relations)
    return [
        Staged(
            row,
            owner,
            relation_of(instance, row.table) in intact
            if row.is_relation
            else row.kind in WITHOUT_VALUE or blob_files.is_intact(instance, row),
        )
        for row, owner in found
    ]


def adopt(
    connection: sa.Connection, instance: Instance, rows: Iterable[CatalogRow], run_id: str
) -> None:
    """Make a run the owner of what another one left behind."""
    staged = _table(instance)
    for item in rows:
        connection.execute(
            sa.update(staged)
            .where(staged.c.stage == item.stage, staged.c.name == item.name)
            .values(owner=run_id, code_parts=item.code_parts)
        )


def forget(connection: sa.Connection, instance: Instance, tables: Iterable[StageTable]) -> None:
    """Take tables off the list."""
    key = [(table.stage, table.name) for table in tables]
    if key:
        staged = _table(instance)
        connection.execute(
            sa.delete(staged).where(sa.tuple_(staged.c.stage, staged.c.name).in_(key))
        )


def relations(
    connection: sa.Connection, instance: Instance, stages: Iterable[str]
) -> Mapping[RelationName, str]:
    """Return what lies in the staging schemas of stages, with its kind (as in pg_class)."""
    schemas = [instance.staging_schema(stage) for stage in stages]
    found = connection.execute(_RELATIONS, {"schemas": schemas})
    return {RelationName(item.schema, item.name): item.kind for item in found}


def drop(connection: sa.Connection, relation: RelationName, kind: str = "r") -> None:
    """Drop a staged relation, with staged views on it."""
    what = {"v": "VIEW", "m": "MATERIALIZED VIEW", "f": "FOREIGN TABLE"}.get(kind, "TABLE")
    run(connection, f"DROP {what} IF EXISTS {relation.quoted} CASCADE")


def _table(instance: Instance) -> sa.TableClause:
    owner = sa.column("owner", sa.Text())
    return sa.table(STAGED, *catalog.columns(), owner, schema=instance.catalog_schema)
