"""The plan of a sample: what becomes of each table, from the specification and the schema alone."""

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from enum import Enum
from typing import Any, TypeVar

from data_pipeline.errors import ConfigurationError
from data_pipeline.instances.settings.sample import CoverSettings, RootSettings, SampleSettings
from data_pipeline.sampling.plan.schema_graph import Relationship, SchemaGraph

_Setting = TypeVar("_Setting")


class SamplePart(Enum):
    """What part a table has in a sample."""

    ROOT = "root"
    CHILD = "child"
    REFERENCED = "referenced"
    WHOLE = "whole"


@dataclass(frozen=True)
class TablePlan:
    """What becomes of one table.

    Attributes:
        name: The table.
        part: Roots are sampled by the hash of their key, children with the root that they belong
            to; tables that are only referenced give what others refer to (all rows, if they are
            small); tables that have nothing to do with a root come whole.
        root: The root that a child belongs to; a root belongs to itself.
        owner: The relationship by which the rows of a child are chosen.
        level: How many relationships lead from a child to its root.
    """

    name: str
    part: SamplePart
    root: str | None = None
    owner: Relationship | None = None
    level: int = 0


@dataclass(frozen=True)
class SamplePlan:
    """The plan of a sample of one stage.

    Attributes:
        graph: The tables and their relationships.
        tables: What becomes of each, roots first and each child after the parent it belongs to.
        roots: How much of each root is sampled.
        settings: The specification.
        columns: The columns to cover by table; None: all columns of all tables.
        predicates: The predicates to cover, by table and name.
        pins: The rows that must be there, by table.
    """

    graph: SchemaGraph
    tables: Mapping[str, TablePlan]
    roots: Mapping[str, RootSettings]
    settings: SampleSettings
    columns: Mapping[str, tuple[str, ...]] | None = None
    predicates: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    pins: Mapping[str, tuple[Mapping[str, Any], ...]] = field(default_factory=dict)

    @property
    def salt(self) -> int:
        """What is added to every hash."""
        return self.settings.salt

    @property
    def cover(self) -> CoverSettings:
        """What must have a witness row."""
        return self.settings.cover

    @property
    def is_minimal(self) -> bool:
        """Whether only what keeps joins non-empty is asked for."""
        return self.settings.is_minimal

    def part(self, tables: Set[str]) -> "SamplePlan":
        """Return the plan for some of the tables, such that no relationship leads out of them."""
        graph = self.graph.part(tables)
        columns = self.columns
        return replace(
            self,
            graph=graph,
            tables={name: table for name, table in self.tables.items() if name in tables},
            roots={name: root for name, root in self.roots.items() if name in tables},
            columns=None if columns is None else _of(columns, tables),
            predicates=_of(self.predicates, tables),
            pins=_of(self.pins, tables),
        )

    def as_json(self) -> dict[str, Any]:
        """Return all that decides which rows are chosen, besides the source's data."""
        keep = {"salt", "hubs", "small_table_rows", "size"}
        of_tables = {
            "keys": [[name, list(key)] for name, key in self.graph.keys.items()],
            "relationships": [str(item) for item in self.graph.relationships],
            "columns": None if self.columns is None else _lists(self.columns),
            "predicates": {name: dict(item) for name, item in self.predicates.items()},
            "pins": {name: [_texts(pin) for pin in pins] for name, pins in self.pins.items()},
        }
        if not self.is_minimal and all(
            item.part is SamplePart.WHOLE for item in self.tables.values()
        ):
            # All rows come, whatever else is said of other tables.
            return of_tables | {"columns": of_tables["columns"] or {}}
        return {
            **of_tables,
            "roots": [[name, root.model_dump(mode="json")] for name, root in self.roots.items()],
            "fan_outs": self.cover.fan_outs,
            "category_limit": self.cover.category_limit,
            **self.settings.model_dump(mode="json", include=keep),
        }

    def owned_by(self, table: str) -> list[TablePlan]:
        """Return the tables whose rows are chosen with those of a table."""
        return [
            item
            for item in self.tables.values()
            if item.owner is not None and item.owner.parent == table
        ]


