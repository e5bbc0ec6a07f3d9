"""The sampling number of a row: which rows a sample has first, and which only at a higher rate."""

from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import distinct_on

from data_pipeline.sampling.engine.selection_state import SelectionState
from data_pipeline.sampling.engine.source_tables import TID, hash_alike, refers
from data_pipeline.sampling.key_hash import check_hashable, key_hash_sql, permanent_random_sql
from data_pipeline.sampling.plan.hubs_and_thresholds import OTHER_SALT
from data_pipeline.sampling.plan.roots_and_children import SamplePart
from data_pipeline.sampling.plan.schema_graph import Relationship


def own_number(state: SelectionState, table: str, rows: sa.FromClause) -> sa.ColumnElement[int]:
    """Return the sampling number of rows that are chosen by a hash of their own key."""
    return permanent_random_sql(state.key_of(table, rows), state.salt)


def own_hash(state: SelectionState, table: str, rows: sa.FromClause) -> sa.ColumnElement[int]:
    """Return the hash of the rows' own key."""
    return key_hash_sql(state.key_of(table, rows), state.salt)


def reference_columns(
    state: SelectionState, item: Relationship, child: sa.FromClause
) -> list[sa.ColumnElement[Any]]:
    """Return the referring columns such that they hash as the key of the row they refer to."""
    names = item.columns
    if item.refers_to_key:
        names = item.in_order_of(state.plan.graph.keys[item.parent])
    columns: list[sa.ColumnElement[Any]] = [child.c[name] for name in names]
    check_hashable(f"{state.plan.graph.stage}/{item.child}", columns, has_key=True)
    return columns


def is_direct(state: SelectionState, item: Relationship) -> bool:
    """Whether a child's reference alone says if its parent is sampled: it is the key of a root."""
    child, parent = (state.sources[name].table for name in (item.child, item.parent))
    is_root = state.plan_of(item.parent).part is SamplePart.ROOT
    return item.refers_to_key and is_root and hash_alike(item, child, parent)


def parent_rows(state: SelectionState, item: Relationship, alias: str) -> sa.FromClause:
    """Return the rows of a parent such that each child refers to one of them at most.

    Where children do not refer to a key, that is a representative: the row with the lowest of
    other hashes than those that sample, so that its own chance is that of any row.
    """
    source = state.sources[item.parent]
    if item.refers_to_key:
        return source.rows(alias)
    if item.number not in state.representatives:
        rows = source.rows("parent")
        columns = [rows.c[name] for name in item.referenced_columns]
        order = key_hash_sql(state.key_of(item.parent, rows), state.salt ^ OTHER_SALT)
        query = sa.select(rows.c[TID]).ext(distinct_on(*columns)).order_by(*columns, order)
        table, _ = state.space.create(query, "representatives", str(item.number))
        state.representatives[item.number] = table
    one = state.representatives[item.number]
    rows = source.rows("parent")
    return sa.select(rows).join(one, one.c[TID] == rows.c[TID]).subquery(alias)


def first_number(state: SelectionState, table: str, rows: sa.FromClause) -> sa.ColumnElement[int]:
    """Return the number that orders rows which would serve alike: what is drawn first comes first.

    Where the columns of a row do not say when it is drawn, as with what is below the children of a
    root, it is that of its own key: then a row may serve although one that is drawn would, too.
    """
    own, owner = own_number(state, table, rows), state.plan_of(table).owner
    if owner is None or not is_direct(state, owner):
        return own
    value = reference_columns(state, owner, rows)
    of_root = permanent_random_sql(value, state.salt)
    return sa.case((sa.not_(refers(owner, rows)), own), else_=of_root)
