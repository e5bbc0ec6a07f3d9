"""Loads that are under way: which ranges of a table's rows lie in its staged relation already.

Each range is listed in the transaction that writes its rows, so that a range which is listed is
there as a whole, once, and one which is not is not there at all, whenever a process dies. The row
with the empty range stands for the load as a whole.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from data_pipeline.database.connection import run
from data_pipeline.database.identifiers import StageTable, literal, quoted
from data_pipeline.instances import Instance
from data_pipeline.results.ranges.ranged_rows import LoadedRange
from data_pipeline.store import catalog, staging

_WHOLE = ""

_FORGET = "DELETE FROM {loads} WHERE stage = {stage} AND name = {name}"
_BEGIN = """
INSERT INTO {loads} (stage, name, range, relation, identity, begun_at)
VALUES ({stage}, {name}, '', CAST({relation} AS regclass)::oid::bigint, {identity},
    clock_timestamp())
"""
_CLAIM = """
INSERT INTO {loads} (stage, name, range, relation, begun_at)
SELECT stage, name, {range}, relation, clock_timestamp() FROM {loads}
WHERE stage = {stage} AND name = {name} AND range = '' AND rows IS NULL
    AND relation = CAST({relation} AS regclass)::oid::bigint
ON CONFLICT DO NOTHING RETURNING range
"""
_END = """
UPDATE {loads} SET rows = CAST({rows} AS bigint), seen = CAST({seen} AS jsonb),
    loaded_at = clock_timestamp(), writer = pg_current_xact_id()::xid::text
WHERE stage = {stage} AND name = {name} AND range = {range} RETURNING range
"""
_FOUND = """
SELECT range, identity, rows, seen, writer FROM {loads} l
WHERE stage = {stage} AND name = {name} AND relation = to_regclass({relation})::oid::bigint
    AND NOT EXISTS (SELECT FROM {staged} s WHERE s.stage = l.stage AND s.name = l.name)
"""


@dataclass(frozen=True)
class Load:
    """What is loaded of a table.

    Attributes:
        identity: What the rows look like, and how they are cut into ranges.
        ranges: Those that are loaded.
        completed: What was written with keys and types when all ranges were there; None before.
    """

    identity: str
    ranges: Sequence[LoadedRange]
    completed: LoadedRange | None

    @property
    def rows(self) -> int:
        """The number of rows so far."""
        return sum(item.rows for item in self.ranges)


def begin(connection: sa.Connection, instance: Instance, table: StageTable, identity: str) -> None:
    """List a load whose relation the same transaction has created."""
    forget(connection, instance, table)
    _run(connection, _BEGIN, instance, table, identity=identity)


def forget(connection: sa.Connection, instance: Instance, table: StageTable) -> None:
    """Take a load off the list, whose table is finished or begins anew."""
    _run(connection, _FORGET, instance, table)


def claim(instance: Instance, table: StageTable, name: str) -> str:
    """Return the statement that lists a range; it gives nothing where that is loaded already.

    Who comes second waits for the end of the first one's transaction.
    """
    return _text(_CLAIM, instance, table, range=name)


def end(
    instance: Instance, table: StageTable, name: str, rows: int, seen: Mapping[str, Any]
) -> str:
    """Return the statement that notes what became of a range, for the transaction that wrote it."""
    return _text(_END, instance, table, range=name, rows=rows, seen=json.dumps(seen))


def complete(connection: sa.Connection, instance: Instance, table: StageTable, rows: int) -> None:
    """Note that the relation has got its types and keys in this transaction."""
    run(connection, end(instance, table, _WHOLE, rows, {}))


def found(connection: sa.Connection, instance: Instance, table: StageTable) -> Load | None:
    """Return what is loaded of a table whose relation is not finished."""
    if not catalog.exists(connection, instance.catalog_schema, staging.LOADS):
        return None
    rows = _run(connection, _FOUND, instance, table).all()
    identity = next((row.identity for row in rows if row.range == _WHOLE), None)
    if identity is None:
        return None
    loaded = {
        row.range: LoadedRange(row.range, row.rows, row.seen, row.writer)
        for row in rows
        if row.rows is not None
    }
    completed = loaded.pop(_WHOLE, None)
    return Load(identity, [*loaded.values()], completed)


def _run(
    connection: sa.Connection, statement: str, instance: Instance, table: StageTable, **more: Any
) -> "sa.CursorResult[*tuple[Any, ...]]":
    return run(connection, _text(statement, instance, table, **more))


def _text(statement: str, instance: Instance, table: StageTable, **more: str | int) -> str:
    """Return a statement as any driver can execute it."""
    schema = instance.catalog_schema
    given = {
        "stage": table.stage,
        "name": table.name,
        "relation": staging.relation_of(instance, table).quoted,
        **more,
    }
    return statement.format(
        loads=quoted(schema, staging.LOADS),
        staged=quoted(schema, staging.STAGED),
        **{name: literal(str(value)) for name, value in given.items()},
    )
