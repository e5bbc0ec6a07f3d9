"""Taking down what hangs on relations, so that they can be replaced."""

from itertools import groupby

import sqlalchemy as sa

from data_pipeline.tables.attached.attached import Attached
from data_pipeline.tables.attached.errors import ChangedError
from data_pipeline.tables.attached.graph import read_graph
from data_pipeline.tables.attached.relations import Relation
from data_pipeline.tables.attached.state import read_state
from data_pipeline.tables.connection import run
from data_pipeline.tables.names import quoted

# Their names would be in the way, or they would go on working on a table that is put aside.
_TAKEN_OFF = frozenset({"policy", "rule", "trigger", "statistics", "publication", "foreign key"})


def take_down(connection: sa.Connection, attached: Attached) -> None:
    """Locks the relations that are to be replaced, and drops what depends on them.

    Never more than was read is dropped, and nothing that was changed since: it is compared behind
    the locks, for which others may have been waited.

    Args:
        connection: The transaction, with an empty search path.
        attached: What was read.

    Raises:
        CannotCarryError: Something depends on them now that cannot be put up again.
        ChangedError: Somebody has changed something since.
    """
    if not attached.old:
        return
    state = read_state(connection, attached.graph, _locks(attached))
    if state != attached.state or read_graph(connection, attached.names) != attached.graph:
        raise ChangedError
    if statements := _statements(attached):
        run(connection, ";\n".join(statements))


def _locks(attached: Attached) -> list[str]:
    """Gives the statements that lock relations; views come before tables, as in a query."""
    views = [
        *(item for item in reversed(attached.dependents) if isinstance(item, Relation)),
        *(item for item in attached.old.values() if item.relkind == "v"),
    ]
    # LOCK would lock what is behind a view along with it. An owner that stays locks the view alone.
    # Those of others, in schemas of ours, can only be dropped.
    statements = [
        f"ALTER {view.kind} {view.name.quoted} OWNER TO {quoted(view.owner)}"
        for view in views
        if view.is_ours
    ]
    tables = [name for name, relation in attached.old.items() if relation.relkind in "rp"]
    if tables:
        listed = ", ".join(name.quoted for name in sorted(tables, key=str))
        statements.append(f"LOCK TABLE {listed} IN ACCESS EXCLUSIVE MODE")
    return statements


def _statements(attached: Attached) -> list[str]:
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
    drops = [
        f"DROP {kind} {', '.join(name for _, name in group)}"
        for kind, group in groupby(
            (dependent.drop for dependent in reversed(attached.dependents)), lambda drop: drop[0]
        )
    ]
    return [*first, *drops, *then]
