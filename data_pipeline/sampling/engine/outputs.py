"""Copies that are written while their rows are chosen, so that each row is written once.

That is possible where the columns of a row say whether it is drawn, or where all rows come by one
relationship that leads to the table. Rows that come for other reasons are few; they are known by
their places, as those of other tables are, and are added in the end.

Rows that the copy of an earlier draw has are not written again: it stays, or is copied from there.
"""

from collections.abc import Callable, Mapping
from typing import Any

import sqlalchemy as sa

from data_pipeline.sampling.earlier.copy_identities import (
    copy_identity,
    identity_of_drawn,
    identity_of_referred,
)
from data_pipeline.sampling.engine.masks import masked
from data_pipeline.sampling.engine.selection_state import Output, SelectionState
from data_pipeline.sampling.engine.source_tables import TID, SourceTable, hash_alike, refers
from data_pipeline.sampling.key_hash import key_hash_sql
from data_pipeline.sampling.plan.hubs_and_thresholds import Role
from data_pipeline.sampling.plan.masked_keys import key_columns
from data_pipeline.sampling.plan.roots_and_children import SamplePart
from data_pipeline.sampling.plan.sample_plan import SamplePlan
from data_pipeline.sampling.plan.schema_graph import Relationship

OUTPUT, OTHERS, COMMON, ROLES = "output", "others", "common", "roles"
"""Working tables: the copy, keys (`k0`, ...) and roles of few rows, the role of all others, and the
roles of all."""


def may_be_written(plan: SamplePlan, table: str, sources: Mapping[str, sa.Table]) -> bool:
    """Whether a copy can be written at once, by what is known before any row is chosen."""
    settings = plan.settings
    if plan.is_minimal or plan.cuts or settings.closure_limit is not None:
        return False
    if not plan.graph.keys[table] or not _may_be_masked(plan, table):
        return False
    item, part = plan.tables[table].owner, plan.tables[table].part
    if table in plan.where and (part is SamplePart.REFERENCED or plan.masks.get(table)):
        return False
    if item is not None:
        is_root = plan.tables[item.parent].part is SamplePart.ROOT
        alike = hash_alike(item, sources[item.child], sources[item.parent])
        return item.refers_to_key and is_root and alike
    if part is SamplePart.REFERENCED:
        return len(list(plan.graph.of_parent(table))) == 1 and plan.graph.order is not None
    return part is SamplePart.ROOT


def _may_be_masked(plan: SamplePlan, table: str) -> bool:
    """Whether the copy has still all that rows are told and chosen by."""
    masks, items = plan.masks.get(table, {}), list(plan.graph.of_child(table))
    if not masks:
        return True
    of_key = masks.keys() & key_columns(plan.graph, table)
    return not of_key and all(item.where is None for item in items)


def write_drawn(
    state: SelectionState,
    table: str,
    probability: float,
    drawn: int | None,
    condition: Callable[[sa.FromClause], sa.ColumnElement[bool]],
    among: sa.FromClause | None = None,
) -> None:
    """Write the drawn rows of a table.

    Args:
        state: The selection.
        table: The table.
        probability: Their inclusion probability.
        drawn: How many were drawn as a simple random sample, if they were.
        condition: The condition of drawn rows, of all rows.
        among: Rows that all of them are among, and that are found sooner; None: all rows.
    """
    every = state.sources[table].all_rows("drawn")
    query, found = (
        sa.select(*columns_of_copy(state, table, rows)).where(condition(rows))
        for rows in (every, every if among is None else among)
    )
    state.drawn[table] = condition
    role = Role.CERTAIN if probability == 1.0 else Role.SAMPLED
    common = _common(role, probability, drawn, None)
    identity = identity_of_drawn(state, table, query, common)
    state.space.create(common, COMMON, table, analyzed=False)
    if not _take_earlier(state, table, identity):
        _write(state, table, found, identity)


def write_referenced(
    state: SelectionState,
    item: Relationship,
    reason: str,
    missing: Callable[[], sa.Select[Any] | None],
) -> int:
    """Write the rows of a table that chosen rows refer to; return how many there are.

    Args:
        state: The selection.
        item: The relationship by which they come.
        reason: The same in words.
        missing: Gives the query for them; None: nothing is referred to.
    """
    table, identity = item.parent, identity_of_referred(state, item)
    if not _take_earlier(state, table, identity):
        if (query := missing()) is None:
            return 0
        with state.space.expecting_few_rows():
            _write(state, table, query, identity)
    common = _common(Role.REFERENCE, None, None, reason)
    state.space.create(common, COMMON, table, analyzed=False)
    return state.outputs[table].rows


