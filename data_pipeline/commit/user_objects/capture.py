"""Everything that hangs on a set of relations, as the database has it."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

import sqlalchemy as sa

from data_pipeline.commit.user_objects.default_privileges import Default, read_defaults
from data_pipeline.commit.user_objects.dependency_graph import (
    FUNCTION,
    RELATION,
    TYPE,
    ChangedError,
    Graph,
    Node,
    read_graph,
)
from data_pipeline.commit.user_objects.object_definitions import (
    Relation,
    Routine,
    oid_array,
    read_named,
    read_relations,
    read_routines,
)
from data_pipeline.commit.user_objects.part_queries import REL, WITH_OID, WITHOUT_OID
from data_pipeline.database.connection import run
from data_pipeline.database.identifiers import RelationName

State = frozenset[tuple[str, int, str]]

_RELATIONS = """
SELECT '{catalog}', c.oid::bigint,
       concat_ws(' ', c.xmin, c.relnamespace::regnamespace, c.relowner::regrole, c.relacl,
                 (SELECT concat(count(*), ':', sum(xmin::text::bigint))
                  FROM pg_attribute WHERE attrelid = c.oid AND attnum > 0),
                 (SELECT concat(count(*), ':', sum(xmin::text::bigint))
                  FROM pg_rewrite WHERE ev_class = c.oid),
                 (SELECT xmin FROM pg_index WHERE indexrelid = c.oid))
FROM pg_class c WHERE c.oid = ANY ({oids})
"""

_FUNCTIONS = """
SELECT '{catalog}', oid::bigint,
       concat_ws(' ', xmin, oid::regprocedure, proowner::regrole, proacl)
FROM pg_proc WHERE oid = ANY ({oids})
"""

_PARTS = "SELECT '{catalog}', oid::bigint, xmin::text FROM {catalog} WHERE oid = ANY ({oids})"

_TEXTS = """
SELECT '{catalog}', objoid::bigint, concat_ws(' ', classoid, objsubid, xmin)
FROM {catalog} WHERE objoid = ANY ({oids})
"""


def read_state(connection: sa.Connection, graph: Graph) -> State:
    """Return the fingerprint of relations, and of all that depends on them.

    Args:
        connection: A transaction with an empty search path.
        graph: What depends on the relations.
    """
    nodes = (
        set(graph.roots) | {edge.node for edge in graph.edges} | {edge.of for edge in graph.edges}
    )
    if not nodes:
        return frozenset()
    nodes |= {Node(RELATION, oid) for oid in graph.others.values()}
    special = {RELATION: _RELATIONS, FUNCTION: _FUNCTIONS}
    queries = [
        special.get(catalog, _PARTS).format(
            catalog=catalog, oids=oid_array(node.oid for node in nodes if node.catalog == catalog)
        )
        for catalog in sorted({node.catalog for node in nodes} - {TYPE})
    ]
    queries += [
        _TEXTS.format(catalog=catalog, oids=oid_array(node.oid for node in nodes))
        for catalog in ("pg_description", "pg_seclabel")
    ]
    return frozenset(tuple(row) for row in run(connection, " UNION ALL ".join(queries)))


@dataclass(frozen=True)
class AttachedPart:
    """What belongs to a relation.

    Attributes:
        relation: The oid of the relation.
        kind: What it is, such as `policy`.
        name: Its name, unique for its kind and relation.
        columns: The columns without which it makes no sense.
        sql: The statements that put it on.
        undo: The statements that take it off, if there is a need for that.
        oid: Its own oid, for those kinds of which it matters.
    """

    relation: int
    kind: str
    name: str
    columns: tuple[str, ...]
    sql: str
    undo: str | None
    oid: int | None

    @property
    def key(self) -> tuple[str, str]:
        """What identifies it on its relation."""
        return self.kind, self.name


def read_parts(
    connection: sa.Connection,
    relations: Collection[int],
    catalogs: Collection[str],
    others: Mapping[int, int],
) -> dict[int, tuple[AttachedPart, ...]]:
    """Return the parts of relations, by the oid of the relation.

    Args:
        connection: A transaction with an empty search path.
        relations: Oids of the relations.
        catalogs: Where there is something to be found; only that is looked for.
        others: Oids of policies, triggers and rules of other relations, with their relations' oids.
    """
    queries = [
        f"SELECT *, NULL::bigint FROM ({WITHOUT_OID[c]}) q" for c in WITHOUT_OID if c in catalogs
    ]
    queries += [WITH_OID[c] for c in WITH_OID if c in catalogs]
    if not queries:
        return {}
    query = (REL + " UNION ALL ".join(queries)).replace("{relations}", oid_array(relations))
    query = query.replace("{others_relations}", oid_array(set(others.values())))
    query = query.replace("{others}", oid_array(others))
    found: dict[int, list[AttachedPart]] = {}
    for relation, kind, name, columns, sql, undo, oid in run(connection, query):
        part = AttachedPart(relation, kind, name, tuple(columns or ()), sql, undo, oid)
        found.setdefault(relation, []).append(part)
    return {oid: tuple(sorted(parts, key=lambda part: part.key)) for oid, parts in found.items()}


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
    """Return everything that hangs on relations.

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
    """Refuse to go on if anybody has changed what hangs on relations since it was read.

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
    """Return the relations that have taken the place of the old ones, and what they came with.

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
    """Return where parts of the relations are to be found."""
    catalogs = {node.catalog for node in (*graph.parts, *graph.others)} - {"pg_constraint"}
    catalogs |= {"sequence" for edge in graph.edges if edge.kind == "S"}
    return catalogs.union(*(relation.has for relation in relations))


# Their names would be in the way, or they would go on working on a table that is put aside.
_TAKEN_OFF = frozenset(
    {"policy", "rule", "trigger", "statistics", "publication", "foreign key", "sequence"}
)


def take_down(connection: sa.Connection, attached: Attached) -> None:
    """Drop what depends on the relations, all in one go, and never more than was read.

    Where somebody has built something on that in the meantime, PostgreSQL refuses (2BP01).

    Args:
        connection: The transaction, with an empty search path.
        attached: What was read.
    """
    if statements := _statements(attached):
        run(connection, ";\n".join(statements))


def _statements(attached: Attached) -> list[str]:
    """Return the statements that drop what depends on relations, and free the names of parts."""
    loose = {node.oid for node in attached.graph.loose}
    roots = {node.oid for node in attached.graph.roots}
    first, then = [], []
    for parts in attached.parts.values():
        for part in parts:
            if part.undo and part.oid in loose:
                first.append(part.undo)
            elif part.undo and part.relation in roots and part.kind in _TAKEN_OFF:
                then.append(part.undo)
    # Views come before tables, as in a query that reads a view.
    drops = [
        f"DROP {kind} {', '.join(name for _, name in group)}"
        for kind, group in groupby(
            (dependent.drop for dependent in reversed(attached.dependents)), lambda drop: drop[0]
        )
    ]
    return [*first, *drops, *then]
