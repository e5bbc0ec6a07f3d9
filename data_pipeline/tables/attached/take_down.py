"""Taking down what hangs on relations, so that they can be replaced."""

from itertools import groupby

import sqlalchemy as sa

from data_pipeline.tables.attached.attached import Attached
from data_pipeline.tables.connection import run

# Their names would be in the way, or they would go on working on a table that is put aside.
_TAKEN_OFF = frozenset(
    {"policy", "rule", "trigger", "statistics", "publication", "foreign key", "sequence"}
)


def take_down(connection: sa.Connection, attached: Attached) -> None:
    """Drops what depends on the relations, all in one go, and never more than was read.

    Where somebody has built something on that in the meantime, PostgreSQL refuses (2BP01).

    Args:
        connection: The transaction, with an empty search path.
        attached: What was read.
    """
    if statements := _statements(attached):
        run(connection, ";\n".join(statements))


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
    # Views come before tables, as in a query that reads a view.
    drops = [
        f"DROP {kind} {', '.join(name for _, name in group)}"
        for kind, group in groupby(
            (dependent.drop for dependent in reversed(attached.dependents)), lambda drop: drop[0]
        )
    ]
    return [*first, *drops, *then]
