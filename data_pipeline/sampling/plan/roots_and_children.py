"""What becomes of each table of a stage: drawn, drawn with its root, referred to, or whole."""

from collections.abc import Mapping, Set
from dataclasses import dataclass
from enum import Enum

from data_pipeline.errors import ConfigurationError
from data_pipeline.sampling.plan.hubs_and_thresholds import listed
from data_pipeline.sampling.plan.schema_graph import Relationship, SchemaGraph


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


Way = str | tuple[str, ...]
"""The table that another one is drawn with, or the columns that refer to it."""


def table_plans(
    graph: SchemaGraph, roots: list[str], ways: Mapping[str, Way], whole: Set[str]
) -> dict[str, TablePlan]:
    """Return each table its part; owners are found by breadth first search from the roots.

    A child belongs to the parent on the shortest path to a root, unless it has a way of its own; of
    paths of equal length, the one to the first root counts, then the relationship that was declared
    first.

    Args:
        graph: The schema.
        roots: The roots.
        ways: For some tables, by which of its relationships it is a child.
        whole: The tables that are to come whole.

    Raises:
        ConfigurationError: A root has another part, too, or a way leads to no root.
    """
    check_parts(graph, roots, ways, whole)
    followed = {name: followed_relationship(graph, name, way) for name, way in ways.items()}
    found = {name: TablePlan(name, SamplePart.ROOT, root=name) for name in roots}
    queue = list(roots)
    for parent in queue:  # grows while it is gone through
        above = found[parent]
        for item in graph.of_parent(parent):
            is_way = followed.get(item.child, item) == item
            if is_way and item.child not in found and item.child not in whole:
                found[item.child] = TablePlan(
                    item.child, SamplePart.CHILD, above.root, item, above.level + 1
                )
                queue.append(item.child)
    for name, item in followed.items():
        if name not in found:
            raise ConfigurationError(
                f"sample.follow: `{graph.stage}/{name}` is to follow {item}, but no root reaches "
                f"`{item.parent}`. Make it a root, or let it follow one that is reached."
            )
    return found | _others(graph, found, whole)


def followed_relationship(graph: SchemaGraph, table: str, way: Way) -> Relationship:
    """Return the relationship that a way names.

    Raises:
        ConfigurationError: There is none, or there are several.
    """
    items = list(graph.of_child(table))
    if isinstance(way, str):
        named = (way, way.removeprefix(f"{graph.stage}/"))
        found = [item for item in items if item.parent in named]
        found = found or [item for item in items if item.columns == (way,)]
    else:
        found = [item for item in items if set(item.columns) == set(way)]
    if len(found) == 1:
        return found[0]
    where = f"sample.follow: `{graph.stage}/{table}`"
    if found:
        columns = " or ".join(f"{table}: [{', '.join(item.columns)}]" for item in found)
        raise ConfigurationError(
            f"{where} refers to `{way}` by several relationships. Name the columns of one: "
            f"{{{columns}}}."
        )
    known = listed(map(str, items)) or "none"
    raise ConfigurationError(
        f"{where} has no relationship by {way if isinstance(way, str) else list(way)}. Name the "
        f"table that it refers to, or a list of its referring columns. Its relationships: {known}."
    )


def check_parts(
    graph: SchemaGraph, roots: list[str], ways: Mapping[str, Way], whole: Set[str]
) -> None:
    """Check that no table has two parts.

    Raises:
        ConfigurationError: One has.
    """
    for key, names in (("whole", whole), ("follow", ways)):
        if both := [name for name in roots if name in names]:
            raise ConfigurationError(
                f"sample.{key}: `{graph.stage}/{both[0]}` is a root, which is drawn by itself. Take"
                f" it out of sample.{key}, or out of sample.roots."
            )
    if both := sorted(whole & ways.keys()):
        raise ConfigurationError(
            f"sample.follow: `{graph.stage}/{both[0]}` comes whole (sample.whole), and so with no "
            "other table. Take it out of one of them."
        )


def _others(
    graph: SchemaGraph, drawn: Mapping[str, TablePlan], whole: Set[str]
) -> dict[str, TablePlan]:
    """Return the parts of tables that are not drawn: referred to by what is there, or whole."""
    referred = [*drawn, *(name for name in graph.keys if name in whole)]
    for child in referred:  # grows while it is gone through
        referred += (r.parent for r in graph.of_child(child) if r.parent not in referred)
    return {
        name: TablePlan(
            name,
            SamplePart.REFERENCED if name in referred and name not in whole else SamplePart.WHOLE,
        )
        for name in graph.keys
        if name not in drawn
    }
