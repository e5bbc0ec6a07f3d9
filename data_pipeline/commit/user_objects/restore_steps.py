"""The steps of putting up what hung on the old relations, in an order in which they work."""

import logging
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

from data_pipeline.commit.user_objects import default_privileges
from data_pipeline.commit.user_objects.capture import Attached, AttachedPart
from data_pipeline.commit.user_objects.dependency_graph import CannotCarryError
from data_pipeline.commit.user_objects.object_definitions import Relation, Routine
from data_pipeline.database.identifiers import RelationName, quoted

_AT_ONCE = ("grant", "revoked", "security label", "comment", "option", "statistics target")
_WITH_VIEW = (*_AT_ONCE, "index", "comment of index")
_AT_LAST = (
    "index",
    "comment of index",
    "sequence",
    "default",
    "constraint",
    "foreign key",
    "comment of constraint",
    "replica identity",
    "statistics",
    "rule",
    "trigger",
    "policy",
    "row security",
    "publication",
)
_OF_EVERY_KIND = frozenset({"grant", "revoked", "security label", "comment"})
_REVERSIBLE = frozenset({*_AT_ONCE, "replica identity", "row security"})
_MAY_HAVE = {
    "primary key": ("comment of index", "comment of constraint"),
    "index": ("comment of index", "comment of constraint"),
    "constraint": ("comment of constraint",),
    "foreign key": ("comment of constraint",),
}
_SECURITY = frozenset({"policy", "row security"})


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
    part: AttachedPart | None = None
    is_security: bool = False


def units(
    attached: Attached,
    new: Mapping[RelationName, Relation],
    new_parts: Mapping[int, tuple[AttachedPart, ...]],
    definitions: Mapping[RelationName, str],
    log: logging.Logger,
) -> list[Unit]:
    """Return the steps to put up what hung on the old relations.

    Args:
        attached: What hung on them.
        new: The relations in their places.
        new_parts: What these came with.
        definitions: Queries for views that are to get another one than they had.
        log: Says what makes no sense any more.

    Raises:
        CannotCarryError: Row security would be lost.
    """
    now: list[Unit] = []
    late: list[Unit] = []
    for name, relation in new.items():
        old = attached.old.get(name)
        if old is None:
            statements = default_privileges.grants(attached.defaults, name)
            now.append(Unit(f"new {relation.subject}", statements, relation.oid, is_security=True))
            continue
        present = {part.key: part for part in new_parts.get(relation.oid, ())}
        wanted = [
            part for part in attached.parts.get(old.oid, ()) if _fits(part, old, relation, log)
        ]
        changes = _changes(old, relation, wanted, present)
        now.append(Unit(f"owner and grants of {name}", changes, old.oid, is_security=True))
        late += _single(_missing(wanted, present), old.subject)
    for dependent in attached.dependents:
        now.append(_whole(attached, dependent, definitions))
        parts = attached.parts.get(dependent.oid, ())
        late += _single((part for part in parts if part.kind not in _WITH_VIEW), dependent.subject)
    for oid in sorted(set(attached.graph.others.values())):
        late += _single(attached.parts.get(oid, ()), "a relation outside of the stage")
    late.sort(key=lambda unit: _AT_LAST.index(unit.part.kind) if unit.part else 0)
    if any(unit.is_security for unit in late):
        # They were filled while nothing hid rows from their owners.
        late += [
            Unit(f"content of {dependent.subject}", dependent.fill, dependent.oid, is_security=True)
            for dependent in attached.dependents
            if isinstance(dependent, Relation)
        ]
    return [unit for unit in (*now, *late) if unit.statements]


def _single(parts: Iterable[AttachedPart], subject: str) -> Iterator[Unit]:
    """Return a unit for each part that waits until everything else is there."""
    for part in parts:
        if part.kind in _AT_LAST:
            yield Unit(
                f"{part.kind} {part.name} of {subject}",
                [part.sql],
                part.relation,
                part=part,
                is_security=part.kind in _SECURITY,
            )


