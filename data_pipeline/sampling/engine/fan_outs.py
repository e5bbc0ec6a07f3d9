"""How many children parents have, and which roots are hubs."""

from typing import Any

import sqlalchemy as sa

from data_pipeline.sampling.engine.sampling_number import sampling_numbers
from data_pipeline.sampling.engine.selection_state import Drawing
from data_pipeline.sampling.engine.source_tables import TID, matches, refers
from data_pipeline.sampling.plan.rules import Role, brings_children, fan_out_reason, limit_of_hubs
from data_pipeline.sampling.plan.sample_plan import SamplePart
from data_pipeline.sampling.plan.schema_graph import Relationship

_ARE_IN_ORDER = sa.text("""
SELECT abs(correlation) > 0.9 FROM pg_stats
WHERE schemaname = :schema AND tablename = :table AND attname = :column
""")


def count_children(drawing: Drawing, item: Relationship) -> None:
    """Count the references to each value; the drawing then knows `references` and `fan_outs`."""
    if item.number in drawing.references:
        return
    child = drawing.sources[item.child].rows("child")
    columns = [child.c[name] for name in item.columns]
    labels = [column.label(f"k{i}") for i, column in enumerate(columns)]
    counted = sa.select(*labels, sa.func.count().label("n")).where(refers(item, child))
    with drawing.space.sorting(if_=_lie_together(drawing, item)):
        table, _ = drawing.space.create(counted.group_by(*columns), "references", str(item.number))
    drawing.references[item.number] = table
    counts = sa.select(table.c.n, sa.func.count()).group_by(table.c.n)
    drawing.fan_outs[item.number] = {
        int(n): int(values) for n, values in drawing.connection.execute(counts)
    }


def _lie_together(drawing: Drawing, item: Relationship) -> bool:
    """Whether PostgreSQL's statistics say that references to the same value lie side by side."""
    table = drawing.sources[item.child].table
    names = {"schema": table.schema, "table": table.name, "column": item.columns[0]}
    return bool(drawing.connection.scalar(_ARE_IN_ORDER, names))


def counted(
    item: Relationship, parent: sa.FromClause, references: sa.FromClause
) -> sa.ColumnElement[bool]:
    """Return condition that a row of `references` counts the children of a row of the parent."""
    pairs = enumerate(item.referenced_columns)
    return sa.and_(*(references.c[f"k{i}"] == parent.c[name] for i, name in pairs))


def limit_of(drawing: Drawing, item: Relationship) -> int | None:
    """Return the number of children above which a parent is a hub of a relationship, if any is."""
    return limit_of_hubs(drawing.plan.settings.hubs, drawing.fan_outs[item.number])


def find_hubs(drawing: Drawing, root: str) -> None:
    """Find the hubs of a root: rows with very many children that are sampled with it."""
    limits: dict[Relationship, int] = {}
    for child in drawing.plan.owned_by(root):
        if child.owner is not None:
            count_children(drawing, child.owner)
            if (limit := limit_of(drawing, child.owner)) is not None:
                limits[child.owner] = limit
    if not limits:
        return
    rows = drawing.sources[root].rows("root")
    joined: sa.FromClause = rows
    heavy: list[sa.Label[Any]] = []
    for item, limit in limits.items():
        of_item = drawing.references[item.number]
        many = sa.select(of_item).where(of_item.c.n > limit).subquery(f"many_{item.number}")
        joined = joined.outerjoin(many, counted(item, rows, many))
        heavy.append(many.c.n.is_not(None).label(f"thinned_{item.number}"))
    keys = [column.label(f"k{i}") for i, column in enumerate(drawing.sources[root].key_of(rows))]
    is_heavy = sa.or_(*(condition.element for condition in heavy))
    query = sa.select(rows.c[TID], *keys, *heavy).select_from(joined).where(is_heavy)
    drawing.hubs[root], _ = drawing.space.create(query, "hubs", root)


def count_what_is_needed(drawing: Drawing) -> None:
    """Count the children for hubs, and for the witnesses of fan-outs."""
    minimal = drawing.plan.is_minimal
    if not minimal and drawing.plan.cover.fan_outs:
        for item in drawing.plan.graph.relationships:
            if not {item.child, item.parent} <= drawing.whole:
                count_children(drawing, item)
    if not minimal and drawing.plan.settings.hubs != "off":
        for table in drawing.plan.tables.values():
            if table.part is SamplePart.ROOT and table.name not in drawing.whole:
                find_hubs(drawing, table.name)


