"""The sampling number of a row: which rows a sample has first, and which only at a higher rate."""

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import distinct_on

from data_pipeline.sampling.engine.selection_state import Drawing
from data_pipeline.sampling.engine.source_tables import TID, matches, refers
from data_pipeline.sampling.key_hash import check_hashable, key_hash_sql, permanent_random_sql
from data_pipeline.sampling.plan.rules import FOR_CERTAIN, OTHER_SALT
from data_pipeline.sampling.plan.sample_plan import SamplePart
from data_pipeline.sampling.plan.schema_graph import Relationship

_Case = tuple[sa.ColumnElement[bool], sa.ColumnElement[int]]


def own_number(drawing: Drawing, table: str, rows: sa.FromClause) -> sa.ColumnElement[int]:
    """Return the sampling number of rows that are chosen by a hash of their own key."""
    return permanent_random_sql(drawing.key_of(table, rows), drawing.salt)


def own_hash(drawing: Drawing, table: str, rows: sa.FromClause) -> sa.ColumnElement[int]:
    """Return the hash of the rows' own key."""
    return key_hash_sql(drawing.key_of(table, rows), drawing.salt)


def reference_columns(
    drawing: Drawing, item: Relationship, child: sa.FromClause
) -> list[sa.ColumnElement[Any]]:
    """Return the referring columns such that they hash as the key of the row they refer to."""
    names = item.columns
    if item.refers_to_key:
        names = item.in_order_of(drawing.plan.graph.keys[item.parent])
    columns: list[sa.ColumnElement[Any]] = [child.c[name] for name in names]
    check_hashable(f"{drawing.plan.graph.stage}/{item.child}", columns, has_key=True)
    return columns


def is_direct(drawing: Drawing, item: Relationship) -> bool:
    """Whether a child's reference alone says if its parent is sampled: it is the key of a root."""
    return item.refers_to_key and drawing.plan_of(item.parent).part is SamplePart.ROOT


def parent_rows(drawing: Drawing, item: Relationship, alias: str) -> sa.FromClause:
    """Return the rows of a parent such that each child refers to one of them at most.

    Where children do not refer to a key, that is a representative: the row with the lowest of
    other hashes than those that sample, so that its own chance is that of any row.
    """
    source = drawing.sources[item.parent]
    if item.refers_to_key:
        return source.rows(alias)
    if item.number not in drawing.representatives:
        rows = source.rows("parent")
        columns = [rows.c[name] for name in item.referenced_columns]
        order = key_hash_sql(drawing.key_of(item.parent, rows), drawing.salt ^ OTHER_SALT)
        query = sa.select(rows.c[TID]).ext(distinct_on(*columns)).order_by(*columns, order)
        table, _ = drawing.space.create(query, "representatives", str(item.number))
        drawing.representatives[item.number] = table
    one = drawing.representatives[item.number]
    rows = source.rows("parent")
    return sa.select(rows).join(one, one.c[TID] == rows.c[TID]).subquery(alias)


@dataclass
class _Chain:
    """The joins from a table up to its root."""

    drawing: Drawing
    joined: sa.FromClause
    depth: int = 0

    def number(self, table: str, rows: sa.FromClause) -> sa.ColumnElement[int]:
        plan = self.drawing.plan_of(table)
        own = own_number(self.drawing, table, rows)
        if plan.part is SamplePart.ROOT:
            hub = self._hub(table)
            if hub is None:
                return own
            self._join(hub, hub.c[TID] == rows.c[TID])
            return sa.case((hub.c[TID].is_not(None), sa.literal(FOR_CERTAIN)), else_=own)
        if plan.owner is None:
            return own
        return sa.case(
            (sa.not_(refers(plan.owner, rows)), own),
            else_=self._referring(plan.owner, rows, own),
        )

    def _referring(
        self, item: Relationship, rows: sa.FromClause, own: sa.ColumnElement[int]
    ) -> sa.ColumnElement[int]:
        """Return the number of rows that refer to something: that of the parent, if it is there."""
        value = reference_columns(self.drawing, item, rows)
        dangling = permanent_random_sql(value, self.drawing.salt)
        hub = self._hub(item.parent)
        if is_direct(self.drawing, item):
            if hub is None:
                return dangling
            self._join(hub, sa.and_(*(hub.c[f"k{i}"] == v for i, v in enumerate(value))))
            return sa.case(*_hub_cases(item, hub, own), else_=dangling)
        self.depth += 1
        parent = parent_rows(self.drawing, item, f"parent_{self.depth}")
        self._join(parent, matches(item, rows, parent))
        cases: list[_Case] = [(parent.c[TID].is_(None), dangling)]
        if hub is not None:
            self._join(hub, hub.c[TID] == parent.c[TID])
            cases += _hub_cases(item, hub, own)
        return sa.case(*cases, else_=self.number(item.parent, parent))

    def _hub(self, root: str) -> sa.FromClause | None:
        table = self.drawing.hubs.get(root)
        self.depth += 1
        return None if table is None else table.alias(f"hub_{self.depth}")

    def _join(self, other: sa.FromClause, condition: sa.ColumnElement[bool]) -> None:
        self.joined = self.joined.outerjoin(other, condition)


def _hub_cases(item: Relationship, hub: sa.FromClause, own: sa.ColumnElement[int]) -> list[_Case]:
    """Return the number of a hub's children: their own where they are thinned."""
    thinned = f"thinned_{item.number}"
    cases: list[_Case] = []
    if thinned in hub.c:
        cases.append((hub.c[thinned].is_(sa.true()), own))
    return [*cases, (hub.c[TID].is_not(None), sa.literal(FOR_CERTAIN))]


def sampling_numbers(drawing: Drawing, table: str, places: sa.FromClause) -> sa.Select[Any]:
    """Return the sampling number (`number`) and hash (`hash`) of some rows, by place.

    Rows are sampled whose number is below a threshold. It is the lowest for hubs, which every
    sample has, and that of the root for what is chosen with it. Of rows that would serve alike,
    that with the lowest number is taken, of those the one with the lowest hash: if a sample has any
    of them, it has that one.

    Args:
        drawing: The selection.
        table: The table.
        places: Places of rows.
    """
    rows = drawing.sources[table].rows("numbered")
    chain = _Chain(drawing, places.join(rows, rows.c[TID] == places.c[TID]))
    number = chain.number(table, rows)
    return sa.select(
        rows.c[TID],
        sa.cast(number, sa.BigInteger).label("number"),
        own_hash(drawing, table, rows).label("hash"),
    ).select_from(chain.joined)
