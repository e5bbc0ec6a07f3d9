"""Whether a relation is still the one that was built, with the rows that were built.

A result is built in one transaction, so all of its rows bear the number of that transaction
(`xmin`), and the statistics count so many inserted rows and nothing else. A filter, which reads no
row, compares what identifies the relation (object, file, columns, counters). What it leaves unknown
is settled by a look at every row: rows that somebody inserted or updated bear another number, and
where rows were deleted the others are fewer. Maintenance that writes the same rows to another file
(VACUUM FULL, CLUSTER, SET TABLESPACE) keeps the numbers. SET LOGGED and a restore give all rows new
ones; then the hash of their content tells, where one was taken.

Counters lag behind a session that goes on (by ten seconds, or until its transaction ends), count
rows that were rolled back, and begin anew after a crash of the server.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa

from data_pipeline.database import row_security
from data_pipeline.database.connection import run, with_settings
from data_pipeline.database.identifiers import RelationName, literal
from data_pipeline.database.row_hash import has_own_types, row_hash
from data_pipeline.database.sql_text import stored_query
from data_pipeline.store.catalog import CatalogRow
from data_pipeline.transfer.stable_hash import fingerprint

State = Mapping[str, Any]
"""What identifies a relation and its rows.

`database`: the cluster and the database. `oid`, `kind`, `file`, `columns`: the relation. `heirs`:
whether other tables add rows to it by inheritance. `attached`: whether it is a partition.
`inserted`, `updated`, `deleted`: what was counted since `since`. `writer`: the transaction of all
rows; a list where several have written them, a sum of hashes where these are many, NULL where that
is not known. Of a view, `rule`: the version of its query, `shows`: the names of what it reads (it
follows a table that is renamed away), `definition`: a digest of its query.
"""

STATE = stored_query(__file__, "changed_by_hand")
"""The SQL of the state of a `regclass`; NULL where there is no such relation."""

_DEFINITION = "SELECT md5(pg_get_viewdef({oid}::oid))"
_IDENTIFYING = ("file", "inserted", "updated", "deleted", "since")
_NOT_KEPT = ("pages",)

MOST_WRITERS = 1000
"""Of more transactions than these, the catalog keeps a sum: a table may grow for years."""

Writers = str | Sequence[str] | Mapping[str, str] | None
"""The transactions that have written the rows of a relation, as the catalog keeps them."""

SMALL_PAGES = 128
"""Up to this size (1 MB) each row is looked at whenever a step reads a table."""


@dataclass(frozen=True)
class Verdict:
    """What became of a relation since it was built.

    Attributes:
        is_there: Whether it exists.
        change: What somebody did to it by hand; None where nothing was done.
        state: What identifies it now.
        is_large: Whether steps read it without a look at every row.
    """

    is_there: bool
    change: str | None = None
    state: State | None = None
    is_large: bool = False

    @property
    def is_intact(self) -> bool:
        """Whether it is what was built."""
        return self.is_there and self.change is None

    def seen(self, row: CatalogRow) -> CatalogRow:
        """Return the catalog row with the version of the data that is there now."""
        if self.change is None:
            return row
        return replace(row, data_version=fingerprint("changed", row.data_version, self.state))


GONE = Verdict(is_there=False)

# What every row was looked at for, by what was known and what was found: a run decides often.
_settled: dict[str, Verdict] = {}


def state_of(relation: str) -> str:
    """Return the SQL expression for the state of a relation, given one for its `regclass`."""
    return STATE.format(relation=relation)


def read_states(
    connection: sa.Connection, relations: Iterable[RelationName]
) -> dict[RelationName, State | None]:
    """Return the states of relations, None for what does not exist; no row is read."""
    names = {relation.quoted: relation for relation in relations}
    if not names:
        return {}
    array = ", ".join(literal(name) for name in names)
    query = f"SELECT name, {state_of('to_regclass(name)')} FROM unnest(ARRAY[{array}]) name"
    return {names[name]: state for name, state in run(connection, query)}


def judge(
    connection: sa.Connection,
    items: Sequence[tuple[RelationName, CatalogRow, State | None]],
    *,
    look_at_small: bool = False,
) -> list[Verdict]:
    """Return what became of relations.

    Args:
        connection: A transaction, for looks at rows where the filter leaves something unknown.
        items: The relations, what the catalog says of them, and their states.
        look_at_small: Whether small tables are looked at row by row in any case.
    """
    verdicts = []
    for relation, row, state in items:
        verdict = filtered(row, state)
        looks = look_at_small and verdict is not None and _may_be_looked_at(row, verdict)
        if state is not None and (verdict is None or looks):
            verdict = _settle(connection, relation, row, state, anew=looks)
        verdicts.append(verdict or GONE)
    return verdicts


def verdict_on(connection: sa.Connection, relation: RelationName, row: CatalogRow) -> Verdict:
    """Return what became of one relation."""
    states = read_states(connection, [relation])
    return judge(connection, [(relation, row, states[relation])])[0]


def intact_relations(
    connection: sa.Connection, rows: Mapping[RelationName, CatalogRow]
) -> frozenset[RelationName]:
    """Return the relations that are still what was built, given what the catalog says of them."""
    states = read_states(connection, rows)
    items = [(relation, row, states[relation]) for relation, row in rows.items()]
    verdicts = judge(connection, items)
    return frozenset(item[0] for item, v in zip(items, verdicts, strict=True) if v.is_intact)


def filtered(row: CatalogRow, state: State | None) -> Verdict | None:
    """Return what can be said of a relation without reading a row; None where that is not enough.

    Args:
        row: What the catalog says of it.
        state: Its state.
    """
    if state is None:
        return GONE
    large = state["pages"] > SMALL_PAGES
    known = row.relation
    if row.kind == "sliced":
        # What became of its rows, its slices tell.
        is_other = state["kind"] != "p"
        change = f"another relation has taken the place of `{row.table}`" if is_other else None
        return Verdict(True, change, state if is_other else None)
    if row.slice and row.committed_at is not None and not state["attached"]:
        return Verdict(True, f"slice `{row.table}` was detached by hand", state, large)
    if state["kind"] != ("v" if row.kind == "view" else "r"):
        return Verdict(True, f"another relation has taken the place of `{row.table}`", state)
    if known.get("database") != state["database"]:
        return None  # of an earlier version of this package, or restored into another database
    if row.kind == "view":
        same = all(known.get(name) == state[name] for name in ("oid", "rule", "shows"))
        return Verdict(True, None, known) if same else None
    if known.get("oid") != state["oid"]:
        return Verdict(True, f"`{row.table}` was dropped and created again by hand", state, large)
    if known.get("columns") != state["columns"]:
        return Verdict(True, f"columns of `{row.table}` were changed by hand", state, large)
    if state["heirs"]:
        return None  # their rows count as its own, where they have any
    if all(known.get(name) == state[name] for name in _IDENTIFYING):
        return Verdict(True, None, known, large)
    return None


def is_same(row: CatalogRow, state: State | None) -> bool:
    """Whether a relation is the one that was built, not one that was restored or renamed."""
    return state is not None and all(
        row.relation.get(name) == state[name] for name in ("database", "oid", "columns")
    )


def _may_be_looked_at(row: CatalogRow, verdict: Verdict) -> bool:
    known = row.kind == "table" and row.relation.get("writer") is not None
    return known and verdict.is_intact and not verdict.is_large


def built_state(state: State, rows: int, transaction: str) -> State:
    """Return the state of a table that a transaction has just built, before its rows are counted.

    Args:
        state: What is known of the relation within the transaction.
        rows: The rows that it has inserted.
        transaction: Its number, as rows bear it.
    """
    return remembered({**state, "inserted": rows, "updated": 0, "deleted": 0}, writer=transaction)


def writers_sum(xmin: str = "xmin") -> str:
    """Return the SQL of the sum that stands for the transactions of all rows, given one's."""
    return f"coalesce(sum(hashint8extended({xmin}::text::bigint, 0)::numeric), 0)"


