"""What depends on relations, directly or not: the one walk through pg_depend.

A commit asks it what to put up again, a replacement in place what it would disturb, a drop what
would be lost, and cache slots whether they are in use.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from graphlib import TopologicalSorter
from typing import NamedTuple

import sqlalchemy as sa

from data_pipeline.database.connection import run
from data_pipeline.database.identifiers import RelationName, literal
from data_pipeline.database.sql_text import stored_query


class ChangedError(Exception):
    """Somebody changed what depends on a table while it was about to be replaced: read it anew."""


# The walk goes on behind views (which depend on what their rule `_RETURN` depends on), functions
# and row types, and behind parts of relations if it is told so.
_EDGES = stored_query(__file__, "dependencies_edges")

_DESCRIPTIONS = """
SELECT o.class, o.oid, pg_describe_object(o.class::regclass, o.oid::oid, 0),
       pg_get_userbyid(coalesce(c.relowner, k.relowner)), n.nspname, c.relname
FROM (VALUES {objects}) AS o(class, oid)
LEFT JOIN pg_class c ON o.class = 'pg_class' AND c.oid = o.oid
LEFT JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_constraint f ON o.class = 'pg_constraint' AND f.oid = o.oid
LEFT JOIN pg_class k ON k.oid = f.conrelid
"""

_OF_OTHERS = stored_query(__file__, "dependencies_of_others")

RELATION, FUNCTION, TYPE = "pg_class", "pg_proc", "pg_type"
_NOT_TO_CARRY = frozenset("rpfc")  # kinds of relations: tables, and composite types


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
class Blocker:
    """Something that keeps a relation from being replaced by another one.

    Attributes:
        node: What it is; the relation itself if that belongs to another role.
        subject: The same in words, with kind and name.
        column: The column of the relation that it depends on, where it is one.
        reason: Why it can neither be dropped nor put up again.
    """

    node: Node
    subject: str
    column: str | None
    reason: str

    def __str__(self) -> str:
        return f"{self.subject} {self.reason}"


@dataclass(frozen=True)
class Graph:
    """What depends on a set of relations.

    Attributes:
        roots: The relations that exist, with their names.
        edges: All dependencies on them and on what depends on them.
        others: Policies, rules and triggers of other relations, by the relations' oids.
        blockers: What can neither be dropped nor put up again.
        walked: All whose dependents were looked for.
        entries: How many entries of pg_depend that were, and the sum of the transactions that made
            them.
    """

    roots: Mapping[Node, RelationName]
    edges: tuple[Edge, ...]
    others: Mapping[Node, int] = field(default_factory=dict)
    blockers: tuple[Blocker, ...] = ()
    walked: frozenset[Node] = frozenset()
    entries: tuple[int, int] = (0, 0)

    @cached_property
    def blocked(self) -> dict[RelationName, tuple[Blocker, ...]]:
        """The relations that cannot be replaced by others, each with what is in the way."""
        found: dict[RelationName, list[Blocker]] = {}
        for blocker in self.blockers:
            for root in self.below(blocker.node) & self.roots.keys():
                found.setdefault(self.roots[root], []).append(blocker)
        return {name: tuple(blockers) for name, blockers in found.items()}

    def materialized_views(self, relations: Iterable[RelationName]) -> list[int]:
        """Return the oids of materialized views built on relations, in an order to fill them."""
        wanted = {node for node, name in self.roots.items() if name in set(relations)}
        kinds = {edge.node: edge.kind for edge in self.edges}
        return [
            node.oid
            for node in self.dependents
            if kinds.get(node) == "m" and self.below(node) & wanted
        ]

    def below(self, node: Node) -> set[Node]:
        """Return an object and all that it depends on, directly or not."""
        found, new = set(), {node}
        while new:
            found |= new
            new = {edge.of for edge in self.edges if edge.node in new} - found
        return found

    @cached_property
    def belongings(self) -> frozenset[Node]:
        """The relations with all that goes with them, such as indexes and sequences."""
        found, new = set[Node](), set(self.roots)
        while new:
            found |= new
            new = {e.node for e in self.edges if e.is_part and e.of in new} - found
        return frozenset(found)

    @cached_property
    def built_on(self) -> frozenset[Node]:
        """What would be lost with the relations, but does not belong to them."""
        return frozenset(e.node for e in self.edges if not e.is_part) - self.belongings

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
            and edge.kind in (None, "i")
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
        """Return the oids of what a view or function depends on directly."""
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
    """Return what depends on relations, with what keeps them from being replaced.

    Those that do not exist have nothing.

    Args:
        connection: A transaction with an empty search path.
        relations: Tables and views.

    Raises:
        ChangedError: Somebody dropped some of it meanwhile.
    """
    graph, owners, parents = _walk(connection, relations, behind_parts=False)
    if not graph.strangers and not owners and not parents:
        return graph
    others, blockers = _of_others(connection, graph.strangers)
    blockers += [*_of_other_roles(connection, owners), *parents]
    return replace(graph, others=others, blockers=tuple(blockers))


def read_dependents(connection: sa.Connection, relations: Sequence[RelationName]) -> Graph:
    """Return what depends on relations and on their parts, to say what a drop would take along.

    Args:
        connection: A transaction.
        relations: Tables and views; some may not exist.
    """
    return _walk(connection, relations, behind_parts=True)[0]


@dataclass(frozen=True)
class Description:
    """An object in words.

    Attributes:
        text: Its kind and name, qualified as the search path of the transaction demands.
        role: The owner, of a relation or a constraint of one.
        relation: Its name if it is a relation.
    """

    text: str
    role: str | None
    relation: RelationName | None


def describe(connection: sa.Connection, nodes: Iterable[Node]) -> dict[Node, Description]:
    """Return objects in words, without those that are gone by now."""
    objects = ", ".join(f"({literal(node.catalog)}, {node.oid})" for node in nodes)
    if not objects:
        return {}
    return {
        Node(catalog, oid): Description(text, role, RelationName(schema, name) if schema else None)
        for catalog, oid, text, role, schema, name in run(
            connection, _DESCRIPTIONS.format(objects=objects)
        )
        if text is not None
    }


def _walk(
    connection: sa.Connection, relations: Sequence[RelationName], *, behind_parts: bool
) -> tuple[Graph, dict[Node, str], list[Blocker]]:
    """Return what depends on relations; what is other roles' of it; and of what they are parts."""
    if not relations:
        return Graph({}, ()), {}, []
    listed = ", ".join(f"to_regclass({literal(relation.quoted)})" for relation in relations)
    query = _EDGES.format(relations=listed, behind_parts=behind_parts)
    roots, edges, owners, parents = {}, [], {}, []
    walked, entries, entered = set(), 0, 0
    for item in run(connection, query):
        of_class, of, columns, catalog, oid, number, is_part, kind, place, *more = item
        entries, entered = entries + more[0], entered + more[1]
        owner, parent = more[2:]
        node = Node(catalog, oid)
        if owner is not None:
            owners[node] = owner
        if of_class == "-":
            walked.add(node)
            if place is not None:
                roots[node] = relations[place - 1]
            if parent is not None:
                reason = f"has {relations[place - 1]} as a partition or an heir"
                parents.append(Blocker(node, parent, None, reason))
        elif (of_class, of) != node:
            numbers = tuple(sorted(set(columns or ())))
            edges.append(Edge(Node(of_class, of), node, numbers, number, is_part, kind))
    graph = Graph(roots, tuple(edges), walked=frozenset(walked), entries=(entries, entered))
    return graph, owners, parents


