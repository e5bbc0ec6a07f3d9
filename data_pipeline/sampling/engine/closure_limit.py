"""The limit of a closure: how much of a table may come since other rows refer to it."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import sqlalchemy as sa

from data_pipeline.errors import ConfigurationError
from data_pipeline.sampling.plan.hubs_and_thresholds import Role
from data_pipeline.sampling.plan.sample_plan import SamplePlan, with_cuts
from data_pipeline.sampling.plan.schema_graph import Relationship

if TYPE_CHECKING:
    from data_pipeline.sampling.engine.selection import Selection
    from data_pipeline.sampling.engine.selection_state import SelectionState


@dataclass(frozen=True)
class Breach:
    """More of a table comes since others refer to it than the limit allows.

    Attributes:
        text: What comes, and by which relationships, in words.
        cuts: The references among these that can be cut.
    """

    text: str
    cuts: tuple[str, ...]


class ClosureLimitError(ConfigurationError):
    """More of some tables comes since others refer to them than `closure_limit` allows.

    Attributes:
        breaches: Of which tables.
        note: What is to be said of rates, if they were chosen.
    """

    def __init__(self, breaches: Iterable[Breach], note: str | None = None) -> None:
        self.breaches, self.note = tuple(breaches), note
        super().__init__(f"sample.closure_limit: {' '.join(item.text for item in self.breaches)}")


def reference_reason(item: Relationship) -> str:
    """Say why a row is there that others refer to."""
    return f"referenced: {item}"


def check_limit(
    connection: sa.Connection,
    chosen: "SelectionState | Selection",
    tables: Iterable[str],
    limit: float | None,
    note: str | None = None,
) -> None:
    """Check how many rows of some tables have come since others refer to them.

    Args:
        connection: To the source.
        chosen: The chosen rows.
        tables: The tables.
        limit: The part of their rows; None: all may come.
        note: What is to be said of rates, if they were chosen.

    Raises:
        ClosureLimitError: More than the limit.
    """
    if limit is not None:
        found = (_breach(connection, chosen, table, limit) for table in tables)
        if breaches := list(filter(None, found)):
            raise ClosureLimitError(breaches, note)


def _breach(
    connection: sa.Connection, chosen: "SelectionState | Selection", table: str, limit: float
) -> Breach | None:
    count, source = chosen.brought[table], chosen.sources[table].table
    total = int(connection.scalar(sa.select(sa.func.count()).select_from(source)) or 0)
    if count <= limit * total:
        return None
    causes = dict(_causes(connection, chosen, table))
    tables = {name: source.table for name, source in chosen.sources.items()}
    shown = ", ".join(f"{item}: {number:,}" for item, number in causes.items())
    return Breach(
        f"Of `{chosen.plan.graph.stage}/{table}`, {count:,} of {total:,} rows or more would come "
        f"since others refer to them, over the limit of {limit:g}. They come by {shown}.",
        cuts_of(chosen.plan, tables, causes),
    )


def _causes(
    connection: sa.Connection, chosen: "SelectionState | Selection", table: str
) -> Iterator[tuple[Relationship, int]]:
    if (rows := chosen.rows.get(table)) is None:
        return
    query = (
        sa.select(rows.c.reason, sa.func.count())
        .where(rows.c.role == int(Role.REFERENCE))
        .group_by(rows.c.reason)
    )
    counts = {str(reason): int(number) for reason, number in connection.execute(query)}
    items = {reference_reason(item): item for item in chosen.plan.graph.of_parent(table)}
    for reason, number in sorted(counts.items(), key=lambda pair: -pair[1]):
        yield items[reason], number


def cuts_of(
    plan: SamplePlan, tables: Mapping[str, sa.Table], items: Iterable[Relationship]
) -> tuple[str, ...]:
    """Return the references of some relationships that can be cut.

    Args:
        plan: What is chosen.
        tables: The relations of the source.
        items: The relationships.
    """
    found = (_cut_of(plan, tables, item) for item in items)
    return tuple(cut for cut in found if cut is not None)


def _cut_of(plan: SamplePlan, tables: Mapping[str, sa.Table], item: Relationship) -> str | None:
    columns, key = tables[item.child].c, plan.graph.keys[item.child]
    found = [name for name in item.columns if columns[name].nullable and name not in key]
    return f"{item.child}.{found[0]}" if found else None


def refusal(
    plan: SamplePlan, error: ClosureLimitError, breaches: Callable[[SamplePlan], Sequence[Breach]]
) -> str:
    """Say what is over the limit, and what helps against it, which is tried.

    Args:
        plan: What was chosen.
        error: What is over the limit.
        breaches: Returns what is over the limit by another plan.
    """
    cuts, left = list(plan.settings.cut), error.breaches
    while new := [cut for item in left for cut in item.cuts if cut not in cuts]:
        cuts += dict.fromkeys(new)
        left = tuple(breaches(with_cuts(plan, cuts)))
    named = f"`cut: [{', '.join(cuts)}]`"
    if cuts == list(plan.settings.cut):
        advice = "None of these may be NULL and be cut"
    elif left:
        advice = f"Too many come by those that may not be NULL, so {named} does not suffice"
    else:
        advice = f"Cut them (the reference is NULL where its row is missing), {named}"
    note = f"{error.note}. " if error.note else ""
    return f"{error} {note}{advice}; or sample less of a root, or raise the limit."