def remembered(state: State, *, writer: Writers, definition: str | None = None) -> State:
    """Return what the catalog keeps of a state."""
    kept = {name: value for name, value in state.items() if name not in _NOT_KEPT}
    return {**kept, "writer": writer, "definition": definition}


def _settle(
    connection: sa.Connection, relation: RelationName, row: CatalogRow, state: State, *, anew: bool
) -> Verdict:
    known = {name: value for name, value in state.items() if name not in _NOT_KEPT}
    key = fingerprint(str(relation), row.data_version, dict(row.relation), known)
    if anew:
        return _look_at_rows(connection, relation, row, state)
    if key not in _settled or state["heirs"]:  # whose rows the key does not tell
        look = _look_at_view if row.kind == "view" else _look_at_rows
        try:
            with connection.begin_nested():
                _settled[key] = look(connection, relation, row, state)
        except sa.exc.DBAPIError as error:
            if not row_security.is_refusal(error.orig):
                raise
            # Nobody may be going to read it; whoever does is told of the policy.
            change = f"rows of `{row.table}` are hidden by row security"
            _settled[key] = Verdict(True, change, state)
    return _settled[key]


def _look_at_view(
    connection: sa.Connection, relation: RelationName, row: CatalogRow, state: State
) -> Verdict:
    with with_settings(connection, "SET LOCAL search_path = ''"):
        found = run(connection, _DEFINITION.format(oid=state["oid"])).scalar()
    before = row.relation.get("definition")
    # In another database, too: a restore writes the same query.
    is_changed = before is not None and before != found
    change = f"query of view `{row.table}` was changed by hand" if is_changed else None
    return Verdict(True, change, remembered(state, writer=None, definition=found))


