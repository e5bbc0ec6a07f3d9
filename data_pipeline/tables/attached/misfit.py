"""Why something does not fit the new relations: the column that is gone or has another type."""

from collections.abc import Iterator, Mapping

import sqlalchemy as sa

from data_pipeline.tables.attached.attached import Attached
from data_pipeline.tables.attached.relations import Relation
from data_pipeline.tables.attached.units import Unit
from data_pipeline.tables.names import RelationName

_TYPES = sa.text("SELECT format_type(:old, :old_modifier), format_type(:new, :new_modifier)")


def explain(
    connection: sa.Connection,
    attached: Attached,
    unit: Unit,
    new: Mapping[RelationName, Relation],
    error: sa.exc.DBAPIError,
) -> tuple[str | None, str]:
    """Gives the columns at fault, where there are any, and the reason in words.

    Args:
        connection: The transaction.
        attached: What hung on the old relations.
        unit: What could not be put up.
        new: The relations that took the places of the old ones.
        error: What PostgreSQL says.
    """
    changed = dict(_changed(connection, attached, unit, new))
    detail = getattr(getattr(error.orig, "diag", None), "message_detail", None)
    said = getattr(getattr(error.orig, "diag", None), "message_primary", None) or str(error.orig)
    said = " ".join([f"PostgreSQL says: {said.strip()}", *([detail] if detail else [])])
    if not changed:
        return None, f"cannot be put up again. {said}."
    what = "; ".join(f"column {column} {change}" for column, change in changed.items())
    return ", ".join(changed), f"does not fit the new columns: {what}. ({said})"


def _changed(
    connection: sa.Connection,
    attached: Attached,
    unit: Unit,
    new: Mapping[RelationName, Relation],
) -> Iterator[tuple[str, str]]:
    """Gives the columns that the object uses and that are others now, each with what changed."""
    by_oid = {relation.oid: relation for relation in attached.old.values()}
    for oid, number in _used(attached, unit):
        old = by_oid.get(oid)
        if old is None or (name := old.columns[number - 1]) is None:
            continue
        if old.name not in new:
            yield f"{old.name}.{name}", "is gone with its table"
            continue
        columns = dict(zip(new[old.name].columns, new[old.name].types, strict=True))
        before, now = old.types[number - 1], columns.get(name)
        if now is None:
            yield f"{old.name}.{name}", "is gone"
        elif now != before:
            was, kind = _named(connection, before, now)
            yield f"{old.name}.{name}", f"is of type {kind}, no longer {was}"


def _used(attached: Attached, unit: Unit) -> list[tuple[int, int]]:
    oid = unit.part.oid if unit.part else unit.creates
    return [
        used
        for node, all_used in attached.graph.uses.items()
        if node.oid == oid
        for used in all_used
    ]


def _named(connection: sa.Connection, old: str, new: str) -> tuple[str, str]:
    """Gives two types by their names, from oid and modifier."""
    old_type, old_modifier = map(int, old.split(":"))
    new_type, new_modifier = map(int, new.split(":"))
    was, kind = connection.execute(
        _TYPES,
        {
            "old": old_type,
            "old_modifier": old_modifier,
            "new": new_type,
            "new_modifier": new_modifier,
        },
    ).one()
    return was, kind