def add_fan_out_witnesses(drawing: Drawing) -> None:
    """Add the witnesses of all relationships whose children were counted.

    With a parent of one child comes its child, and with that of the most children come these,
    unless it is a hub, or they are over a hundred and over a thousandth of their table: then those
    that were chosen anyhow have to do.
    """
    for item in drawing.plan.graph.relationships:
        if item.number in drawing.references:
            for children in (0, 1, _most(drawing, item)):
                _add(drawing, item, children)


def _most(drawing: Drawing, item: Relationship) -> int:
    """Return the largest number of children; values that dangle have no parent."""
    parent = drawing.sources[item.parent].rows("parent")
    for children in sorted(drawing.fan_outs[item.number], reverse=True):
        parents = _parents(drawing, item, children, parent)
        if drawing.connection.scalar(sa.select(sa.exists(parents))):
            return children
    return 0


def _parents(
    drawing: Drawing, item: Relationship, children: int, parent: sa.FromClause
) -> sa.Select[Any]:
    """Return the places of those rows of the parent that have a number of children."""
    references = drawing.references[item.number]
    is_counted = counted(item, parent, references)
    if children == 0:
        return sa.select(parent.c[TID]).where(~sa.exists().where(is_counted))
    number = references.c.n == children
    return sa.select(parent.c[TID]).join(references, sa.and_(is_counted, number))


def _add(drawing: Drawing, item: Relationship, children: int) -> None:
    reason = fan_out_reason(children, item)
    brings = brings_children(children, drawing.fan_outs[item.number], limit_of(drawing, item))
    parent = _first_parent(drawing, item, children, brings=brings)
    if parent is None:
        return
    place = parent.subquery("place")
    one, _ = drawing.space.create(sa.select(place), "fan_witness")
    drawing.add(item.parent, one, Role.WITNESS, reason)
    if brings:
        drawing.add(item.child, _children(drawing, item, one), Role.WITNESS, reason)


def _first_parent(
    drawing: Drawing, item: Relationship, children: int, *, brings: bool
) -> sa.Select[Any] | None:
    """Return the parent to be added; None where the sample has one that needs no addition."""
    if _is_there(drawing, item, children, brings=brings):
        return None
    parent = drawing.sources[item.parent].rows("parent")
    # A table of its own: how many there are, the planner could only guess.
    candidates = _parents(drawing, item, children, parent)
    places, count = drawing.space.create(candidates, "fan_out_candidates")
    if not count:
        return None
    numbered = sampling_numbers(drawing, item.parent, places).subquery("numbered")
    order = (numbered.c.number, numbered.c.hash, numbered.c[TID])
    return sa.select(numbered.c[TID]).order_by(*order).limit(1)


def _is_there(drawing: Drawing, item: Relationship, children: int, *, brings: bool) -> bool:
    """Whether the sample has a parent with a number of children, and these if need be."""
    if item.parent in drawing.whole:
        return not brings
    if brings and not _children_come_along(drawing, item):
        return False
    chosen = drawing.rows[item.parent]
    places = sa.select(chosen.c[TID])
    if brings:
        # The children of other chosen rows need not be there.
        places = places.where(chosen.c.role <= int(Role.SAMPLED))
    parent = drawing.sources[item.parent].rows_at(places.subquery("chosen"), "parent")
    found = _parents(drawing, item, children, parent).subquery("found")
    # To search for the first one alone, the planner would try all pairs, of which none may fit.
    return bool(drawing.connection.scalar(sa.select(sa.func.count()).select_from(found)))


def _children_come_along(drawing: Drawing, item: Relationship) -> bool:
    """Whether the children of a sampled parent are all sampled with it."""
    owner = drawing.plan_of(item.child).owner
    is_owner = owner is not None and owner.number == item.number and item.refers_to_key
    return is_owner and drawing.is_sampled(item.parent)


def _children(drawing: Drawing, item: Relationship, parents: sa.TableClause) -> sa.Subquery:
    child = drawing.sources[item.child].rows("child")
    parent = drawing.sources[item.parent].rows("parent")
    return (
        sa.select(child.c[TID])
        .select_from(
            child.join(parent, matches(item, child, parent)).join(
                parents, parents.c[TID] == parent.c[TID]
            )
        )
        .subquery("children")
    )