def _look_at_rows(
    connection: sa.Connection, relation: RelationName, row: CatalogRow, state: State
) -> Verdict:
    if _has_other_columns(connection, relation, row, state):
        return Verdict(True, f"columns of `{row.table}` were changed by hand", state)
    writer = row.relation.get("writer")
    first = f"(SELECT xmin FROM {relation.quoted} LIMIT 1)"
    count, own, alike, first_writer = run(
        connection,
        f"SELECT count(*), {_own_rows(writer)}, "
        f"count(*) FILTER (WHERE xmin = {first}), {first}::text FROM {relation.quoted}",
    ).one()
    large = state["pages"] > SMALL_PAGES
    if row.row_count and not count:
        return Verdict(True, f"`{row.table}` was emptied by hand", state, large)
    if count == row.row_count:
        if writer and own == count:
            return Verdict(True, None, remembered(state, writer=writer), large)
        # In another database nothing else can be expected: a restore has written all rows.
        is_restored = row.relation.get("database") != state["database"] and not own
        if _has_same_content(connection, relation, row, otherwise=is_restored):
            one = first_writer if alike == count else None
            return Verdict(True, None, remembered(state, writer=one), large)
    change = f"rows of `{row.table}` were changed by hand"
    if state["heirs"]:
        change = (
            f"another table inherits from `{row.table}`, so that its rows count as well "
            f"(ALTER TABLE ... NO INHERIT {relation.quoted} ends it)"
        )
    return Verdict(True, change, state, large)


def _has_other_columns(
    connection: sa.Connection, relation: RelationName, row: CatalogRow, state: State
) -> bool:
    """Whether the copy of a table in another database has columns that were not built.

    They may be added without writing any row. Types that are not PostgreSQL's own cannot be told.
    """
    known = row.relation
    if known.get("database") in (None, state["database"]):
        return False  # of an earlier version of this package, or compared already
    is_other = known.get("columns") != state["columns"]
    return is_other and not has_own_types(connection, relation)


def _own_rows(writer: Writers) -> str:
    """Return the SQL of the number of rows that are those of known transactions."""
    if isinstance(writer, Mapping):
        is_same = f"{writers_sum()} = {literal(writer['sum'])}::numeric"
        return f"CASE WHEN {is_same} THEN count(*) ELSE 0 END"
    writers = [writer] if isinstance(writer, str) else writer or []
    return f"count(*) FILTER (WHERE xmin = ANY (ARRAY[{', '.join(map(literal, writers))}]::xid[]))"


def _has_same_content(
    connection: sa.Connection, relation: RelationName, row: CatalogRow, *, otherwise: bool
) -> bool:
    """Whether the content is that which was built, as far as a hash of it can tell."""
    if row.content_hash is None:
        return otherwise
    found = row_hash(connection, relation)
    if found == row.content_hash:
        return True
    # Types that are not PostgreSQL's own have other numbers in another database.
    return otherwise and has_own_types(connection, relation)
