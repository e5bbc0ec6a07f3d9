"""What depends on a set of relations, directly or not: one walk through pg_depend."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from graphlib import TopologicalSorter
from typing import NamedTuple

import sqlalchemy as sa

from data_pipeline.tables.attached.errors import CannotCarryError, ChangedError
from data_pipeline.tables.connection import run
from data_pipeline.tables.names import RelationName, literal

# The walk goes on behind views (which depend on what their rule `_RETURN` depends on), functions
# and row types. All else that depends on something is a part of a relation, or in the way.
_EDGES = """
WITH RECURSIVE root(oid) AS (
    SELECT relation::oid FROM unnest(ARRAY[{relations}]::regclass[]) AS relation
    WHERE relation IS NOT NULL
), node(class, oid) AS (
    SELECT 'pg_class'::regclass::oid, oid FROM root
  UNION
    SELECT next.class, next.oid
    FROM node
    JOIN pg_depend d ON d.refclassid = node.class AND d.refobjid = node.oid
    CROSS JOIN LATERAL (
        SELECT d.classid AS class, d.objid AS oid
        WHERE d.classid = 'pg_proc'::regclass
           OR (d.classid = 'pg_type'::regclass AND d.deptype = 'i')
      UNION ALL
        SELECT 'pg_class'::regclass::oid, r.ev_class FROM pg_rewrite r
        WHERE d.classid = 'pg_rewrite'::regclass AND r.oid = d.objid AND r.rulename = '_RETURN'
    ) next
)
SELECT e.of_class::regclass::text, e.of::bigint, e.columns::int[], e.class::regclass::text,
       e.oid::bigint, e.number, e.is_part, c.relkind::text
FROM (
    SELECT d.refclassid AS of_class, d.refobjid AS of,
           array_agg(d.refobjsubid) FILTER (WHERE d.refobjsubid > 0) AS columns,
           CASE WHEN r.oid IS NULL THEN d.classid ELSE 'pg_class'::regclass::oid END AS class,
           coalesce(r.ev_class, d.objid) AS oid, max(d.objsubid) AS number,
           bool_or(d.deptype IN ('a', 'i', 'P', 'S')) AS is_part
    FROM node
    JOIN pg_depend d ON d.refclassid = node.class AND d.refobjid = node.oid
    LEFT JOIN pg_rewrite r
        ON d.classid = 'pg_rewrite'::regclass AND r.oid = d.objid AND r.rulename = '_RETURN'
    GROUP BY 1, 2, 4, 5
  UNION ALL
    SELECT 0, 0, NULL, 'pg_class'::regclass, oid, 0, false FROM root
) e
LEFT JOIN pg_class c ON e.class = 'pg_class'::regclass AND c.oid = e.oid
ORDER BY e.oid, e.of, e.class, e.of_class
"""

_OF_OTHERS = """
SELECT o.class, o.oid, coalesce(p.polrelid, r.ev_class, t.tgrelid)::bigint,
       pg_describe_object(o.class::regclass, o.oid::oid, o.own),
       pg_describe_object(o.of_class::regclass, o.of::oid, o.number), a.attname
FROM (VALUES {objects}) AS o(class, oid, own, of_class, of, number)
LEFT JOIN pg_policy p ON o.class = 'pg_policy' AND p.oid = o.oid
LEFT JOIN pg_rewrite r ON o.class = 'pg_rewrite' AND r.oid = o.oid
LEFT JOIN pg_trigger t ON o.class = 'pg_trigger' AND t.oid = o.oid
LEFT JOIN pg_attribute a
    ON o.of_class = 'pg_class' AND a.attrelid = o.of AND a.attnum = o.number AND o.number > 0
