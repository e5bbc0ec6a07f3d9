"""References within the rows of one root: what refers and what is referred to come together."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from data_pipeline.sampling.engine.source_tables import TID, SourceTable, matches
from data_pipeline.sampling.plan.sample_plan import SamplePlan
from data_pipeline.sampling.plan.schema_graph import Relationship
from data_pipeline.sampling.prediction.column_statistics import RowsOfUnits, probe

_PROBED_ROOTS = 300


def owners(plan: SamplePlan, table: str) -> Iterator[Relationship]:
    """Return the relationships by which a table is drawn with its root, from below."""
    while (owner := plan.tables[table].owner) is not None:
        yield owner
        table = owner.parent


def share_of_same_root(
    connection: sa.Connection,
    plan: SamplePlan,
    sources: Mapping[str, SourceTable],
    item: Relationship,
    rows: float,
) -> float:
    """Return the share of references to rows that are drawn with the same row of a root.

    Args:
        connection: To the source.
        plan: What is drawn with what.
        sources: The tables; no views where both ends are drawn with one root.
        item: The relationship.
        rows: The rows of the table that refers, some of which are looked at.
    """
    child, parent = plan.tables[item.child], plan.tables[item.parent]
    ways = [item, *owners(plan, item.child), *owners(plan, item.parent)]
    if child.owner in (None, item) or child.root != parent.root or any(w.where for w in ways):
        return 0.0
    some = probe(sources[item.child], rows)
    other = sources[item.parent].all_rows("referred")
    joined = some.join(other, matches(item, some, other))
    joined, own_root = _with_root(plan, sources, (joined, some), item.child, "own")
    joined, other_root = _with_root(plan, sources, (joined, other), item.parent, "other")
    same = sa.func.count().filter(own_root.c[TID] == other_root.c[TID])
    found, looked_at = connection.execute(
        sa.select(same, sa.func.count()).select_from(joined)
    ).one()
    return found / looked_at if looked_at else 0.0


def values_within_roots(
    connection: sa.Connection,
    plan: SamplePlan,
    sources: Mapping[str, SourceTable],
    items: Sequence[Relationship],
    rows: float,
) -> dict[int, RowsOfUnits]:
    """Return what rows that are drawn with one of a root have in common, by relationship.

    The row of the root itself does not count, which is there anyhow.

    Args:
        connection: To the source.
        plan: What is drawn with what.
        sources: The tables; no views among those that lead to the root.
        items: Relationships of tables that are drawn with this root, to the same columns.
        rows: The rows of the root, some of which are looked at.
    """
    root = sources[plan.tables[items[0].child].root or ""]
    percent = min(100.0, max(0.001, 200 * _PROBED_ROOTS / max(rows, 1)))
    some = root.table.tablesample(sa.func.system(percent), name="probed", seed=sa.literal(0))
    place: sa.ColumnElement[Any] = sa.literal_column("probed.ctid")
    units = sa.select(*some.c, place.label("unit")).limit(_PROBED_ROOTS).cte("units")
    parts = []
    for item in items:
        above: sa.FromClause = units
        below: sa.FromClause = units
        for number, owner in enumerate(reversed(list(owners(plan, item.child)))):
            child = sources[owner.child].all_rows(f"child_{number}")
            above, below = above.join(child, matches(owner, child, below)), child
        referenced = sorted(zip(item.referenced_columns, item.columns, strict=True))
        values = [below.c[own].label(f"v{i}") for i, (_, own) in enumerate(referenced)]
        part = sa.select(sa.literal(item.number).label("item"), units.c.unit, *values)
        part = part.select_from(above).where(*(value.is_not(None) for value in values))
        if item.parent == root.name:
            own_key = (units.c[name] for name, _ in referenced)
            part = part.where(sa.tuple_(*values) != sa.tuple_(*own_key))
        parts.append(part)
    every = sa.union_all(*parts).subquery("every")
    different = sa.func.count(sa.distinct(sa.tuple_(*list(every.c)[1:])))
    sets = sa.func.grouping_sets(sa.tuple_(every.c.item), sa.tuple_())
    found = connection.execute(sa.select(every.c.item, sa.func.count(), different).group_by(sets))
    by_item = {item: (count, values) for item, count, values in found if count}
    _, together = by_item.pop(None, (0, 0))
    overlap = together / sum(values for _, values in by_item.values()) if by_item else 1.0
    return {item: RowsOfUnits(values / count, overlap) for item, (count, values) in by_item.items()}


def _with_root(
    plan: SamplePlan,
    sources: Mapping[str, SourceTable],
    rows: tuple[sa.Join, sa.FromClause],
    table: str,
    alias: str,
) -> tuple[sa.Join, sa.FromClause]:
    """Join rows of a table with those of its root."""
    joined, below = rows
    for number, owner in enumerate(owners(plan, table)):
        above = sources[owner.parent].all_rows(f"{alias}_{number}")
        joined, below = joined.join(above, matches(owner, below, above)), above
    return joined, below
