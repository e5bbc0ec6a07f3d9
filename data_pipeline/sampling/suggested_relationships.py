"""Relationships that are likely, but not declared: by names of columns, and by their values."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from data_pipeline.sampling.plan.schema_graph import type_kind
from data_pipeline.store.table_properties import Properties

_VALUES = 10_000
_LEAST = 0.9
"""So many of the values must be found: references of real sources dangle at times."""

_SAY_NOTHING = {"", "id", "key", "sk", "code", "name", "no", "number", "type"}
_ALIKE = ({"integer", "numeric"},)


@dataclass(frozen=True)
class Suggestion:
    """A relationship that is likely.

    Attributes:
        child: The table that refers.
        columns: Its columns.
        parent: The table referred to.
        referenced_columns: Its primary key.
        values: So many values of the columns were looked up.
        found: So many of them are there.
    """

    child: str
    columns: tuple[str, ...]
    parent: str
    referenced_columns: tuple[str, ...]
    values: int
    found: int

    def __str__(self) -> str:
        own, other = (_listed(names) for names in (self.columns, self.referenced_columns))
        key = f'ForeignKey({own}, "{self.parent}", {other})'
        share = 100 * self.found / self.values
        return f"{self.child}: {key}  # {share:.1f} % of {self.values:,} values are there"


def suggested_relationships(
    connection: sa.Connection, tables: Mapping[str, sa.Table], declared: Mapping[str, Properties]
) -> list[Suggestion]:
    """Return likely relationships between tables that are not declared.

    Args:
        connection: To the database of the tables.
        tables: The tables, with their primary keys.
        declared: What is declared of them; their relationships are left out.
    """
    return [
        found
        for child, parent in ((c, p) for c in tables for p in tables)
        for columns in _candidates(child, tables[child], parent, tables[parent])
        if not _is_declared(declared[child], columns, parent)
        and (found := _looked_up(connection, tables, child, columns, parent)) is not None
    ]


def likely_children(tables: Mapping[str, sa.Table]) -> list[str]:
    """Name the tables with columns that are called like the primary key of another one.

    Use it where there are no rows to look at.
    """
    return [
        child
        for child, own in tables.items()
        if any(
            any(_candidates(child, own, parent, other))
            for parent, other in tables.items()
            if parent != child
        )
    ]


def _candidates(
    child: str, own: sa.Table, parent: str, other: sa.Table
) -> Iterator[tuple[str, ...]]:
    """Return columns of a table that are called like the primary key of another one."""
    key, is_same = list(other.primary_key.columns), child == parent
    if len(key) == 1:
        wanted = _key_names(parent, key[0].name)
        for column in own.columns:
            is_itself = is_same and column.name == key[0].name
            if not is_itself and _fits(column, key[0]) and _endings(column.name) & wanted:
                yield (column.name,)
    elif key and not is_same:
        found = [_called_like(own, column) for column in key]
        if all(column is not None for column in found):
            yield tuple(str(name) for name in found)


def _called_like(own: sa.Table, wanted: sa.Column[Any]) -> str | None:
    fitting = [column.name for column in own.columns if _fits(column, wanted)]
    same = [name for name in fitting if _plain(name) == _plain(wanted.name)]
    similar = [name for name in fitting if _endings(name) & _names(wanted.name)]
    return next(iter([*same, *similar]), None)


def _fits(own: sa.Column[Any], other: sa.Column[Any]) -> bool:
    kinds = {type_kind(own.type), type_kind(other.type)}
    return len(kinds) == 1 or kinds in _ALIKE


def _names(name: str) -> set[str]:
    """Return a name, and without what stands before its first underscore."""
    return {_plain(name), _plain(name.partition("_")[2])} - _SAY_NOTHING


def _endings(name: str) -> set[str]:
    """Return a name, and all that stands behind an underscore in it."""
    words = name.split("_")
    return {_plain("".join(words[i:])) for i in range(len(words))} - _SAY_NOTHING


def _key_names(table: str, key: str) -> set[str]:
    """Return what references to a key are likely called."""
    singular = {
        table,
        re.sub("s$", "", table),
        re.sub("ies$", "y", table),
        re.sub("es$", "", table),
    }
    composed = {f"{name}{key}" for name in singular}
    return {_plain(name) for name in singular | composed} | _names(key) - _SAY_NOTHING


def _plain(name: str) -> str:
    return name.replace("_", "").lower()


def _is_declared(declared: Properties, columns: tuple[str, ...], parent: str) -> bool:
    return any(
        set(key.columns) == set(columns) and key.references.rpartition("/")[2] == parent
        for key in declared.foreign_keys
    )


def _looked_up(
    connection: sa.Connection,
    tables: Mapping[str, sa.Table],
    child: str,
    columns: tuple[str, ...],
    parent: str,
) -> Suggestion | None:
    """Return a suggestion if nearly all values of its columns are there."""
    own, other = tables[child], tables[parent].alias("other")
    key = [column.name for column in tables[parent].primary_key]
    values = (
        sa.select(*(own.c[name].label(f"k{i}") for i, name in enumerate(columns)))
        .where(*(own.c[name].is_not(None) for name in columns))
        .distinct()
        .limit(_VALUES)
        .subquery("values_of_child")
    )
    same = [values.c[f"k{i}"] == other.c[name] for i, name in enumerate(key)]
    there = sa.exists().select_from(other).where(*same)
    query = sa.select(sa.func.count(), sa.func.count().filter(there)).select_from(values)
    count, found = connection.execute(query).one()
    if not count or found < _LEAST * count:
        return None
    return Suggestion(child, columns, parent, tuple(key), int(count), int(found))


def _listed(names: tuple[str, ...]) -> str:
    return "[" + ", ".join(f'"{name}"' for name in names) + "]"
