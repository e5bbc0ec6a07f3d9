"""Restoring what was attached to the old relations: all at once, and one by one if that fails."""

import logging
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import sqlalchemy as sa

from data_pipeline.commit.user_objects.capture import UserObjects, read_new
from data_pipeline.commit.user_objects.object_definitions import (
    BY_NO_PATH,
    BY_PATH_OF_ROLE,
    Relation,
)
from data_pipeline.commit.user_objects.restore_steps import Unit, units
from data_pipeline.database.connection import run
from data_pipeline.database.identifiers import RelationName
from data_pipeline.database.lock_waiting import is_busy
from data_pipeline.errors import CannotCarryError


class ComesLaterError(Exception):
    """A view that the run is going to replace itself does not fit: let both commit together.

    Attributes:
        subject: The view, such as `view full_b.v`.
        stage: The stage that it belongs to.
    """

    def __init__(self, subject: str, stage: str) -> None:
        super().__init__(subject)
        self.subject = subject
        self.stage = stage


@dataclass(frozen=True)
class Broken:
    """An object that did not fit the new tables, and is left dropped.

    Attributes:
        subject: The object, such as `view public.v`.
        reason: Why it could not be put up again.
    """

    subject: str
    reason: str

    def __str__(self) -> str:
        return f"{self.subject} {self.reason}"


_TYPES = sa.text("SELECT format_type(:old, :old_modifier), format_type(:new, :new_modifier)")


def explain(
    connection: sa.Connection,
    attached: UserObjects,
    unit: Unit,
    new: Mapping[RelationName, Relation],
    error: sa.exc.DBAPIError,
) -> tuple[str | None, str]:
    """Return the columns at fault, where there are any, and the reason in words.

    Args:
        connection: The transaction.
        attached: What was attached to the old relations.
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
    attached: UserObjects,
    unit: Unit,
    new: Mapping[RelationName, Relation],
) -> Iterator[tuple[str, str]]:
    """Return the columns that the object uses and that are others now, each with what changed."""
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


def _used(attached: UserObjects, unit: Unit) -> list[tuple[int, int]]:
    oid = unit.part.oid if unit.part else unit.creates
    return [
        used
        for node, all_used in attached.graph.uses.items()
        if node.oid == oid
        for used in all_used
    ]


def _named(connection: sa.Connection, old: str, new: str) -> tuple[str, str]:
    """Return two types by their names, from oid and modifier."""
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


# What says nothing about what is put up: a broken connection (08), a deadlock or the like (40), a
# lack of resources (53), an operator who intervened (57), what was dropped while PostgreSQL read
# its catalogs (XX); and somebody at work on the same.
_PASSED_ON = ("08", "40", "53", "57", "XX")
_SAVEPOINT = "attached"
_REMEDY = (
    "Drop it or adapt it, then run again; with `on_broken_view: drop` under `table_store`, commits "
    "leave out what does not fit."
)
_REMEDY_OF_SECURITY = (
    "It is never left out in silence: drop it or adapt it by hand, then run again."
)


def restore_objects(
    connection: sa.Connection,
    attached: UserObjects,
    policy: Literal["fail", "drop"],
    log: logging.Logger,
    definitions: Mapping[RelationName, str],
    given_up: Callable[[], Collection[RelationName]] = tuple,
    coming: Mapping[RelationName, str] | None = None,
) -> list[Broken]:
    """Restore what was attached to the old relations on those that have taken their names.

    Args:
        connection: The transaction, with an empty search path.
        attached: What was read of the old ones.
        policy: What becomes of what does not fit: `fail`, or `drop` it and go on.
        log: Says what makes no sense any more.
        definitions: Queries for views that are to get another one than they had.
        given_up: Gives views that may be left out, whatever the policy is.
        coming: Those that the run is going to replace, each with its stage.

    Returns:
        What was left dropped, and why; with the policy `drop`, or of what is given up.

    Raises:
        CannotCarryError: Something does not fit, and must not be left out.
        ComesLaterError: A view does not fit that the run is going to replace.
    """
    new, new_parts = read_new(connection, attached)
    todo = units(attached, new, new_parts, definitions, log)
    if not todo:
        return []
    try:
        _attempt(connection, [statement for unit in todo for statement in unit.statements])
    except sa.exc.DBAPIError as error:
        if _is_passed_on(error):
            raise
        run(connection, f"ROLLBACK TO SAVEPOINT {_SAVEPOINT}")
    else:
        return []
    return list(_one_by_one(connection, attached, todo, new, policy, given_up(), coming or {}))


def _one_by_one(
    connection: sa.Connection,
    attached: UserObjects,
    todo: list[Unit],
    new: Mapping[RelationName, Relation],
    policy: Literal["fail", "drop"],
    given_up: Collection[RelationName],
    coming: Mapping[RelationName, str],
) -> Iterator[Broken]:
    """Put up each by itself, to find out which does not fit; return those that are left out."""
    gone: dict[int, str] = {}
    views = [item for item in attached.dependents if isinstance(item, Relation)]
    may_go = {view.oid for view in views if view.name in given_up}
    later = {view.oid: coming[view.name] for view in views if view.name in coming}
    for unit in todo:
        if unit.of in gone and (unit.is_security or (unit.of in may_go and unit.creates is None)):
            continue  # it would be the content of what is left out
        column = None
        if below := _below(attached, unit, gone):
            reason = f"is built on {below}, which is left out."
        else:
            try:
                _attempt(connection, unit.statements)
                continue
            except sa.exc.DBAPIError as error:
                if _is_passed_on(error):
                    raise
                run(connection, f"ROLLBACK TO SAVEPOINT {_SAVEPOINT}")
                column, reason = explain(connection, attached, unit, new, error)
        if unit.creates in later:
            raise ComesLaterError(unit.subject, later[unit.creates])
        is_lost = unit.is_security and not below
        if is_lost or (policy == "fail" and unit.creates not in may_go):
            remedy = _REMEDY_OF_SECURITY if unit.is_security else _REMEDY
            raise CannotCarryError(unit.subject, column, reason, remedy)
        if unit.creates is not None:
            gone[unit.creates] = unit.subject
        yield Broken(unit.subject, reason)


def _below(attached: UserObjects, unit: Unit, gone: Mapping[int, str]) -> str | None:
    """Return what is gone of that on which something is built."""
    needed = {unit.of}
    if unit.creates is not None:
        needed |= attached.graph.needed_by(unit.creates)
    return next((gone[oid] for oid in sorted(needed & gone.keys())), None)


def _attempt(connection: sa.Connection, statements: list[str]) -> None:
    """Execute statements in one round trip, behind a savepoint."""
    steps = [
        f"SAVEPOINT {_SAVEPOINT}",
        BY_PATH_OF_ROLE,
        *statements,
        BY_NO_PATH,
        f"RELEASE SAVEPOINT {_SAVEPOINT}",
    ]
    run(connection, ";\n".join(steps))


def _is_passed_on(error: sa.exc.DBAPIError) -> bool:
    code = getattr(error.orig, "pgcode", None)
    return (
        error.connection_invalidated
        or code is None
        or code.startswith(_PASSED_ON)
        or is_busy(error)
    )