def finish(state: SelectionState) -> None:
    """Finish all copies that are not finished yet."""
    for table in state.outputs:
        finish_copy(state, table)


def finish_copy(state: SelectionState, table: str) -> None:
    """Add the rows that are known by their places to a copy, and keep their roles.

    No rows of the table may be chosen any more.
    """
    output = state.outputs[table]
    if output.is_finished:
        return
    if output.earlier is not None and output.earlier.identity != copy_identity(state, table):
        rows = output_rows(state, table, "kept")
        names = state.sources[table].table.c.keys()
        _write(state, table, sa.select(*(rows.c[name] for name in names)), output.drawn)
        output = state.outputs[table]
    output.is_finished = True
    if output.earlier is not None:
        return
    source, chosen = state.sources[table], state.rows[table]
    rows = source.rows_at(chosen, "added")
    output.rows += state.space.insert(output.table, sa.select(*columns_of_copy(state, table, rows)))
    keys = [rows.c[name].label(f"k{i}") for i, name in enumerate(source.key)]
    others = sa.select(*keys, chosen.c.role, chosen.c.reason)
    joined = others.join(chosen, chosen.c[TID] == rows.c[TID])
    state.space.create(joined, OTHERS, table, analyzed=False)


def output_rows(state: SelectionState, table: str, alias: str) -> sa.Subquery:
    """Return the rows of a copy: until it is finished, without those that are added then."""
    source, written = state.sources[table], state.outputs[table].table
    columns = [sa.Column(column.name, column.type) for column in source.table.c]
    relation = sa.Table(written.name, sa.MetaData(), *columns, schema=written.schema)
    copy = SourceTable(table, relation, source.key, source.conditions, where=source.where)
    output = state.outputs[table]
    if output.is_finished or output.earlier is None or table not in state.drawn:
        return copy.all_rows(alias)
    rows = copy.all_rows("copied")
    return sa.select(rows).where(state.drawn[table](rows)).subquery(alias)


def drawn_unit(plan: SamplePlan, source: SourceTable, rows: sa.FromClause) -> sa.ColumnElement[int]:
    """Return the unit of drawn rows whose copy is written at once: that of their root."""
    own, owner = key_hash_sql(source.key_of(rows), plan.salt), plan.tables[source.name].owner
    if owner is None:
        return own
    names = owner.in_order_of(plan.graph.keys[owner.parent])
    of_root = key_hash_sql([rows.c[name] for name in names], plan.salt)
    return sa.case((sa.not_(refers(owner, rows)), own), else_=of_root)


def columns_of_copy(state: SelectionState, table: str, rows: sa.FromClause) -> list[Any]:
    """Return the columns of a copy, of rows of the source: some may be masked."""
    masks = state.plan.masks.get(table, {})
    return [
        masked(masks[column.name], column.type).label(column.name)
        if column.name in masks
        else rows.c[column.name]
        for column in state.sources[table].table.c
    ]


def _take_earlier(state: SelectionState, table: str, drawn: str | None) -> bool:
    """Take the copy of an earlier draw, if it has the drawn rows."""
    earlier = state.space.earlier.get(table)
    if earlier is None or drawn is None or earlier.identity.drawn != drawn:
        return False
    state.outputs[table] = Output(earlier.table, earlier.rows, drawn, earlier)
    return True


def _write(state: SelectionState, table: str, query: sa.Select[Any], drawn: str | None) -> None:
    unlogged = state.space.outputs[table]
    written, rows = state.space.write(query, OUTPUT, table, unlogged=unlogged)
    state.outputs[table] = Output(written, rows, drawn)


def _common(
    role: Role, probability: float | None, drawn: int | None, reason: str | None
) -> sa.Select[Any]:
    return sa.select(
        sa.cast(int(role), sa.SmallInteger).label("role"),
        sa.cast(probability, sa.Double).label("probability"),
        sa.cast(drawn, sa.BigInteger).label("sample_size"),
        sa.cast(reason, sa.Text).label("reason"),
    )
