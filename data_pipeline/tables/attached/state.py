"""A fingerprint of relations and of all that hangs on them: whether anybody has changed any of it.

PostgreSQL writes a new version of a catalog row with each change, so the transactions that wrote
the rows about an object (their `xmin`) stand for what is known of it; the names of its schema, of
its owner and of those who may use it are in other rows.
"""

import sqlalchemy as sa

from data_pipeline.tables.attached.graph import FUNCTION, RELATION, TYPE, Graph, Node
from data_pipeline.tables.attached.oids import oid_array
from data_pipeline.tables.connection import run

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
    """Gives the fingerprint of relations, and of all that depends on them.

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
