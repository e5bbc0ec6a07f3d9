"""References within the rows of one root: what refers and what is referred to come together."""

from collections.abc import Iterator, Mapping

import sqlalchemy as sa

from data_pipeline.sampling.engine.source_tables import TID, SourceTable, matches
from data_pipeline.sampling.plan.sample_plan import SamplePlan
from data_pipeline.sampling.plan.schema_graph import Relationship
from data_pipeline.sampling.prediction.column_statistics import probe


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
