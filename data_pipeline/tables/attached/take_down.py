"""Taking down what hangs on relations, so that they can be replaced."""

from itertools import groupby

import sqlalchemy as sa

from data_pipeline.tables.attached.attached import Attached
from data_pipeline.tables.attached.graph import Node, read_graph
from data_pipeline.tables.attached.statements import last_rows
from data_pipeline.tables.connection import run

# Their names would be in the way, or they would go on working on a table that is put aside.
_TAKEN_OFF = frozenset({"policy", "rule", "trigger", "statistics", "publication", "foreign key"})

# Behind the lock, a look at what is directly attached is enough to see whether there is news.
_NOW = """
SELECT DISTINCT CASE WHEN r.oid IS NULL THEN d.classid::regclass ELSE 'pg_class' END::text,
       coalesce(r.ev_class, d.objid)::bigint
FROM (
    SELECT 'pg_class'::regclass::oid AS class, unnest('{{{relations}}}'::oid[]) AS oid
  UNION ALL
    SELECT 'pg_type'::regclass::oid, unnest('{{{types}}}'::oid[])
) o
JOIN pg_depend d ON d.refclassid = o.class AND d.refobjid = o.oid
LEFT JOIN pg_rewrite r
    ON d.classid = 'pg_rewrite'::regclass AND r.oid = d.objid AND r.rulename = '_RETURN'
WHERE r.ev_class IS DISTINCT FROM o.oid
"""


def take_down(connection: sa.Connection, attached: Attached) -> None:
    """Drops what depends on the relations, all in one go, and never more than was read.

    What somebody built on a view in the meantime makes PostgreSQL refuse (2BP01), and a new part of
    a table that is dropped goes with it: read again behind the lock, and compare.

    Args:
        connection: The transaction, with an empty search path.
        attached: What was read.
    """
    if statements := take_down_statements(attached):
        run(connection, ";\n".join(statements))


def take_down_and_lock(connection: sa.Connection, attached: Attached) -> bool:
    """Does the same, and locks the tables that are to be replaced, in one round trip.

    Args:
        connection: The transaction, with an empty search path.
        attached: What was read.

    Returns:
        Whether somebody has attached something to the relations after they were read.

    Raises:
        CannotCarryError: It cannot be carried over.
    """
    if not attached.old:
        return False
    statements = take_down_statements(attached)
    tables = [name for name, relation in attached.old.items() if relation.relkind in "rp"]
    if tables:
        listed = ", ".join(name.quoted for name in sorted(tables, key=str))
        statements.append(f"LOCK TABLE {listed} IN ACCESS EXCLUSIVE MODE")
    known = {edge.node for edge in attached.graph.edges}
    relations = ",".join(str(node.oid) for node in attached.graph.roots)
    types = ",".join(str(node.oid) for node in known if node.catalog == "pg_type")
    now = last_rows(connection, [*statements, _NOW.format(relations=relations, types=types)])
    if not {Node(catalog, oid) for catalog, oid in now} - known:
        return False
    read_graph(connection, attached.names)
    return True


def is_late(connection: sa.Connection, attached: Attached) -> bool:
    """Whether somebody has built something on the relations after they were read.

    To be asked behind `take_down` and the lock on the relations, before these are put aside: it
    would go on working on the old tables. (PostgreSQL refuses to drop them by itself.)

    Args:
        connection: The transaction, with an empty search path.
        attached: What was read, and has been taken down.

    Raises:
        CannotCarryError: It cannot be carried over.
    """
    return bool(read_graph(connection, attached.names).dependents)


def take_down_statements(attached: Attached) -> list[str]:
    """Gives the statements that drop what depends on relations, and free the names of parts."""
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
