"""The limit of a closure: how much of a table may come since other rows refer to it."""

from collections.abc import Iterator, Mapping, Sequence

import sqlalchemy as sa

from data_pipeline.errors import ConfigurationError
from data_pipeline.sampling.engine.selection_state import SelectionState
from data_pipeline.sampling.plan.rules import Role
from data_pipeline.sampling.plan.sample_plan import SamplePlan
from data_pipeline.sampling.plan.schema_graph import Relationship


def reference_reason(item: Relationship) -> str:
    """Say why a row is there that others refer to."""
    return f"referenced: {item}"


def check_limit(state: SelectionState, table: str) -> None:
    """Check how many rows of a table have come since others refer to them.

    Raises:
        ConfigurationError: More than `closure_limit` says.
    """
    limit, count = state.plan.settings.closure_limit, state.brought[table]
    if limit is None:
        return
    source = state.sources[table].table
    total = int(state.connection.scalar(sa.select(sa.func.count()).select_from(source)) or 0)
    if count <= limit * total:
        return
    causes, tables = list(_causes(state, table)), _tables(state)
    shown = ", ".join(f"{item}: {number:,}" for item, number in causes)
    found = [(cut_of(state.plan, tables, item), number) for item, number in causes]
    cuts = [cut for cut, _ in found if cut is not None]
    fixed = sum(number for cut, number in found if cut is None)
    raise ConfigurationError(
        f"sample.closure_limit: of `{state.plan.graph.stage}/{table}`, {count:,} of {total:,} rows "
        f"or more would come since others refer to them, over the limit of {limit:g}. They come by "
        f"{shown}. {remedy(cuts, suffice=fixed <= limit * total)}"
    )


def _causes(state: SelectionState, table: str) -> Iterator[tuple[Relationship, int]]:
    chosen = state.rows[table]
    query = (
        sa.select(chosen.c.reason, sa.func.count())
        .where(chosen.c.role == int(Role.REFERENCE))
        .group_by(chosen.c.reason)
    )
    counts = {str(reason): int(number) for reason, number in state.connection.execute(query)}
    items = {reference_reason(item): item for item in state.plan.graph.of_parent(table)}
    for reason, number in sorted(counts.items(), key=lambda pair: -pair[1]):
        yield items[reason], number


def _tables(state: SelectionState) -> dict[str, sa.Table]:
    return {name: source.table for name, source in state.sources.items()}


def remedy(cuts: Sequence[str], *, suffice: bool) -> str:
    """Say what helps against what comes by relationships.

    Args:
        cuts: The columns of these that can be cut.
        suffice: Whether few enough come by the others.
    """
    named = f"`cut: [{', '.join(cuts)}]`"
    if not cuts:
        advice = "None of these may be NULL and be cut"
    elif suffice:
        advice = f"Cut them (the reference is NULL where its row is missing), {named}"
    else:
        advice = f"Too many come by those that may not be NULL, so {named} does not suffice"
    return f"{advice}; or sample less of a root, or raise the limit."


def cut_of(plan: SamplePlan, tables: Mapping[str, sa.Table], item: Relationship) -> str | None:
    """Name a column of a relationship that can be cut.

    Args:
        plan: What is chosen.
        tables: The relations of the source.
        item: The relationship.
    """
    columns, key = tables[item.child].c, plan.graph.keys[item.child]
    found = [name for name in item.columns if columns[name].nullable and name not in key]
    return f"{item.child}.{found[0]}" if found else None
