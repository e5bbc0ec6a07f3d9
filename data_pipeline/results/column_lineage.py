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
        if (plain := _of_plain(_parsed(query), columns, sources)) is not None:
            return plain
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


def _of_plain(
    parsed: Any, columns: Sequence[str], sources: Mapping[RelationName, _Source]
) -> Lineage | None:
    """Return the lineage of a SELECT from tables alone; None of anything that needs more thought.

    sqlglot knows the rest, and takes several times as long.
    """
    from sqlglot import exp

    tables = _plain_tables(parsed)
    has_star = any(not isinstance(item.parent, exp.Count) for item in parsed.find_all(exp.Star))
    if not tables or len(parsed.selects) != len(columns) or has_star:
        return None
    found: dict[str, list[tuple[StageTable, str]]] = {}
    for name, selected in zip(columns, parsed.selects, strict=True):
        behind = set()
        for column in selected.find_all(exp.Column):
            relation = _relation_of(column, tables)
            if relation is None:
                return None
            if relation in sources:
                behind.add((sources[relation].table, _folded(column.this)))
        found[name] = sorted(behind, key=str)
    return found


def _plain_tables(parsed: Any) -> dict[str, RelationName]:
    """Return the tables of a SELECT by the names that they have in it; none if it reads more."""
    from sqlglot import exp

    if not isinstance(parsed, exp.Select) or sum(1 for _ in parsed.find_all(exp.Query)) != 1:
        return {}
    joins = parsed.args.get("joins") or []
    beginning = parsed.args.get("from_") or parsed.args.get("from")
    items = [clause.this for clause in (beginning, *joins) if clause is not None]
    unusual = [parsed.args.get(name) for name in ("laterals", "windows", "pivots")]
    if any(unusual) or any(j.args.get("using") or j.args.get("method") for j in joins):
        return {}
    found = {_name_of(item): _relation(item) for item in items if _is_plain(item)}
    return found if len(found) == len(items) else {}


def _is_plain(item: Any) -> bool:
    from sqlglot import exp

    named = isinstance(item, exp.Table) and isinstance(item.this, exp.Identifier)
    return named and not item.alias_column_names and not item.args.get("pivots")


def _relation(table: Any) -> RelationName:
    schema = table.args.get("db")
    return RelationName(_folded(schema) if schema else "", _folded(table.this))


def _name_of(table: Any) -> str:
    alias = table.args.get("alias")
    return _folded(alias.this if alias else table.this)


def _relation_of(column: Any, tables: Mapping[str, RelationName]) -> RelationName | None:
    """Return the table of a column; None where the names alone do not tell it."""
    table, schema = column.args.get("table"), column.args.get("db")
    if table is None:
        is_whole_row = _folded(column.this) in tables
        return next(iter(tables.values())) if len(tables) == 1 and not is_whole_row else None
    relation = tables.get(_folded(table))
    is_other = schema and relation and _folded(schema) != relation.schema
    return None if is_other else relation


def _folded(identifier: Any) -> str:
    """Return a name as PostgreSQL understands it."""
    name: str = identifier.this
    return name if identifier.args.get("quoted") else name.lower()


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
