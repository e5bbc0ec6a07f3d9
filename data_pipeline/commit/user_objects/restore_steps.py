"""The steps of restoring what was attached to the old relations, in an order in which they work."""

import logging
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

from data_pipeline.commit.user_objects import default_privileges
from data_pipeline.commit.user_objects.capture import UserObject, UserObjects
from data_pipeline.commit.user_objects.kinds import KINDS
from data_pipeline.commit.user_objects.object_definitions import Relation, Routine
from data_pipeline.database.identifiers import RelationName, literal, quoted
from data_pipeline.errors import CannotCarryError


@dataclass(frozen=True)
class Unit:
    """Statements that make sense together only.

    Attributes:
        subject: What they put up, in words.
        statements: The statements.
        of: The oid that the object had; for a part, that of its relation.
        creates: The oid that the object had, if it is a view or a function.
        part: The part of a relation, if it is one.
        is_security: Whether it must not be left out.
    """

    subject: str
    statements: list[str]
    of: int
    creates: int | None = None
    part: UserObject | None = None
    is_security: bool = False


def units(
    attached: UserObjects,
    new: Mapping[RelationName, Relation],
    new_parts: Mapping[int, tuple[UserObject, ...]],
    definitions: Mapping[RelationName, str],
    log: logging.Logger,
) -> list[Unit]:
    """Return the steps to restore what was attached to the old relations.

    Args:
        attached: What was attached to them.
        new: The relations in their places.
        new_parts: What these came with.
        definitions: Queries for views that are to get another one than they had.
        log: Says what makes no sense any more.

    Raises:
        CannotCarryError: Row security would be lost.
    """
    now: list[Unit] = []
    late: list[Unit] = []
    moved = {
        old.oid: f"{name}"
        for name, old in attached.old.items()
        if name in new and _have_moved(old, new[name])
    }
    for name, relation in new.items():
        old = attached.old.get(name)
        if old is None:
            statements = default_privileges.grants(attached.defaults, name)
            now.append(Unit(f"new {relation.subject}", statements, relation.oid, is_security=True))
            continue
        present = {part.key: part for part in new_parts.get(relation.oid, ())}
        wanted = [
            part
            for part in attached.parts.get(old.oid, ())
            if _fits(part, old, relation, log) and not _has_key(part, present)
        ]
        changes = _changes(old, relation, wanted, present)
        now.append(Unit(f"owner and grants of {name}", changes, old.oid, is_security=True))
        late += _single(_missing(wanted, present), old.subject)
    for dependent in attached.dependents:
        unit = _whole(attached, dependent, definitions)
        if isinstance(dependent, Routine) or dependent.name not in definitions:
            unit.statements[:0] = _refusals(attached, dependent, moved)
        now.append(unit)
        parts = attached.parts.get(dependent.oid, ())
        late += _single((p for p in parts if not KINDS[p.kind].is_with_view), dependent.subject)
    for oid in sorted(set(attached.graph.others.values())):
        late += _single(attached.parts.get(oid, ()), "a relation outside of the stage")
    late.sort(key=lambda unit: _step(unit.part))
    if any(unit.is_security for unit in late):
        # They were filled while nothing hid rows from their owners.
        late += [
            Unit(f"content of {dependent.subject}", dependent.fill, dependent.oid, is_security=True)
            for dependent in attached.dependents
            if isinstance(dependent, Relation)
        ]
    return [unit for unit in (*now, *late) if unit.statements]


def _have_moved(old: Relation, new: Relation) -> bool:
    """Whether columns that both have stand at other places, so that their numbers mean others."""
    columns = [column for column in old.columns if column is not None]
    kept = [column for column in columns if column in new.columns]
    return kept == columns and [*new.columns[: len(columns)]] != columns


def _refusals(
    attached: UserObjects, dependent: Relation | Routine, moved: Mapping[int, str]
) -> list[str]:
    """Return statements that refuse to create what would show other columns, without an error."""
    if isinstance(dependent, Routine):
        used = {dependent.gives}
    else:
        used = {
            oid
            for node, columns in attached.graph.uses.items()
            if node.oid == dependent.oid and dependent.is_positional
            for oid, _ in columns
        }
    names = [name for oid, name in moved.items() if oid in used]
    said = f"it names columns of {', '.join(names)} by their places, which are others now"
    raised = f"BEGIN RAISE EXCEPTION USING MESSAGE = {literal(said)}; END"
    return [f"DO {literal(raised)}"] if names else []


def _single(parts: Iterable[UserObject], subject: str) -> Iterator[Unit]:
    """Return a unit for each part that waits until everything else is there."""
    for part in parts:
        kind = KINDS[part.kind]
        if not kind.is_at_once:
            yield Unit(
                f"{part.kind} {part.name} of {subject}",
                [part.sql],
                part.relation,
                part=part,
                is_security=kind.is_security,
            )


