"""The tables of a stage and the relationships between them, as raw assets declare them."""

from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from data_pipeline.database.identifiers import StageTable
from data_pipeline.results.data_checks import referenced_table
from data_pipeline.store.table_properties import Properties


@dataclass(frozen=True)
class Relationship:
    """Rows of one table that refer to rows of another, or of the same.

    Attributes:
        number: Its place among all relationships of the schema, in order of declaration.
        child: The table that refers.
        columns: Its referring columns; a reference with a NULL in it refers to nothing.
        parent: The table referred to.
        referenced_columns: Its columns, in the same order.
        where: An SQL condition on the child's columns; rows for which it is not true refer to
            nothing.
        refers_to_key: Whether the referenced columns are the parent's primary key, in any order.
    """

    number: int
    child: str
    columns: tuple[str, ...]
    parent: str
    referenced_columns: tuple[str, ...]
    where: str | None = None
    refers_to_key: bool = True

    def __str__(self) -> str:
        own, other = ", ".join(self.columns), ", ".join(self.referenced_columns)
        condition = f" where {self.where}" if self.where else ""
        return f"{self.child} ({own}) -> {self.parent} ({other}){condition}"

    def in_order_of(self, key: tuple[str, ...]) -> tuple[str, ...]:
        """Return the referring columns in the order of the parent's primary key."""
        by_referenced = dict(zip(self.referenced_columns, self.columns, strict=True))
        return tuple(by_referenced[name] for name in key)


@dataclass(frozen=True)
class SchemaGraph:
    """The input tables of one stage with their keys and relationships.

    Attributes:
        stage: The stage of the input tables.
        keys: The primary key of each table, empty where there is none; in the order of the tables.
        relationships: All of them, in order of declaration.
        outside: References to tables that are no input tables of the stage; sampling does not
            follow them.
    """

    stage: str
    keys: Mapping[str, tuple[str, ...]]
    relationships: tuple[Relationship, ...]
    outside: tuple[str, ...] = ()

    def of_child(self, table: str) -> Iterator[Relationship]:
        """Return the relationships by which rows of a table refer to others."""
        return (item for item in self.relationships if item.child == table)

    def of_parent(self, table: str) -> Iterator[Relationship]:
        """Return the relationships by which rows refer to a table."""
        return (item for item in self.relationships if item.parent == table)

    @cached_property
    def components(self) -> Mapping[str, frozenset[str]]:
        """For each table, those that are connected with it by relationships, itself included."""
        found = {name: frozenset({name}) for name in self.keys}
        for item in self.relationships:
            together = found[item.child] | found[item.parent]
            found |= dict.fromkeys(together, together)
        return found

    @cached_property
    def order(self) -> tuple[str, ...] | None:
        """The tables such that each comes after all that refer to it; None: there is a cycle."""
        found: list[str] = []
        while len(found) < len(self.keys):
            waiting = {item.parent for item in self.relationships if item.child not in found}
            free = [name for name in self.keys if name not in found and name not in waiting]
            if not free:
                return None
            found += free
        return tuple(found)

    def part(self, tables: Set[str]) -> "SchemaGraph":
        """Return the graph of some of the tables, such that no relationship leads out of them."""
        return replace(
            self,
            keys={name: key for name, key in self.keys.items() if name in tables},
            relationships=tuple(item for item in self.relationships if item.child in tables),
        )


def schema_graph(
    stage: str, tables: Mapping[str, StageTable], properties: Mapping[str, Properties]
) -> SchemaGraph:
    """Return the graph of the input tables of a stage.

    Args:
        stage: The stage of the input tables.
        tables: The raw table behind each input table, in order.
        properties: What is declared of each raw table.
    """
    names = {raw: name for name, raw in tables.items()}
    relationships: list[Relationship] = []
    outside: list[str] = []
    for name, raw in tables.items():
        for key in properties[name].foreign_keys:
            parent = names.get(referenced_table(raw, key))
            if parent is None:
                outside.append(f"{name} ({', '.join(key.columns)}) -> {key.references}")
                continue
            relationships.append(
                Relationship(
                    number=len(relationships),
                    child=name,
                    columns=tuple(key.columns),
                    parent=parent,
                    referenced_columns=tuple(key.referenced_columns),
                    where=key.where,
                    refers_to_key=set(key.referenced_columns)
                    == set(properties[parent].primary_key),
                )
            )
    keys = {name: properties[name].primary_key for name in tables}
    return SchemaGraph(stage, keys, tuple(relationships), tuple(outside))


TIMESTAMP = "timestamp"
TIMESTAMP_WITH_ZONE = "timestamp with time zone"

AS_TEXT = frozenset({"text", "enum", "uuid"})
"""Kinds that are ordered as their text is, by code point."""

ORDERED = AS_TEXT | {
    "integer", "numeric", "float", "date", "time", "interval", TIMESTAMP, TIMESTAMP_WITH_ZONE,
}  # fmt: skip
"""Kinds with a least and a greatest value."""

GROUPED = ORDERED | {"boolean", "bytea"}
"""Kinds whose values can be told apart."""

_TYPE_KINDS: tuple[tuple[type[sa.types.TypeEngine[Any]], str], ...] = (
    (sa.Boolean, "boolean"),
    (sa.Enum, "enum"),
    (sa.String, "text"),
    (sa.Integer, "integer"),
    (sa.Float, "float"),
    (sa.Numeric, "numeric"),
    (sa.Date, "date"),
    (sa.Time, "time"),
    (sa.Interval, "interval"),
    (postgresql.INTERVAL, "interval"),
    (sa.Uuid, "uuid"),
    (sa.LargeBinary, "bytea"),
)


def type_kind(type_: sa.types.TypeEngine[Any]) -> str:
    """Name the kind of a type."""
    if isinstance(type_, sa.DateTime):
        return TIMESTAMP_WITH_ZONE if type_.timezone else TIMESTAMP
    return next((name for kind, name in _TYPE_KINDS if isinstance(type_, kind)), str(type_))
