"""What stands in the way of dropping a part of an instance: who works on, reads or claims it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import sqlalchemy as sa

from data_pipeline.database.connection import run
from data_pipeline.database.dependencies import Description, describe, read_dependents
from data_pipeline.database.identifiers import RelationName, quoted
from data_pipeline.drop.inventory import DropSelection, InventoryItem, inventory_of
from data_pipeline.errors import IsolationError
from data_pipeline.instances import Instance
from data_pipeline.store import catalog
from data_pipeline.store.active_runs import run_registry

_CATALOGS = sa.text("""
SELECT n.nspname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relname = 'tables' AND c.relkind = 'r'
  AND right(n.nspname, length('_catalog')) = '_catalog' AND n.nspname <> :own
  AND 2 = (SELECT count(*) FROM pg_attribute a
           WHERE a.attrelid = c.oid AND a.attname IN ('inputs', 'data_version'))
ORDER BY 1
""")

_MAY_READ = sa.text("""
SELECT has_schema_privilege(:schema, 'USAGE') AND has_table_privilege(:relation, 'SELECT')
""")

_READ = """
SELECT DISTINCT key FROM {catalog}, jsonb_object_keys(inputs) key
WHERE starts_with(key, :prefix) ORDER BY 1
"""


def active_runs(connection: sa.Connection, instance: Instance) -> list[str]:
    """Describe the runs that are at work on an instance."""
    return [str(run) for run in run_registry.active(connection, instance) if run.is_alive]


def dependents(connection: sa.Connection, parts: Iterable[InventoryItem]) -> list[Description]:
    """Return what is built on the relations of these parts and is none of them."""
    graph = read_dependents(connection, _names(parts))
    return sorted(describe(connection, graph.built_on).values(), key=lambda item: item.text)


def _names(parts: Iterable[InventoryItem]) -> list[RelationName]:
    return [relation.name for part in parts for relation in part.relations]


def readers(
    connection: sa.Connection,
    instance: Instance,
    parts: Sequence[InventoryItem],
    copied: Mapping[str, Sequence[str]],
) -> list[str]:
    """Say which other instances copy, read or claim any of these parts.

    Args:
        connection: The transaction.
        instance: Whose parts.
        parts: The parts.
        copied: By stage, the instances that copy from it by their configuration.
    """
    found = [
        f"instance `{name}` copies from stage `{part.stage}` (copy_source in the configuration)"
        for part in parts
        for name in copied.get(part.stage or "", ())
    ]
    for schema in connection.scalars(_CATALOGS, {"own": instance.catalog_schema}).all():
        found += _by_catalog(connection, instance, parts, schema)
    return found


def _by_catalog(
    connection: sa.Connection, instance: Instance, parts: Sequence[InventoryItem], schema: str
) -> list[str]:
    other = schema.removesuffix("_catalog")
    relation = quoted(schema, catalog.TABLES)
    if not connection.scalar(_MAY_READ, {"schema": schema, "relation": relation}):
        return [f"nobody but its owner can see what instance id `{other}` reads ({schema})"]
    prefix = f"{instance.instance_id}/"
    keys = connection.scalars(sa.text(_READ.format(catalog=relation)), {"prefix": prefix}).all()
    stages = connection.scalars(sa.text(f"SELECT DISTINCT stage FROM {relation}")).all()
    read = [name for name in keys if _is_of(name.removeprefix(prefix), parts)]
    claimed = {f"{other}_{stage}" for stage in stages}
    return [
        *(f"instance id `{other}` reads `{name}` (its catalog {schema})" for name in read),
        *(
            f"instance id `{other}` says that schema {own.name} is its own (its catalog {schema})"
            for part in parts
            for own in part.schemas
            if own.name in claimed
        ),
    ]


def _is_of(table: str, parts: Sequence[InventoryItem]) -> bool:
    """Whether any of the parts has a table (`stage/name`) that another instance has read."""
    return any(
        table.startswith(f"{part.stage}/")
        if part.everything and part.stage is not None
        else table in {str(row.table) for row in part.rows}
        for part in parts
    )


@dataclass(frozen=True)
class DropOrder:
    """What is to be dropped, and how.

    Attributes:
        instance: Whose.
        selection: Which part of it.
        copied: By stage, the instances that copy from it by their configuration.
        force: Whether also what others read, with what is built on it.
    """

    instance: Instance
    selection: DropSelection
    copied: Mapping[str, Sequence[str]] = field(default_factory=dict)
    force: bool = False


@dataclass(frozen=True)
class DropPlan:
    """What there is to drop, and what stands in the way.

    Attributes:
        parts: What there is, in the order in which it goes.
        runs: Runs that are at work on the instance.
        readers: Which other instances need it, in words.
        dependents: What is built on it.
    """

    parts: tuple[InventoryItem, ...]
    runs: tuple[str, ...]
    readers: tuple[str, ...]
    dependents: tuple[Description, ...]

    def check(self, order: DropOrder) -> None:
        """Refuse what must not, or not without force, be dropped.

        Raises:
            IsolationError: A run is at work, or others need a part.
        """
        name = order.instance.name
        if self.runs:
            raise IsolationError(
                f"Nothing of instance `{name}` is dropped while it is at work: "
                f"{'; '.join(self.runs)}. Wait for the end, or end it."
            )
        needed = [*self.readers, *(item.text for item in self.dependents)]
        if needed and not order.force:
            listed = "\n".join(f"  {item}" for item in needed)
            raise IsolationError(
                f"Others need what would be dropped of instance `{name}`:\n{listed}\n"
                "Drop these first (views and other objects, or the instances that read it), or add "
                "--force: views and other objects then go along, and instances that copy from it "
                "fail until it is built again."
            )


def drop_plan(connection: sa.Connection, order: DropOrder) -> DropPlan:
    """Return what there is to drop, and what stands in the way.

    Raises:
        ConfigurationError: The instance has no such stage.
    """
    run(connection, "SET LOCAL search_path = ''")
    parts = inventory_of(connection, order.instance, order.selection)
    ordered = [part for group in groups(connection, parts) for part in group]
    return plan_of(connection, order, ordered)


def plan_of(
    connection: sa.Connection, order: DropOrder, parts: Sequence[InventoryItem]
) -> DropPlan:
    """Return what stands in the way of dropping some of the parts."""
    instance = order.instance
    return DropPlan(
        tuple(parts),
        tuple(active_runs(connection, instance)),
        tuple(readers(connection, instance, parts, order.copied)),
        tuple(dependents(connection, parts)),
    )


def groups(connection: sa.Connection, parts: Sequence[InventoryItem]) -> list[list[InventoryItem]]:
    """Return the parts in an order in which views go before what they show.

    Parts whose views show each other's tables go together.
    """
    stage_of = {item.oid: part.stage for part in parts for item in part.relations}
    graph = read_dependents(connection, _names(parts))
    edges = {
        (stage_of[edge.of.oid], stage_of[edge.node.oid])
        for edge in graph.edges
        if edge.kind == "v" and edge.node in graph.roots and edge.of in graph.roots
    }
    left = [part for part in parts if part.stage is not None]
    last = [part for part in parts if part.stage is None]
    ordered = []
    while left:
        stages = {part.stage for part in left}
        shown = {source for source, view in edges if view in stages and source != view}
        free = [part for part in left if part.stage not in shown] or left
        ordered += [[part] for part in free] if free is not left else [free]
        left = [part for part in left if part not in free]
    return [*ordered, last] if last else ordered