def sample_plan(settings: SampleSettings, graph: SchemaGraph) -> SamplePlan | None:
    """Return the plan for a stage; None where no root is among its tables.

    What is said of `table` is left to the stages that have one of that name; `check_samples` finds
    those that none has.

    Raises:
        ConfigurationError: The specification names a table of this stage, as `stage/table`, that it
            does not have, or a table with pins has no primary key.
    """
    if not any(_is_here(name, graph) for name in settings.roots):
        return None
    roots = _by_table(settings.roots, graph, "roots")
    columns = settings.cover.columns
    plan = SamplePlan(
        graph=graph,
        tables=_tables(graph, list(roots)),
        roots=roots,
        settings=settings,
        columns=None if columns is None else _by_table(columns, graph, "cover.columns"),
        predicates=_by_table(settings.cover.predicates, graph, "cover.predicates"),
        pins=_by_table(settings.pins, graph, "pins"),
    )
    for name in plan.pins:
        _check_key(graph, name)
    return plan


def _of(settings: Mapping[str, _Setting], tables: Set[str]) -> dict[str, _Setting]:
    return {name: value for name, value in settings.items() if name in tables}


def _lists(columns: Mapping[str, tuple[str, ...]]) -> dict[str, list[str]]:
    return {name: list(value) for name, value in columns.items()}


def _texts(pin: Mapping[str, Any]) -> dict[str, str]:
    return {name: str(value) for name, value in pin.items()}


def _is_here(name: str, graph: SchemaGraph) -> bool:
    stage, _, table = name.rpartition("/")
    return stage in ("", graph.stage) and table in graph.keys


def _by_table(
    settings: Mapping[str, _Setting], graph: SchemaGraph, key: str
) -> dict[str, _Setting]:
    """Return what is said of the tables of a stage, by their names there."""
    found: dict[str, _Setting] = {}
    for name, value in settings.items():
        stage, _, table = name.rpartition("/")
        is_elsewhere = not stage and table not in graph.keys
        if stage not in ("", graph.stage) or is_elsewhere:
            continue
        if table not in graph.keys:
            raise ConfigurationError(
                f"sample.{key}: stage `{graph.stage}` has no table `{table}`. "
                f"{_known(table, graph.keys)}"
            )
        if table in found:
            raise ConfigurationError(
                f"sample.{key}: `{table}` and `{graph.stage}/{table}` are the same table. Keep one."
            )
        found[table] = value
    return found


def _known(word: str, known: Iterable[str]) -> str:
    names = list(known)
    close = get_close_matches(word, names, n=1)
    question = f"Did you mean `{close[0]}`? " if close else ""
    return f"{question}Known here: {', '.join(f'`{name}`' for name in names)}."


def _check_key(graph: SchemaGraph, table: str) -> None:
    if not graph.keys[table]:
        raise ConfigurationError(
            f"sample.pins: rows of `{graph.stage}/{table}` cannot be pinned: its raw table has "
            "no primary key. Declare one, "
            "`@dg.asset(metadata=table_properties(primary_key=...))`, or leave the pins out."
        )


def _tables(graph: SchemaGraph, roots: list[str]) -> dict[str, TablePlan]:
    """Return each table its part; owners are found by breadth first search from the roots.

    A child belongs to the parent on the shortest path to a root; of paths of equal length, the one
    to the first root counts, then the relationship that was declared first.
    """
    found = {name: TablePlan(name, SamplePart.ROOT, root=name) for name in roots}
    queue = list(roots)
    for parent in queue:  # grows while it is gone through
        above = found[parent]
        for item in graph.of_parent(parent):
            if item.child not in found:
                found[item.child] = TablePlan(
                    item.child, SamplePart.CHILD, above.root, item, above.level + 1
                )
                queue.append(item.child)
    referenced = list(found)
    for child in referenced:
        referenced += (r.parent for r in graph.of_child(child) if r.parent not in referenced)
    for name in graph.keys:
        if name not in found:
            part = SamplePart.REFERENCED if name in referenced else SamplePart.WHOLE
            found[name] = TablePlan(name, part)
    return found