def _of_other_roles(connection: sa.Connection, owners: Mapping[Node, str]) -> list[Blocker]:
    """Return what the role of the session may not drop or put up again."""
    known = describe(connection, owners)
    if len(known) < len(owners):
        raise ChangedError
    return [
        Blocker(node, known[node].text, None, f"belongs to role {owners[node]}")
        for node in sorted(known)
    ]


def _of_others(
    connection: sa.Connection, strangers: Collection[Edge]
) -> tuple[dict[Node, int], list[Blocker]]:
    """Return parts of other relations that can be taken off by themselves; and all else."""
    if not strangers:
        return {}, []
    objects = ", ".join(
        f"({literal(e.node.catalog)}, {e.node.oid}, {e.number}, {literal(e.of.catalog)}, "
        f"{e.of.oid}, {next(iter(e.columns), 0)})"
        for e in strangers
    )
    others, blockers = {}, []
    for catalog, oid, relation, subject, of, column, owner in run(
        connection, _OF_OTHERS.format(objects=objects)
    ):
        if subject is None or of is None:
            raise ChangedError
        if relation is None:
            whose = f" (role {owner})" if owner else ""
            reason = f"depends on {of}"
            blockers.append(Blocker(Node(catalog, oid), f"{subject}{whose}", column, reason))
        else:
            others[Node(catalog, oid)] = relation
    return others, blockers
