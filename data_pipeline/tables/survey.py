"""A survey before dropping: what there is of an order, who needs it, and in which order it goes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import sqlalchemy as sa

from data_pipeline.errors import IsolationError
from data_pipeline.instances import Instance
from data_pipeline.tables.holdings import DropSelection, holdings
from data_pipeline.tables.obstacles import Dependent, active_runs, dependents, readers
from data_pipeline.tables.part import InventoryItem

_VIEWS_ON = sa.text("""
SELECT DISTINCT r.ev_class::bigint AS view, d.refobjid::bigint AS source
FROM pg_rewrite r
JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid
WHERE d.refclassid = 'pg_class'::regclass AND d.refobjid <> r.ev_class
  AND r.ev_class = ANY (CAST(:own AS oid[])) AND d.refobjid = ANY (CAST(:own AS oid[]))
""")


@dataclass(frozen=True)
class Order:
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
class Survey:
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
    dependents: tuple[Dependent, ...]

    def check(self, order: Order) -> None:
        """Refuses what must not, or not without force, be dropped.

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


def survey(connection: sa.Connection, order: Order) -> Survey:
    """Gives what there is to drop, and what stands in the way.

    Raises:
        ConfigurationError: The instance has no such stage.
    """
    parts = holdings(connection, order.instance, order.selection)
    ordered = [part for group in groups(connection, parts) for part in group]
    return survey_of(connection, order, ordered)


def survey_of(connection: sa.Connection, order: Order, parts: Sequence[InventoryItem]) -> Survey:
    """Gives what stands in the way of dropping some of the parts."""
    instance = order.instance
    return Survey(
        tuple(parts),
        tuple(active_runs(connection, instance)),
        tuple(readers(connection, instance, parts, order.copied)),
        tuple(dependents(connection, parts)),
    )


def groups(connection: sa.Connection, parts: Sequence[InventoryItem]) -> list[list[InventoryItem]]:
    """Gives the parts in an order in which views go before what they show.

    Parts whose views show each other's tables go together.
    """
    stage_of = {item.oid: part.stage for part in parts for item in part.relations}
    views = connection.execute(_VIEWS_ON, {"own": list(stage_of)}).all()
    edges = {(stage_of[item.source], stage_of[item.view]) for item in views}
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
