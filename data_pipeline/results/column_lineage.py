"""From which columns of its inputs each column of a table comes: read from the query, or copied."""

import functools
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import dagster as dg
import sqlalchemy as sa

from data_pipeline.database.connection import run
from data_pipeline.database.identifiers import RelationName, StageTable, literal
from data_pipeline.instances import Instance
from data_pipeline.store import staging
from data_pipeline.store.lookup import committed

_MOST_COLUMNS = 200
"""Of wider tables the lineage takes seconds to read, and nobody looks at it."""

_REMEMBERED = 256
"""Queries whose lineage a process keeps: what it makes again has mostly the same."""

_COLUMNS = """SELECT v.place, json_agg(a.attname ORDER BY a.attnum)
FROM (VALUES {relations}) AS v (place, oid)
JOIN pg_attribute a ON a.attrelid = v.oid AND a.attnum > 0 AND NOT a.attisdropped
GROUP BY v.place"""


@dataclass(frozen=True)
class _Source:
    """An input, and where it is before its stage commits."""

    table: StageTable
    staged: RelationName


Lineage = Mapping[str, Sequence[tuple[StageTable, str]]]
"""The columns behind each column."""


def lineage_metadata(lineage: Lineage) -> dict[str, Any]:
    """Return the metadata that shows where columns come from; none where that is not known."""
    found = {
        column: [
            dg.TableColumnDep(asset_key=dg.AssetKey([table.stage, table.name]), column_name=name)
            for table, name in sources
        ]
        for column, sources in lineage.items()
        if sources
    }
    return {"dagster/column_lineage": dg.TableColumnLineage(found)} if found else {}


def of_copy(source: StageTable, columns: Iterable[str]) -> Lineage:
    """Return the lineage of a table that has the columns of another one."""
    return {name: [(source, name)] for name in columns}


def of_query(
    connection: sa.Connection,
    instance: Instance,
    query: str,
    inputs: Iterable[str],
    columns: Sequence[str],
) -> Lineage:
    """Return the lineage of a table that is made by a query.

    Args:
        connection: Asked for the columns of the inputs where the query does not name them.
        instance: The instance that makes the table.
        query: The query, with the names of committed tables.
        inputs: What it reads, as `instance/stage/table`.
        columns: Its columns.

    Returns:
        None of it where sqlglot does not understand the query.
    """
    sources = _sources(instance, inputs)
    if not sources or not columns or len(columns) > _MOST_COLUMNS:
        return {}
    with suppress(Exception):  # it knows much of PostgreSQL's SQL, not all of it
        needed = _needs_columns(query, several=len(sources) > 1)
        known = _columns(connection, sources) if needed else {}
        tables = frozenset((relation, source.table) for relation, source in sources.items())
        return _traced(query, tuple(columns), tables, frozenset(known.items()))
    return {}


def _sources(instance: Instance, inputs: Iterable[str]) -> dict[RelationName, _Source]:
    instances: dict[str, Instance] = {}
    current: Instance | None = instance
    while current is not None:
        instances[current.instance_id] = current
        current = current.source
    found = {}
    for name in inputs:
        instance_id, stage, table = name.split("/", 2)
        if instance_id in instances and stage:
            owner, key = instances[instance_id], StageTable(stage, table)
            found[committed(owner, key)] = _Source(key, staging.relation_of(owner, key))
    return found


def _columns(
    connection: sa.Connection, sources: Mapping[RelationName, _Source]
) -> dict[RelationName, tuple[str, ...]]:
    """Return the columns of inputs, of those that this run has staged as they are there."""
    values = (
        f"({place}, coalesce(to_regclass({literal(source.staged.quoted)}), "
        f"to_regclass({literal(name.quoted)})))"
        for place, (name, source) in enumerate(sources.items())
    )
    names = list(sources)
    found = run(connection, _COLUMNS.format(relations=", ".join(values)))
    return {names[place]: tuple(columns) for place, columns in found}


@functools.lru_cache(maxsize=_REMEMBERED)
def _parsed(query: str) -> Any:
    import sqlglot

    return sqlglot.parse_one(query, dialect="postgres")


def _needs_columns(query: str, *, several: bool) -> bool:
    """Whether the columns of the inputs tell what names without a table mean."""
    from sqlglot import exp

    parsed = _parsed(query)
    if parsed.find(exp.Star) is not None:
        return True
    return several and any(not column.table for column in parsed.find_all(exp.Column))


@functools.lru_cache(maxsize=_REMEMBERED)
def _traced(
    query: str,
    columns: tuple[str, ...],
    tables: frozenset[tuple[RelationName, StageTable]],
    known: frozenset[tuple[RelationName, tuple[str, ...]]],
) -> Lineage:
    from sqlglot import exp
    from sqlglot.lineage import lineage
    from sqlglot.optimizer.qualify import qualify
    from sqlglot.optimizer.scope import build_scope
    from sqlglot.schema import MappingSchema

    schema = MappingSchema(dialect="postgres", normalize=False)
    for relation, names in known:
        table = exp.table_(relation.name, db=relation.schema, quoted=True)
        schema.add_table(table, dict.fromkeys(names, "text"))
    qualified: Any = qualify(
        _parsed(query).copy(),
        dialect="postgres",
        schema=schema,
        validate_qualify_columns=False,
        identify=True,
    )
    scope = build_scope(qualified)
    sources = dict(tables)
    found: dict[str, list[tuple[StageTable, str]]] = {}
    # PostgreSQL has names for expressions without one that sqlglot does not know.
    for column, selected in zip(columns, qualified.named_selects, strict=True):
        node: Any = lineage(
            exp.column(exp.to_identifier(selected, quoted=True)),
            qualified,
            schema,
            dialect="postgres",
            scope=scope,
            trim_selects=False,
            copy=False,
        )
        behind: dict[tuple[StageTable, str], None] = {}
        for leaf in node.walk():
            if isinstance(leaf.source, exp.Table):
                relation = RelationName(leaf.source.db, leaf.source.name)
                name = exp.to_column(leaf.name, dialect="postgres").name
                if relation in sources and name != "*":
                    behind[sources[relation], name] = None
        found[column] = sorted(behind, key=str)
    return found
