"""A fingerprint of relations and functions, which tells whether anybody has changed one of them.

PostgreSQL writes a new version of a catalog row with each change, so the transactions that wrote
those about an object (their `xmin`) stand for all that is known of it.
"""

from collections.abc import Iterable

import sqlalchemy as sa

from data_pipeline.tables.attached.graph import FUNCTION, RELATION, Graph, Node

State = frozenset[tuple[str, int, str]]

# Where rows about a relation change though what depends on it, which the graph shows, does not.
_ABOUT_RELATIONS = {
    "pg_attribute": "attrelid = c.oid AND attnum > 0",
    "pg_rewrite": "ev_class = c.oid",
    "pg_policy": "polrelid = c.oid",
    "pg_trigger": "tgrelid = c.oid",
    "pg_description": "objoid = c.oid AND classoid = 'pg_class'::regclass",
}

_WRITTEN = "(SELECT concat(count(*), ':', sum(xmin::text::bigint)) FROM {} WHERE {})"

_STATE = """
SELECT '{relation}', c.oid::bigint, concat_ws(' ', c.xmin, {written})
FROM pg_class c WHERE c.oid = ANY ({relations})
UNION ALL
SELECT '{function}', p.oid::bigint, concat_ws(' ', p.xmin, d.xmin)
FROM pg_proc p
LEFT JOIN pg_description d ON d.objoid = p.oid AND d.classoid = 'pg_proc'::regclass
WHERE p.oid = ANY ({functions})
"""


def read_state(connection: sa.Connection, graph: Graph) -> State:
    """Gives the fingerprint of relations, and of all that depends on them.

    Args:
        connection: A transaction with an empty search path.
        graph: What depends on the relations.
    """
    nodes = (
        *graph.roots,
        *graph.dependents,
        *(Node(RELATION, oid) for oid in graph.others.values()),
    )
    query = _STATE.format(
        relation=RELATION,
        function=FUNCTION,
        written=", ".join(_WRITTEN.format(*item) for item in _ABOUT_RELATIONS.items()),
        relations=_oids(nodes, RELATION),
        functions=_oids(nodes, FUNCTION),
    )
    found = connection.exec_driver_sql(query, execution_options={"no_parameters": True})
    return frozenset(tuple(row) for row in found)


def _oids(nodes: Iterable[Node], catalog: str) -> str:
    oids = sorted(str(node.oid) for node in nodes if node.catalog == catalog)
    return f"'{{{','.join(oids)}}}'::oid[]"
