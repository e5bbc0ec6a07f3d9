"""The identity of copies: it tells whether an earlier draw has chosen the same rows and roles.

It is made of the state of their own source table, of what decides on the drawn rows, and of the few
rows that come for other reasons, or of all places. So it is the same although tables that have
nothing to do with these rows have new data.
"""

from typing import Any

import sqlalchemy as sa

from data_pipeline.results.sql_query import compiled
from data_pipeline.sampling.code_identity import sampling_version
from data_pipeline.sampling.earlier.copies import CopyIdentity
from data_pipeline.sampling.engine.selection_state import SelectionState
from data_pipeline.sampling.engine.source_tables import TID
from data_pipeline.sampling.engine.workspace import row_columns
from data_pipeline.sampling.key_hash import key_hash_sql
from data_pipeline.sampling.plan.schema_graph import Relationship
from data_pipeline.transfer.stable_hash import fingerprint


def identity_of_drawn(
    state: SelectionState, table: str, query: sa.Select[Any], common: sa.Select[Any]
) -> str | None:
    """Return the identity of drawn rows.

    Args:
        state: The selection.
        table: Their table.
        query: The query for them, which reads no other table but for keys that it leaves out.
        common: The query for the role that they have in common.

    Returns:
        None where nothing tells the state of the table.
    """
    version = state.space.facts.versions.get(table)
    if version is None:
        return None
    texts, owner = [compiled(query), compiled(common)], state.plan_of(table).owner
    if owner is not None and owner.parent in state.outside:
        texts.append(_keys_hash(state, state.outside[owner.parent]))
    return fingerprint("drawn-1", sampling_version(), version, *texts)


def identity_of_referred(state: SelectionState, item: Relationship) -> str | None:
    """Return the identity of rows that come since chosen rows of another table refer to them."""
    child, version = copy_identity(state, item.child), state.space.facts.versions.get(item.parent)
    if child is None or version is None:
        return None
    others, masks = _rows_hash(state, state.rows[item.parent]), _masks(state, item.parent)
    chosen_by = str(item), child.every, others, masks
    return fingerprint("referred-1", sampling_version(), version, *chosen_by)


def copy_identity(state: SelectionState, table: str) -> CopyIdentity | None:
    """Return the identity of the copy of a table to which no rows will be added any more.

    Returns:
        None where nothing tells the state of the table.
    """
    if table not in state.identities:
        state.identities[table] = _identity(state, table)
    return state.identities[table]


def _identity(state: SelectionState, table: str) -> CopyIdentity | None:
    version = state.space.facts.versions.get(table)
    if version is None:
        return None
    output, others = state.outputs.get(table), state.rows.get(table)
    rows = None if table in state.whole or others is None else _rows_hash(state, others)
    if output is not None:
        if output.drawn is None:
            return None
        return CopyIdentity(output.drawn, fingerprint("written-1", output.drawn, rows))
    masks = _masks(state, table)
    if masks and table in state.space.facts.changing:
        return None  # they may have other values by now
    cuts = [_cut_hash(state, table, column) for column in state.plan.cuts.get(table, ())]
    key = list(state.plan.graph.keys[table])
    every = fingerprint("chosen-1", sampling_version(), version, key, masks, cuts, rows)
    return CopyIdentity(None, every)


def _masks(state: SelectionState, table: str) -> list[list[str]]:
    return [list(item) for item in sorted(state.plan.masks.get(table, {}).items())]


def _cut_hash(state: SelectionState, table: str, column: str) -> list[str]:
    name = state.space.name("cut", table, column)
    places = sa.table(name.name, sa.column(TID), schema=name.schema)
    return [column, _hash(state, places, [TID])]


def _rows_hash(state: SelectionState, rows: sa.TableClause) -> str:
    return _hash(state, rows, [column.name for column in row_columns()])


def _keys_hash(state: SelectionState, keys: sa.TableClause) -> str:
    hashes = [key_hash_sql(list(keys.c), salt) for salt in (0, 1)]
    sums = (sa.func.sum(sa.cast(value, sa.Numeric)) for value in hashes)
    found = state.connection.execute(sa.select(sa.func.count(), *sums).select_from(keys)).one()
    return " ".join(map(str, found))


def _hash(state: SelectionState, table: sa.TableClause, names: list[str]) -> str:
    row = sa.func.row(*(table.c[name] for name in names))
    sums = (
        sa.func.sum(sa.cast(sa.func.hash_record_extended(row, salt), sa.Numeric)) for salt in (0, 1)
    )
    found = state.connection.execute(sa.select(sa.func.count(), *sums).select_from(table)).one()
    return " ".join(map(str, found))
