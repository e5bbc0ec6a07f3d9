"""References that lead to the same row by two ways: what a return and its sale refer to."""

from collections.abc import Iterator, Mapping

import sqlalchemy as sa

from data_pipeline.sampling.engine.source_tables import SourceTable
from data_pipeline.sampling.plan.schema_graph import Relationship, SchemaGraph
from data_pipeline.sampling.prediction.column_statistics import probe

Way = tuple[Relationship, ...]
"""Relationships that lead from a row to another one, one after the other."""


def same_references(
    connection: sa.Connection,
    graph: SchemaGraph,
    sources: Mapping[str, SourceTable],
    child: str,
    rows: float,
) -> dict[int, list[tuple[Way, float]]]:
    """Return the shares of references to rows that other ways lead to from the same row, too.

    Args:
        connection: To the source.
        graph: The relationships.
        sources: The tables that are no views.
        child: The table that refers, some rows of which are looked at.
        rows: Its rows.

    Returns:
        For the number of each relationship the other ways, with their shares.
    """
    ways = [(item, way) for item in graph.of_child(child) for way in _others(graph, item)]
    ways = [pair for pair in ways if all(other.parent in sources for other in pair[1])]
    if not ways or child not in sources:
        return {}
    some = probe(sources[child], rows)
    joined: sa.FromClause = some
    ends: dict[Relationship, sa.FromClause] = {}
    for first in dict.fromkeys(way[0] for _, way in ways if len(way) > 1):
        middle = sources[first.parent].table.alias(f"middle_{first.number}")
        pairs = zip(first.columns, first.referenced_columns, strict=True)
        holds = sa.and_(*(some.c[own] == middle.c[other] for own, other in pairs))
        joined, ends[first] = joined.outerjoin(middle, holds), middle
    counts = []
    for item, way in ways:
        values, last = _values(item, some), ends[way[0]] if len(way) > 1 else some
        same = [one == other for one, other in zip(values, _values(way[-1], last), strict=True)]
        counts += [sa.func.count().filter(*same), sa.func.count().filter(*map(_is_there, values))]
    found = list(connection.execute(sa.select(*counts).select_from(joined)).one())
    shares: dict[int, list[tuple[Way, float]]] = {}
    for (item, way), same_rows, every in zip(ways, found[::2], found[1::2], strict=True):
        shares.setdefault(item.number, []).append((way, same_rows / every if every else 0.0))
    return shares


def _others(graph: SchemaGraph, item: Relationship) -> Iterator[Way]:
    """Return ways that may lead to the same row: of a pair, one is another way of the other."""
    for other in graph.of_child(item.child):
        if item.where is not None or other.where is not None or other == item:
            continue
        if other.number < item.number and _ends_alike(other, item):
            yield (other,)
        elif other.refers_to_key and not _leads_to(graph, other.parent, item.child):
            yield from (
                (other, last)
                for last in graph.of_child(other.parent)
                if not last.where and _ends_alike(last, item)
            )


def _ends_alike(one: Relationship, other: Relationship) -> bool:
    return one.parent == other.parent and set(one.referenced_columns) == set(
        other.referenced_columns
    )


def _leads_to(graph: SchemaGraph, table: str, other: str) -> bool:
    """Whether rows of a table may refer to those of another one, also by way of others."""
    reached, new = set[str](), {table}
    while new:
        reached |= new
        new = {item.parent for name in new for item in graph.of_child(name)} - reached
    return other in reached


def _values(item: Relationship, rows: sa.FromClause) -> list[sa.ColumnElement[object]]:
    by_referenced = zip(item.referenced_columns, item.columns, strict=True)
    return [rows.c[own] for _, own in sorted(by_referenced)]


def _is_there(value: sa.ColumnElement[object]) -> sa.ColumnElement[bool]:
    return value.is_not(None)