def _whole(
    attached: UserObjects, dependent: Relation | Routine, definitions: Mapping[RelationName, str]
) -> Unit:
    """Return the unit that creates a view or function, with what belongs to it."""
    defaults = attached.defaults
    if isinstance(dependent, Routine):
        who = default_privileges.grantees(defaults, dependent.schema, functions=True)
        # Bodies of old style may name what the empty search path does not find.
        statements = ["SET LOCAL check_function_bodies = off", *dependent.create(who)]
        return Unit(dependent.subject, statements, dependent.oid, dependent.oid)
    name = dependent.name
    statements = dependent.create(definitions.get(name))
    who = default_privileges.grantees(defaults, name.schema, functions=False) or []
    if others := [role for role in who if role != quoted(dependent.owner)]:
        statements.append(f"REVOKE ALL ON TABLE {name.quoted} FROM {', '.join(others)}")
    parts = sorted(attached.parts.get(dependent.oid, ()), key=_step)
    statements += [part.sql for part in parts if KINDS[part.kind].is_at_once]
    statements += dependent.fill
    statements += [
        part.sql
        for part in parts
        if KINDS[part.kind].is_with_view and not KINDS[part.kind].is_at_once
    ]
    return Unit(dependent.subject, statements, dependent.oid, dependent.oid)


def _changes(
    old: Relation,
    new: Relation,
    wanted: Collection[UserObject],
    present: Mapping[tuple[str, str], UserObject],
) -> list[str]:
    """Return the statements that make owner, grants, comments and options those of the old one."""
    target = {part.key: part.sql for part in wanted}
    stale = [
        part
        for part in present.values()
        if KINDS[part.kind].is_reversible and target.get(part.key) != part.sql
    ]
    statements = []
    if old.owner != new.owner:
        statements.append(f"ALTER TABLE {new.name.quoted} OWNER TO {quoted(old.owner)}")
    statements += [part.undo for part in stale if part.undo]
    # A privilege may have been given twice, so what takes one back may take back another one.
    undone = {part.kind for part in stale}
    for part in sorted(wanted, key=_step):
        if KINDS[part.kind].is_at_once and (part.kind in undone or part.key not in present):
            statements.append(_renamed(part, old, new))
    return statements


def _missing(
    wanted: Collection[UserObject], present: Mapping[tuple[str, str], UserObject]
) -> Iterator[UserObject]:
    """Return those parts that the new relation does not have already."""
    there = {part.key for part in wanted} | present.keys()
    for part in wanted:
        kind = KINDS[part.kind]
        if kind.is_reversible:
            is_missing = part.key not in present or present[part.key].sql != part.sql
        elif kind.of:
            is_missing = any((of, part.name) in there for of in kind.of)
        else:
            is_missing = part.key not in present
        if is_missing:
            yield part


def _has_key(part: UserObject, present: Mapping[tuple[str, str], UserObject]) -> bool:
    """Whether it is a primary key, and the new relation has one, under whatever name."""
    return part.kind == "primary key" and any(kind == part.kind for kind, _ in present)


def _renamed(part: UserObject, old: Relation, new: Relation) -> str:
    """Return the statement of a part, for a relation that may be of another kind."""
    if old.kind == new.kind or part.columns or part.kind not in ("comment", "security label"):
        return part.sql
    return part.sql.replace(f"ON {old.kind} ", f"ON {new.kind} ", 1)


def _fits(
    part: UserObject,
    old: Relation,
    new: Relation,
    log: logging.Logger,
) -> bool:
    """Whether a part of the old relation makes sense on the new one; says so if not."""
    if old.kind != new.kind and not KINDS[part.kind].is_on_any:
        if KINDS[part.kind].is_security:
            raise CannotCarryError(
                f"{part.kind} {part.name} of {old.subject}",
                None,
                f"cannot be put on the {new.kind.lower()} that takes its place.",
                "Drop it by hand if the rows need no protection, then run again.",
            )
        log.warning("Left out: %s %s of %s, now a %s", part.kind, part.name, old.name, new.kind)
        return False
    if part.kind == "index" and part.name == _ownindex_name(old, part):
        return False
    if missing := set(part.columns) - set(new.columns):
        log.info("Left out: %s %s of %s: no column %s", part.kind, part.name, old.name, missing)
        return False
    return True


def _step(part: UserObject | None) -> int:
    return KINDS[part.kind].step if part else 0


def _ownindex_name(relation: Relation, part: UserObject) -> str:
    """Return the name that the pipeline would give to an index on these columns."""
    # Imported here since it loads what builds tables, which is of no use without an index.
    from data_pipeline.store.table_properties import index_name

    return index_name(relation.name.name, part.columns)
