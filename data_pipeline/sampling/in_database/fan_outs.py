"""How many children parents have, and which roots are hubs."""

from typing import Any

import sqlalchemy as sa

from data_pipeline.sampling.in_database.drawing import Drawing
from data_pipeline.sampling.in_database.source_tables import TID, refers
from data_pipeline.sampling.rules import limit_of_hubs
from data_pipeline.sampling.sample_plan import Part
from data_pipeline.sampling.schema_graph import Relationship

_ARE_IN_ORDER = sa.text("""
SELECT abs(correlation) > 0.9 FROM pg_stats
WHERE schemaname = :schema AND tablename = :table AND attname = :column
""")


def count_children(drawing: Drawing, item: Relationship) -> None:
    """Counts the references to each value; the drawing then knows `references` and `fan_outs`."""
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
    """Gives the condition that a row of `references` counts the children of a row of the parent."""
    pairs = enumerate(item.referenced_columns)
    return sa.and_(*(references.c[f"k{i}"] == parent.c[name] for i, name in pairs))


def limit_of(drawing: Drawing, item: Relationship) -> int | None:
    """Gives the number of children above which a parent is a hub of a relationship, if any is."""
    return limit_of_hubs(drawing.plan.settings.hubs, drawing.fan_outs[item.number])


def find_hubs(drawing: Drawing, root: str) -> None:
    """Finds the hubs of a root: rows with very many children that are sampled with it."""
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
