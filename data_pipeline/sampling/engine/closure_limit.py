"""The limit of a closure: how much of a table may come since other rows refer to it."""

from collections.abc import Iterable, Iterator, Mapping

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
    raise ConfigurationError(
        f"sample.closure_limit: of `{state.plan.graph.stage}/{table}`, {count:,} of {total:,} rows "
        f"or more would come since others refer to them, over the limit of {limit:g}. They come by "
        f"{shown}. {remedy(state.plan, tables, [item for item, _ in causes])}"
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


def remedy(plan: SamplePlan, tables: Mapping[str, sa.Table], items: Iterable[Relationship]) -> str:
    """Say what helps against what comes by relationships.

    Args:
        plan: What is chosen.
        tables: The relations of the source.
        items: The relationships.
    """
    cuts = [column for item in items if (column := _nullable(plan, tables, item)) is not None]
    advice = (
        f"Cut them (the reference is NULL where its row is missing), `cut: [{', '.join(cuts)}]`"
        if cuts
        else "None of these may be NULL and be cut"
    )
    return f"{advice}; or sample less of a root, or raise the limit."


def _nullable(plan: SamplePlan, tables: Mapping[str, sa.Table], item: Relationship) -> str | None:
    """Name a column of a relationship that can be cut."""
    columns, key = tables[item.child].c, plan.graph.keys[item.child]
    found = [name for name in item.columns if columns[name].nullable and name not in key]
    return f"{item.child}.{found[0]}" if found else None
