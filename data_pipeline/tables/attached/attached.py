"""Everything that hangs on a set of relations, as the database has it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import sqlalchemy as sa

from data_pipeline.tables.attached.default_privileges import Default, read_defaults
from data_pipeline.tables.attached.errors import ChangedError
from data_pipeline.tables.attached.graph import FUNCTION, RELATION, Graph, read_graph
from data_pipeline.tables.attached.parts import AttachedPart, read_parts
from data_pipeline.tables.attached.relations import (
    Relation,
    Routine,
    read_named,
    read_relations,
    read_routines,
)
from data_pipeline.tables.attached.state import State, read_state
from data_pipeline.tables.names import RelationName


@dataclass(frozen=True)
class Attached:
    """What hangs on a set of relations.

    Two that were read one after the other are equal if nobody changed anything in between.

    Attributes:
        names: The relations that are to be replaced.
        old: Those of them that exist.
        dependents: Views and functions built on them, each behind what it is built on.
        parts: What belongs to relations, by the relation's oid.
        graph: What depends on what.
        state: A fingerprint of all of this.
        defaults: The default privileges of the current role.
        new: The relations that are to take their places, if they were read beforehand; those that
            are there.
    """

    names: tuple[RelationName, ...]
    old: Mapping[RelationName, Relation]
    dependents: tuple[Relation | Routine, ...]
    parts: Mapping[int, tuple[AttachedPart, ...]]
    graph: Graph
    state: State
    defaults: tuple[Default, ...]
    new: Mapping[RelationName, Relation] | None = None


def read(
    connection: sa.Connection,
    relations: Sequence[RelationName],
    sources: Mapping[RelationName, RelationName] | None = None,
    graph: Graph | None = None,
) -> Attached:
    """Gives everything that hangs on relations.

    Args:
        connection: A transaction with an empty search path.
        relations: Tables and views that are to be replaced; some may not exist yet.
        sources: Where those are now that are to take their places, for all that do; read along.
        graph: What depends on the relations, if it was read before in this transaction.

    Raises:
        CannotCarryError: Something depends on them that cannot be put up again.
        ChangedError: Somebody dropped some of it meanwhile.
    """
    graph = read_graph(connection, relations) if graph is None else graph
    graph.check_replaceable()
    state = read_state(connection, graph)  # before all that it stands for
    views = [node.oid for node in graph.dependents if node.catalog == RELATION]
    routines = [node.oid for node in graph.dependents if node.catalog == FUNCTION]
    roots = [node.oid for node in graph.roots]
    found = read_relations(connection, roots + views, list((sources or {}).values()))
    functions = read_routines(connection, routines) if routines else {}
    if not found.keys() | functions.keys() >= {*roots, *views, *routines}:
        raise ChangedError
    new = None
    if sources is not None:
        staged = {relation.name: relation for relation in found.values()}
        new = {
            name: replace(staged[source], name=name)
            for name, source in sources.items()
            if source in staged
        }
        found = {oid: found[oid] for oid in roots + views}
    others = {node.oid: relation for node, relation in graph.others.items()}
    return Attached(
        tuple(relations),
        {found[oid].name: found[oid] for oid in sorted(roots)},
        tuple((found | functions)[node.oid] for node in graph.dependents),
        read_parts(connection, list(found), _catalogs(graph, found.values()), others),
        graph,
        state,
        read_defaults(connection),
        new,
    )


def check_unchanged(connection: sa.Connection, attached: Attached) -> None:
    """Refuses to go on if anybody has changed what hangs on relations since it was read.

    To be asked at the end: what is dropped by then can only be changed by those who wait for that,
    and fail. And in another session, which still sees what was there.

    Args:
        connection: A transaction of another session, with an empty search path.
        attached: What was read.

    Raises:
        CannotCarryError: Something depends on the relations now that cannot be put up again.
        ChangedError: Somebody has changed something.
    """
    graph = read_graph(connection, attached.names)
    graph.check_replaceable()
    if (
        graph != attached.graph
        or read_state(connection, graph) != attached.state
        or set(read_defaults(connection)) != set(attached.defaults)
    ):
        raise ChangedError


def read_new(
    connection: sa.Connection, attached: Attached
) -> tuple[Mapping[RelationName, Relation], Mapping[int, tuple[AttachedPart, ...]]]:
    """Gives the relations that have taken the place of the old ones, and what they came with.

    Args:
        connection: A transaction with an empty search path.
        attached: What was read of the old ones.
    """
    new = read_named(connection, attached.names) if attached.new is None else attached.new
    catalogs = set().union(*(relation.has for relation in new.values()))
    kinds = {p.kind for old in attached.old.values() for p in attached.parts.get(old.oid, ())}
    if kinds & {"index", "constraint", "comment of index", "comment of constraint"}:
        catalogs |= {"pg_index", "pg_constraint"}
    return new, read_parts(connection, [r.oid for r in new.values()], catalogs, {})


def _catalogs(graph: Graph, relations: Iterable[Relation]) -> set[str]:
    """Gives where parts of the relations are to be found."""
    catalogs = {node.catalog for node in (*graph.parts, *graph.others)} - {"pg_constraint"}
    catalogs |= {"sequence" for edge in graph.edges if edge.kind == "S"}
    return catalogs.union(*(relation.has for relation in relations))
