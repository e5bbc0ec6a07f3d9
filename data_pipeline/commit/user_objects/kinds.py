"""The kinds of objects that users attach to tables: one file each, `sql/kinds/*.sql`.

A file is a query. It gives the relation, a kind, a name, the columns without which it makes no
sense, the statements that put it on, those that take it off again, and its oid where that matters.
Relations come from `rel`, or from `every`, which also holds relations that only have a part that
refers to the others. The comment at its top says the rest:

- `kind`: a name; the step at which it is put on, in the order of the numbers; and what holds of it
  (see `Kind`). It is taken off the old relation if its name would be in the way, or if it would go
  on working on a table that is put aside.
- `catalog`: where the walk through dependencies comes upon it (for a relation, with its kind);
  or `where`: which relations `c`, with attributes `a`, have one.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_RELATIONS = """
WITH every AS MATERIALIZED (
    SELECT c.*, n.nspname, format('%I.%I', n.nspname, c.relname) AS x,
           pg_get_userbyid(c.relowner) AS owner, c.oid = ANY ({relations}) AS inside,
           CASE relkind WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW' ELSE 'TABLE' END
               AS word
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.oid = ANY ({relations} || {others_relations})
), rel AS (SELECT * FROM every WHERE inside)
"""
_ENTRY = re.compile(r"^-- (kind|catalog|where): (.*(?:\n--  .*)*)\n", re.MULTILINE)


@dataclass(frozen=True)
class Kind:
    """A kind of object, as its file describes it.

    Attributes:
        name: What it is called.
        step: Its place in the order in which kinds are put on.
        of: Kinds of which there must be one of the same name.
        is_at_once: Whether it is put on together with its relation.
        is_with_view: Whether it is put on when its view is created, before that is filled.
        is_taken_off: Whether it is taken off the old relation.
        is_on_any: Whether tables and views have it alike.
        is_reversible: Whether there is always one, which is set anew.
        is_security: Whether it protects rows, so that it is never left out.
    """

    name: str
    step: int
    of: tuple[str, ...] = ()
    is_at_once: bool = False
    is_with_view: bool = False
    is_taken_off: bool = False
    is_on_any: bool = False
    is_reversible: bool = False
    is_security: bool = False


_HOW = {
    "at once": ("is_at_once", "is_reversible", "is_with_view"),
    "with its view": ("is_with_view",),
    "taken off": ("is_taken_off",),
    "on any relation": ("is_on_any",),
    "reversible": ("is_reversible",),
    "never left out": ("is_security",),
}


@dataclass(frozen=True)
class KindFile:
    """A file of `sql/kinds`.

    Attributes:
        name: Its name without ending.
        query: The query.
        kinds: What that gives.
        catalog: Where the walk through dependencies comes upon them.
        where: The condition on relations that have one, where they are not found by the walk.
    """

    name: str
    query: str
    kinds: tuple[Kind, ...]
    catalog: str | None
    where: str | None


def kind_file(file: Path) -> KindFile:
    """Read a file.

    Raises:
        KeyError: Its comment has a word that says nothing of a kind.
    """
    text = file.read_text(encoding="utf-8")
    said: dict[str, list[str]] = {"kind": [], "catalog": [], "where": []}
    for key, value in _ENTRY.findall(text):
        said[key].append(value.replace("\n--", " "))
    catalog, where = (next(iter(said[key]), None) for key in ("catalog", "where"))
    kinds = tuple(map(_kind, said["kind"]))
    return KindFile(file.stem, _ENTRY.sub("", text), kinds, catalog, where)


def _kind(entry: str) -> Kind:
    name, *how = entry.split("; ")
    said: dict[str, Any] = {}
    for word in how:
        if word.startswith("step "):
            said["step"] = int(word.removeprefix("step "))
        elif word.startswith("of "):
            said["of"] = tuple(word.removeprefix("of ").split(", "))
        else:
            said.update(dict.fromkeys(_HOW[word], True))
    return Kind(name, **said)


_FILES = tuple(map(kind_file, sorted((Path(__file__).parent / "sql" / "kinds").glob("*.sql"))))

KINDS = {kind.name: kind for file in _FILES for kind in file.kinds}

CONDITIONS = ", ".join(
    f"CASE WHEN {file.where} THEN '{file.name}' END" for file in _FILES if file.where
)
"""SQL that gives the names of those files in which there is something about a relation `c`."""


def files_of(catalogs: Iterable[str], kinds: Iterable[str] = ()) -> set[str]:
    """Return the names of the files that look into some catalogs, or for some kinds."""
    wanted, sought = set(catalogs), set(kinds)
    return {
        file.name
        for file in _FILES
        if file.catalog in wanted or not sought.isdisjoint(kind.name for kind in file.kinds)
    }


def query_of(files: Iterable[str], relations: str, others: str, others_relations: str) -> str:
    """Return the query for all that some files look for.

    Args:
        files: Their names; at least one.
        relations: An array of oids of relations.
        others: One of policies, triggers and rules of other relations.
        others_relations: One of those relations.
    """
    chosen = set(files)
    queries = " UNION ALL ".join(file.query for file in _FILES if file.name in chosen)
    query = (_RELATIONS + queries).replace("{relations}", relations)
    return query.replace("{others_relations}", others_relations).replace("{others}", others)
