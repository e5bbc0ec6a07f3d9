"""How many children each parent has, and which roots are hubs."""

from typing import Any

import sqlalchemy as sa

from data_pipeline.sampling.hub_limit import hub_limit
from data_pipeline.sampling.in_database.drawing import Drawing
from data_pipeline.sampling.in_database.source_tables import TID, refers
from data_pipeline.sampling.sample_plan import Part
from data_pipeline.sampling.schema_graph import Relationship


def count_children(drawing: Drawing, item: Relationship) -> None:
    """Counts the children of each row of the parent; the drawing then knows `fan_outs`."""
    if item.number in drawing.fans:
        return
    child = drawing.sources[item.child].rows("child")
    parent = drawing.sources[item.parent].rows("parent")
    columns = [child.c[name].label(f"k{i}") for i, name in enumerate(item.columns)]
    groups = (
        sa.select(*columns, sa.func.count().label("n"))
        .where(refers(item, child))
        .group_by(*(child.c[name] for name in item.columns))
        .subquery("counted")
    )
    pairs = enumerate(item.referenced_columns)
    same = sa.and_(*(groups.c[f"k{i}"] == parent.c[name] for i, name in pairs))
    query = sa.select(parent.c[TID], sa.func.coalesce(groups.c.n, 0).label("n")).select_from(
        parent.outerjoin(groups, same)
    )
    fan, _ = drawing.space.create(query, "fan", str(item.number))
    drawing.fans[item.number] = fan
    counts = sa.select(fan.c.n, sa.func.count()).group_by(fan.c.n)
    drawing.fan_outs[item.number] = {
        int(n): int(parents) for n, parents in drawing.connection.execute(counts)
    }


def limit_of(drawing: Drawing, item: Relationship) -> int | None:
    """Gives the number of children above which a parent is a hub of a relationship, if any is."""
    setting = drawing.plan.settings.hubs
    if setting == "off":
        return None
    parents = drawing.fan_outs[item.number]
    if isinstance(setting, int):
        return setting if max(parents, default=0) > setting else None
    return hub_limit(parents)


def find_hubs(drawing: Drawing, root: str) -> None:
    """Finds the hubs of a root: rows with very many children that are sampled with it."""
    limits: dict[int, int] = {}
    for child in drawing.plan.owned_by(root):
        if child.owner is not None:
            count_children(drawing, child.owner)
            if (limit := limit_of(drawing, child.owner)) is not None:
                limits[child.owner.number] = limit
    if not limits:
        return
    rows = drawing.sources[root].rows("root")
    joined: sa.FromClause = rows
    heavy: list[sa.ColumnElement[Any]] = []
    for number, limit in limits.items():
        fan = drawing.fans[number].alias(f"fan_{number}")
        joined = joined.join(fan, fan.c[TID] == rows.c[TID])
        heavy.append((fan.c.n > limit).label(f"thinned_{number}"))
    keys = [column.label(f"k{i}") for i, column in enumerate(drawing.sources[root].key_of(rows))]
    conditions = [condition.element for condition in heavy]
    query = sa.select(rows.c[TID], *keys, *heavy).select_from(joined).where(sa.or_(*conditions))
    drawing.hubs[root], _ = drawing.space.create(query, "hubs", root)
    drawing.thinned |= limits.keys()


def count_what_is_needed(drawing: Drawing) -> None:
    """Counts the children for hubs, and for the witnesses of fan-outs."""
    minimal = drawing.plan.is_minimal
    if not minimal and drawing.plan.cover.fan_outs:
        for item in drawing.plan.graph.relationships:
            if not {item.child, item.parent} <= drawing.whole:
                count_children(drawing, item)
    if not minimal and drawing.plan.settings.hubs != "off":
        for table in drawing.plan.tables.values():
            if table.part is Part.ROOT and table.name not in drawing.whole:
                find_hubs(drawing, table.name)