ORDER BY o.class, o.oid
"""

RELATION, FUNCTION, TYPE = "pg_class", "pg_proc", "pg_type"
_NOT_TO_CARRY = frozenset("rpfc")  # kinds of relations: tables, and composite types
_REMEDY = "It cannot be carried over to the new table. Drop it, then run again."


class Node(NamedTuple):
    """An object of the database: its catalog, and its oid there."""

    catalog: str
    oid: int


@dataclass(frozen=True)
class Edge:
    """An object depends on another one.

    Attributes:
        of: What it depends on.
        node: The object; for a view, the view itself instead of its rule.
        columns: Numbers of the columns it depends on, where it depends on single ones.
        number: The number of its own column that depends on it, or 0.
        is_part: Whether it belongs to what it depends on, and goes with it.
        kind: The kind of relation, if the object is one.
    """

    of: Node
    node: Node
    columns: tuple[int, ...]
    number: int
    is_part: bool
    kind: str | None


@dataclass(frozen=True)
class Graph:
    """What depends on a set of relations.

    Attributes:
        roots: The relations that exist.
        edges: All dependencies on them and on what depends on them.
        others: Policies, rules and triggers of other relations, by the relations' oids.
    """

    roots: frozenset[Node]
    edges: tuple[Edge, ...]
    others: Mapping[Node, int] = field(default_factory=dict)

    @cached_property
    def dependents(self) -> tuple[Node, ...]:
        """Views and functions, each behind what it depends on."""
        sorter: TopologicalSorter[Node] = TopologicalSorter()
        for node, needed in self._needs.items():
            sorter.add(node, *needed)
        return tuple(node for node in sorter.static_order() if node not in self.roots)

    @cached_property
    def parts(self) -> dict[Node, Node]:
        """What belongs to relations (policies, indexes, rules, ...), by what it belongs to."""
        return {
            edge.node: edge.of
            for edge in self.edges
            if edge.is_part and edge.of.catalog == RELATION and edge.node.catalog != TYPE
        }

    @cached_property
    def loose(self) -> frozenset[Node]:
        """Parts that depend on other objects, too, or belong to none of these relations."""
        return frozenset(
            edge.node
            for edge in self.edges
            if edge.node.catalog not in (TYPE, FUNCTION)
            and edge.kind is None
            and self._stands_for(edge.of) != self.parts.get(edge.node)
        )

    @cached_property
    def uses(self) -> dict[Node, tuple[tuple[int, int], ...]]:
        """The columns, by relation and number, that each object depends on."""
        found: dict[Node, set[tuple[int, int]]] = {}
        for edge in self.edges:
            found.setdefault(edge.node, set()).update((edge.of.oid, n) for n in edge.columns)
        return {node: tuple(sorted(columns)) for node, columns in found.items()}

    def needed_by(self, oid: int) -> set[int]:
        """Gives the oids of what a view or function depends on directly."""
        return {
            needed.oid
            for node, all_needed in self._needs.items()
            if node.oid == oid
            for needed in all_needed
        }

    @cached_property
    def strangers(self) -> tuple[Edge, ...]:
        """Dependencies of what is neither a view, a function, nor a part of these relations."""
        return tuple(
            edge
            for edge in self.edges
            if edge.kind in _NOT_TO_CARRY
            or (
                edge.node not in self._needs
                and edge.node not in self.parts
                and edge.node not in self._types
            )
        )

    @cached_property
    def _needs(self) -> dict[Node, set[Node]]:
        """What each view and function depends on."""
        needs: dict[Node, set[Node]] = {}
        for edge in self.edges:
            of = self._stands_for(edge.of)
            if (edge.node.catalog == FUNCTION or edge.kind in ("v", "m")) and edge.node != of:
                needs.setdefault(edge.node, set()).add(of)
        return needs

    @cached_property
    def _types(self) -> dict[Node, Node]:
        """Row types and their array types, with what they belong to."""
        return {e.node: e.of for e in self.edges if e.node.catalog == TYPE and e.is_part}

    def _stands_for(self, node: Node) -> Node:
        while node in self._types:
            node = self._types[node]
        return node


def read_graph(connection: sa.Connection, relations: Sequence[RelationName]) -> Graph:
    """Gives what depends on relations; those that do not exist have nothing.

    Args:
        connection: A transaction with an empty search path.
        relations: Tables and views.

    Raises:
        CannotCarryError: Something depends on them that cannot be put up again.
        ChangedError: Somebody dropped some of it meanwhile.
    """
    if not relations:
        return Graph(frozenset(), ())
    listed = ", ".join(f"to_regclass({literal(relation.quoted)})" for relation in relations)
    roots, edges = set(), []
    for of_class, of, columns, catalog, oid, number, is_part, kind in run(
        connection, _EDGES.format(relations=listed)
    ):
        node = Node(catalog, oid)
        if of_class == "-":
            roots.add(node)
        elif (of_class, of) != node:
            numbers = tuple(sorted(set(columns or ())))
            edges.append(Edge(Node(of_class, of), node, numbers, number, is_part, kind))
    graph = Graph(frozenset(roots), tuple(edges))
    if not graph.strangers:
        return graph
    return replace(graph, others=_of_others(connection, graph.strangers))


def _of_others(connection: sa.Connection, strangers: Iterable[Edge]) -> dict[Node, int]:
    """Gives parts of other relations that can be taken off by themselves; refuses all else."""
    objects = ", ".join(
        f"({literal(e.node.catalog)}, {e.node.oid}, {e.number}, {literal(e.of.catalog)}, "
        f"{e.of.oid}, {next(iter(e.columns), 0)})"
        for e in strangers
    )
    others = {}
    for catalog, oid, relation, subject, of, column in run(
        connection, _OF_OTHERS.format(objects=objects)
    ):
        if subject is None or of is None:
            raise ChangedError
        if relation is None:
            raise CannotCarryError(subject, column, f"depends on {of}.", _REMEDY)
        others[Node(catalog, oid)] = relation
    return others