def _whole(
    attached: Attached, dependent: Relation | Routine, definitions: Mapping[RelationName, str]
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
    parts = sorted(attached.parts.get(dependent.oid, ()), key=_place)
    statements += [part.sql for part in parts if part.kind in _AT_ONCE]
    statements += dependent.fill
    statements += [part.sql for part in parts if part.kind in _WITH_VIEW[len(_AT_ONCE) :]]
    return Unit(dependent.subject, statements, dependent.oid, dependent.oid)


def _changes(
    old: Relation,
    new: Relation,
    wanted: Collection[AttachedPart],
    present: Mapping[tuple[str, str], AttachedPart],
) -> list[str]:
    """Return the statements that make owner, grants, comments and options those of the old one."""
    target = {part.key: part.sql for part in wanted}
    stale = [
        part
        for part in present.values()
        if part.kind in _REVERSIBLE and target.get(part.key) != part.sql
    ]
    statements = []
    if old.owner != new.owner:
        statements.append(f"ALTER TABLE {new.name.quoted} OWNER TO {quoted(old.owner)}")
    statements += [part.undo for part in stale if part.undo]
    # A privilege may have been given twice, so what takes one back may take back another one.
    undone = {part.kind for part in stale}
    for part in sorted(wanted, key=_place):
        if part.kind in _AT_ONCE and (part.kind in undone or part.key not in present):
            statements.append(_renamed(part, old, new))
    return statements


def _missing(
    wanted: Collection[AttachedPart], present: Mapping[tuple[str, str], AttachedPart]
) -> Iterator[AttachedPart]:
    """Return those parts that the new relation does not have already."""
    names = {
        (comment, part.name)
        for part in (*wanted, *present.values())
        for comment in _MAY_HAVE.get(part.kind, ())
    }
    for part in wanted:
        if part.kind in _REVERSIBLE:
            is_missing = part.key not in present or present[part.key].sql != part.sql
        elif part.kind.startswith("comment of "):
            is_missing = (part.kind, part.name) in names
        else:
            is_missing = part.key not in present
        if is_missing:
            yield part


def _renamed(part: AttachedPart, old: Relation, new: Relation) -> str:
    """Return the statement of a part, for a relation that may be of another kind."""
    if old.kind == new.kind or part.columns or part.kind not in ("comment", "security label"):
        return part.sql
    return part.sql.replace(f"ON {old.kind} ", f"ON {new.kind} ", 1)


def _fits(
    part: AttachedPart,
    old: Relation,
    new: Relation,
    log: logging.Logger,
) -> bool:
    """Whether a part of the old relation makes sense on the new one; says so if not."""
    if old.kind != new.kind and part.kind not in _OF_EVERY_KIND:
        if part.kind in _SECURITY:
            raise CannotCarryError(
                f"{part.kind} {part.name} of {old.subject}",
                None,
                f"cannot be put on the {new.kind.lower()} that takes its place.",
                "Drop it by hand if the rows need no protection, then run again.",
            )
        log.warning("Left out: %s %s of %s, now a %s", part.kind, part.name, old.name, new.kind)
        return False
    if part.kind == "primary key":
        return False
    if part.kind == "index" and part.name == _ownindex_name(old, part):
        return False
    if missing := set(part.columns) - set(new.columns):
        log.info("Left out: %s %s of %s: no column %s", part.kind, part.name, old.name, missing)
        return False
    return True


def _place(part: AttachedPart) -> int:
    return (*_WITH_VIEW, *_AT_LAST, "primary key").index(part.kind)


def _ownindex_name(relation: Relation, part: AttachedPart) -> str:
    """Return the name that the pipeline would give to an index on these columns."""
    # Imported here since it loads what builds tables, which is of no use without an index.
    from data_pipeline.store.table_properties import index_name

    return index_name(relation.name.name, part.columns)
