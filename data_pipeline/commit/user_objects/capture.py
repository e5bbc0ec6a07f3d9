"""Everything that hangs on a set of relations, as the database has it."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import TYPE_CHECKING

import sqlalchemy as sa

from data_pipeline.commit.user_objects import default_privileges
from data_pipeline.commit.user_objects.default_privileges import Default
from data_pipeline.commit.user_objects.kinds import KINDS, files_of, query_of
from data_pipeline.commit.user_objects.object_definitions import (
    Relation,
    Routine,
    oid_array,
    read_named,
    read_relations,
    read_routines,
)
from data_pipeline.database.connection import run
from data_pipeline.database.dependencies import (
    FUNCTION,
    RELATION,
    TYPE,
    ChangedError,
    Graph,
    Node,
    read_graph,
)
from data_pipeline.database.identifiers import RelationName, literal
from data_pipeline.errors import CannotCarryError

if TYPE_CHECKING:
    from data_pipeline.store.table_properties import Properties

State = frozenset[tuple[str, int, str]]

_KEYS = "keys"  # the file of kinds that almost every table has, of the pipeline's own

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

# What `Graph.walked` and `Graph.entries` were told: whoever attaches something adds an entry.
_ENTRIES = """
SELECT 'pg_depend', count(*), coalesce(sum(d.xmin::text::bigint), 0)::text
FROM unnest({catalogs}::regclass[], {oids}) AS node(class, oid)
JOIN pg_depend d ON d.refclassid = node.class AND d.refobjid = node.oid
"""

_NAMES = """
SELECT 'name', coalesce(to_regclass(name)::oid::bigint, 0), name FROM unnest(ARRAY[{names}]) name
"""


def read_state(connection: sa.Connection, graph: Graph) -> State:
    """Return the fingerprint of relations, of all that depends on them, and of default privileges.

    Args:
        connection: A transaction with an empty search path.
        graph: What depends on the relations.
    """
    return _state(connection, _state_queries(graph))


def _state(connection: sa.Connection, queries: Iterable[str]) -> State:
    return frozenset(tuple(row) for row in run(connection, " UNION ALL ".join(queries)))


def _state_queries(graph: Graph) -> list[str]:
    nodes = (
        set(graph.roots) | {edge.node for edge in graph.edges} | {edge.of for edge in graph.edges}
    )
    if not nodes:
        return [default_privileges.QUERY]
    nodes |= {Node(RELATION, oid) for oid in graph.others.values()}
    special = {RELATION: _RELATIONS, FUNCTION: _FUNCTIONS}
    queries = [
        special.get(catalog, _PARTS).format(
            catalog=catalog, oids=oid_array(node.oid for node in nodes if node.catalog == catalog)
        )
        for catalog in sorted({node.catalog for node in nodes} - {TYPE})
    ]
    queries += [
        default_privileges.QUERY,
        *(
            _TEXTS.format(catalog=catalog, oids=oid_array(node.oid for node in nodes))
            for catalog in ("pg_description", "pg_seclabel")
        ),
    ]
    return queries


@dataclass(frozen=True)
class UserObject:
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


def read_objects(
    connection: sa.Connection,
    relations: Collection[int],
    files: Collection[str],
    others: Mapping[int, int],
) -> dict[int, tuple[UserObject, ...]]:
    """Return the parts of relations, by the oid of the relation.

    Args:
        connection: A transaction with an empty search path.
        relations: Oids of the relations.
        files: Names of files of kinds; only what these give is looked for.
        others: Oids of policies, triggers and rules of other relations, with their relations' oids.
    """
    if not files:
        return {}
    query = query_of(
        files, oid_array(relations), oid_array(others), oid_array(set(others.values()))
    )
    found: dict[int, list[UserObject]] = {}
    for relation, kind, name, columns, sql, undo, oid in run(connection, query):
        part = UserObject(relation, kind, name, tuple(columns or ()), sql, undo, oid)
        found.setdefault(relation, []).append(part)
    return {oid: tuple(sorted(parts, key=lambda part: part.key)) for oid, parts in found.items()}


@dataclass(frozen=True)
class UserObjects:
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
    parts: Mapping[int, tuple[UserObject, ...]]
    graph: Graph
    state: State
    defaults: tuple[Default, ...]
    new: Mapping[RelationName, Relation] | None = None


def read(
    connection: sa.Connection,
    relations: Sequence[RelationName],
    sources: Mapping[RelationName, RelationName] | None = None,
    graph: Graph | None = None,
    declared: Mapping[int, "Properties"] | None = None,
) -> UserObjects:
    """Return everything that hangs on relations.

    Args:
        connection: A transaction with an empty search path.
        relations: Tables and views that are to be replaced; some may not exist yet.
        sources: Where those are now that are to take their places, for all that do; read along.
        graph: What depends on the relations, if it was read before in this transaction.
        declared: What the pipeline itself had declared of them, by their oids; without it, a key
            and NOT NULL are taken for its own.

    Raises:
        CannotCarryError: Something depends on them that cannot be put up again.
        ChangedError: Somebody dropped some of it meanwhile.
    """
    graph = read_graph(connection, relations) if graph is None else graph
    _check_replaceable(graph)
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
    declares = {oid: made for oid, made in (declared or {}).items() if oid in found}
    files = _files(graph, found.values())
    if all(made.primary_key for made in declares.values()):
        files.discard(_KEYS)
    parts = read_objects(connection, list(found), files, others)
    return UserObjects(
        tuple(relations),
        {found[oid].name: found[oid] for oid in sorted(roots)},
        tuple((found | functions)[node.oid] for node in graph.dependents),
        {
            oid: tuple(part for part in of if _is_of_users(part, found.get(oid), declares.get(oid)))
            for oid, of in parts.items()
        },
        graph,
        state,
        tuple(
            default_privileges.parsed(text)
            for catalog, _, text in sorted(state)
            if catalog == "pg_default_acl"
        ),
        new,
    )


def _is_of_users(part: UserObject, of: Relation | None, declared: "Properties | None") -> bool:
    """Whether users have put it on, and not the pipeline as it was declared."""
    if part.kind not in ("primary key", "NOT NULL"):
        return True
    if of is None or declared is None:
        return False
    if part.kind == "primary key":
        return not declared.primary_key
    return part.name not in {
        *declared.primary_key,
        *declared.not_null([name for name in of.columns if name is not None]),
    }


def check_unchanged(connection: sa.Connection, attached: UserObjects) -> None:
    """Refuse to go on if anybody has changed what hangs on relations since it was read.

    To be asked at the end: what is dropped by then can only be changed by those who wait for that,
    and fail. And in another session, which still sees what was there.

    Args:
        connection: A transaction of another session, with an empty search path.
        attached: What was read.

    Raises:
        ChangedError: Somebody has changed something, or attached something.
    """
    graph = attached.graph
    found = {name: node.oid for node, name in graph.roots.items()}
    entries, entered = graph.entries
    expected = {("pg_depend", entries, str(entered))}
    expected |= {("name", found.get(name, 0), name.quoted) for name in attached.names}
    walked = sorted(graph.walked)
    queries = [
        *_state_queries(graph),
        _ENTRIES.format(
            catalogs=f"'{{{','.join(node.catalog for node in walked)}}}'",
            oids=f"'{{{','.join(str(node.oid) for node in walked)}}}'::oid[]",
        ),
    ]
    if attached.names:
        listed = ", ".join(literal(name.quoted) for name in attached.names)
        queries.append(_NAMES.format(names=listed))
    if _state(connection, queries) != attached.state | expected:
        raise ChangedError


def _check_replaceable(graph: Graph) -> None:
    for blocker in graph.blockers:
        raise CannotCarryError(
            blocker.subject,
            blocker.column,
            f"{blocker.reason}.",
            "It cannot be carried over to the new table. Drop it, then run again.",
        )


def read_new(
    connection: sa.Connection, attached: UserObjects
) -> tuple[Mapping[RelationName, Relation], Mapping[int, tuple[UserObject, ...]]]:
    """Return the relations that have taken the place of the old ones, and what they came with.

    Args:
        connection: A transaction with an empty search path.
        attached: What was read of the old ones.
    """
    new = read_named(connection, attached.names) if attached.new is None else attached.new
    kinds = {p.kind for old in attached.old.values() for p in attached.parts.get(old.oid, ())}
    needed = files_of((), [of for kind in kinds for of in KINDS[kind].of])
    files = needed.union(*(relation.has - {_KEYS} for relation in new.values()))
    if "primary key" in kinds:
        files.add(_KEYS)
    return new, read_objects(connection, [r.oid for r in new.values()], files, {})


def _files(graph: Graph, relations: Iterable[Relation]) -> set[str]:
    """Return the files of kinds in which there is something about the relations."""
    catalogs = {node.catalog for node in (*graph.parts, *graph.others)}
    catalogs |= {f"{RELATION} {edge.kind}" for edge in graph.edges if edge.kind}
    return files_of(catalogs).union(*(relation.has for relation in relations))


def drop_statements(attached: UserObjects) -> list[str]:
    """Return the statements that drop what depends on relations, and free the names of parts.

    They drop never more than was read: where somebody has built something on that in the meantime,
    PostgreSQL refuses (2BP01).

    Args:
        attached: What was read; the transaction is to have an empty search path.
    """
    loose = {node.oid for node in attached.graph.loose}
    roots = {node.oid for node in attached.graph.roots}
    first, then = [], []
    for parts in attached.parts.values():
        for part in parts:
            if part.undo and part.oid in loose:
                first.append(part.undo)
            elif part.undo and part.relation in roots and KINDS[part.kind].is_taken_off:
                then.append(part.undo)
    # Views come before tables, as in a query that reads a view.
    drops = [
        f"DROP {kind} {', '.join(name for _, name in group)}"
        for kind, group in groupby(
            (dependent.drop for dependent in reversed(attached.dependents)), lambda drop: drop[0]
        )
    ]
    return [*first, *drops, *then]
