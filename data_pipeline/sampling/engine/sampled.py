"""The sampled rows: of roots by the hash of their key, of children with their root."""

from collections.abc import Callable
from dataclasses import astuple
from functools import partial
from typing import Any

import sqlalchemy as sa

from data_pipeline.errors import ConfigurationError
from data_pipeline.instances.settings.sample import RootSettings
from data_pipeline.sampling.engine.fan_outs import lie_together, refer_to_all
from data_pipeline.sampling.engine.outputs import drawn_unit, output_rows, write_drawn
from data_pipeline.sampling.engine.sampling_number import (
    is_direct,
    own_hash,
    own_number,
    parent_rows,
    reference_columns,
)
from data_pipeline.sampling.engine.selection_state import SelectionState
from data_pipeline.sampling.engine.source_tables import (
    TID,
    matches,
    refers,
    values_referred_to,
)
from data_pipeline.sampling.engine.workspace import no_rows, row_columns
from data_pipeline.sampling.key_hash import key_hash_sql, permanent_random_sql
from data_pipeline.sampling.plan.hubs_and_thresholds import Role, SampleThreshold, listed
from data_pipeline.sampling.plan.roots_and_children import SamplePart, TablePlan
from data_pipeline.sampling.plan.sample_plan import SamplePlan
from data_pipeline.sampling.plan.schema_graph import Relationship
from data_pipeline.store.table_properties import KEY_DECLARATION

_Condition = sa.ColumnElement[bool]

_FEW = 0.2
"""Up to this share of rows, sending them to one process takes less than it saves to share a scan.

The planner, which cannot know how many rows have low hashes, would expect a third.
"""


_FETCHED = 0.02
"""Up to this share of roots, their children are found by an index sooner than by reading all, if
those of a root lie together."""


def draw(state: SelectionState) -> None:
    """Choose the sampled rows of all tables that do not come whole."""
    for table in state.plan.tables.values():
        threshold = state.thresholds.get(table.root or table.name)
        if threshold is not None and threshold.below is None:
            state.take_whole(table.name)
        if table.name in state.whole:
            continue
        if table.name in state.complete:
            every = _all_rows(state, table.name)
            state.rows[table.name], _ = state.space.create(every, "rows", table.name)
            continue
        if threshold is None:
            _start_empty(state, table.name)
            continue
        if (condition := _own_condition(state, table, threshold)) is not None:
            _start_empty(state, table.name)
            with state.space.expecting_few_rows(if_=threshold.share <= _FEW):
                write_drawn(
                    state,
                    table.name,
                    threshold.probability,
                    threshold.drawn,
                    condition,
                    _children_by_index(state, table, threshold),
                )
            continue
        parts = (
            _root(state, table, threshold)
            if table.owner is None
            else _child(state, table, threshold)
        )
        query = parts[0] if len(parts) == 1 else sa.union_all(*parts)
        with (
            state.space.expecting_few_rows(if_=threshold.share <= _FEW),
            state.space.without_nested_loops(if_=state.is_restricted(table.name)),
        ):
            state.rows[table.name], _ = state.space.create(query, "rows", table.name)


def _start_empty(state: SelectionState, table: str) -> None:
    state.rows[table], _ = state.space.create(no_rows(), "rows", table, analyzed=False)


def _own_condition(
    state: SelectionState, table: TablePlan, threshold: SampleThreshold
) -> Callable[[sa.FromClause], _Condition] | None:
    """Return the condition of drawn rows on their own columns, if their copy is to be written."""
    item = table.owner
    if table.name not in state.space.outputs or (table.root or table.name) in state.hubs:
        return None
    owners = (child.owner for child in state.plan.owned_by(table.name))
    if any(owner is not None and not owner.refers_to_key for owner in owners):
        return None  # some rows would have to be found among those that look alike
    source = state.sources[table.name]
    if item is None:
        return lambda rows: sa.and_(
            *source.meets_where(rows), _below(own_number(state, table.name, rows), threshold)
        )
    if threshold.drawn is not None:
        return None
    outside = _outside(state, item.parent, threshold)

    def condition(rows: sa.FromClause) -> _Condition:
        value = reference_columns(state, item, rows)
        number = permanent_random_sql(value, state.salt)
        own = _below(own_number(state, item.child, rows), threshold)
        low = sa.case((sa.not_(refers(item, rows)), own), else_=_below(number, threshold))
        if outside is None:
            return sa.and_(*source.meets_where(rows), low)
        same = (outside.c[f"k{i}"] == column for i, column in enumerate(value))
        belongs = sa.exists().select_from(outside).where(refers(item, rows), *same)
        return sa.and_(*source.meets_where(rows), low, ~belongs)

    return condition


def _children_by_index(
    state: SelectionState, table: TablePlan, threshold: SampleThreshold
) -> sa.Subquery | None:
    """Return the children of drawn roots, as an index finds them; None: read all rows instead.

    That takes less for few of them, and is possible where no child is drawn without its root.
    """
    item, source = table.owner, state.sources[table.name].table
    if item is None or threshold.share > _FETCHED or state.is_restricted(table.name):
        return None
    if item.where is not None or any(source.c[name].nullable for name in item.columns):
        return None  # those that refer to nothing are drawn by themselves
    if item.parent not in state.outputs or item.number not in state.fan_outs:
        return None
    is_near = lie_together(state, item) and _is_indexed(state, item)
    if not is_near or not refer_to_all(state, item):
        return None
    parents = output_rows(state, item.parent, "parent")
    return state.sources[table.name].rows_of(item, parents, "drawn")


def _is_indexed(state: SelectionState, item: Relationship) -> bool:
    """Whether rows of a child are found by an index of the columns that refer."""
    table, columns = state.sources[item.child].table, {*item.columns}
    found = sa.inspect(state.connection).get_pk_constraint(table.name, table.schema)
    return {*found["constrained_columns"][: len(columns)]} == columns


def _outside(state: SelectionState, root: str, threshold: SampleThreshold) -> sa.TableClause | None:
    """Return the keys of rows of a root that would be drawn, but are outside of its population."""
    source = state.sources[root]
    if source.where is None:
        return None
    if root not in state.outside:
        rows = source.all_rows("root")
        keys = [column.label(f"k{i}") for i, column in enumerate(source.key_of(rows))]
        low = _below(own_number(state, root, rows), threshold)
        query = sa.select(*keys).where(low, *map(sa.not_, source.meets_where(rows)))
        state.outside[root], _ = state.space.create(query, "outside", root)
    return state.outside[root]


def find_threshold(state: SelectionState, root: str, settings: RootSettings) -> SampleThreshold:
    """Find which rows of a root are sampled.

    A number of rows is reached with the hubs, which come anyhow; of the others, those with the
    lowest hashes are a simple random sample without replacement.

    Raises:
        ConfigurationError: A number of rows of a table without a primary key, of hubs alone, or
            larger than the table.
    """
    if settings.rows is None:
        return SampleThreshold.of_rate(1.0 if settings.rate is None else settings.rate)
    graph = state.plan.graph
    if not graph.keys[root]:
        raise ConfigurationError(
            f"sample.roots: {settings.rows} rows of `{graph.stage}/{root}` cannot be drawn: its "
            "raw table has no primary key, so rows that are equal come all together or not at all. "
            f"Declare one, {KEY_DECLARATION}, or give a rate instead."
        )
    hubs = _places_of_hubs(state, root)
    found = state.fact(
        f"{settings.rows} rows of {root}",
        [root],
        [settings.rows, hubs],
        partial(_threshold_of_rows, state, root, settings.rows, len(hubs)),
    )
    return SampleThreshold(*found)


def _places_of_hubs(state: SelectionState, root: str) -> list[str]:
    hubs = state.hubs.get(root)
    return (
        [] if hubs is None else sorted(map(str, state.connection.scalars(sa.select(hubs.c[TID]))))
    )


def _threshold_of_rows(state: SelectionState, root: str, rows: int, hubs: int) -> list[Any]:
    """Return the threshold for a number of rows of a root, as JSON can hold it."""
    stage, source = state.plan.graph.stage, state.sources[root].rows("root")
    others: sa.Select[Any] = sa.select(own_number(state, root, source).label("number"))
    if (table := state.hubs.get(root)) is not None:
        others = others.where(~sa.exists().where(table.c[TID] == source.c[TID]))
    count = sa.select(sa.func.count()).select_from(source)
    total = int(state.connection.scalar(count) or 0) - hubs
    if rows > total + hubs:
        raise ConfigurationError(
            f"sample.roots: {rows:,} rows of `{stage}/{root}` cannot be drawn: it has "
            f"{total + hubs:,}. Ask for fewer, or for all: {{rate: 1}}."
        )
    if rows - hubs == total:
        return list(astuple(SampleThreshold(None, 1.0, 1.0)))
    wanted = rows - hubs
    if wanted < 1:
        raise ConfigurationError(
            f"sample.roots: {rows} rows of `{stage}/{root}` are too few: {hubs} of its rows are "
            "hubs, which come for certain. Ask for more rows, or set sample.hubs to a larger "
            "number of children, or to off."
        )
    last = others.order_by("number").offset(wanted - 1).limit(1)
    number = int(state.connection.execute(last).scalar_one())
    return list(astuple(SampleThreshold.of_rows(wanted, total, number)))


def _below(number: sa.ColumnElement[int], threshold: SampleThreshold) -> _Condition:
    return number < sa.cast(sa.literal(threshold.below, sa.BigInteger), sa.BigInteger)


def _row(
    state: SelectionState,
    table: str,
    rows: sa.FromClause,
    probability: Any,
    unit: sa.ColumnElement[int],
    sample_size: sa.ColumnElement[Any] | None = None,
) -> list[sa.ColumnElement[Any]]:
    value = sa.literal(probability) if isinstance(probability, float) else probability
    role = sa.case((value == 1.0, int(Role.CERTAIN)), else_=int(Role.SAMPLED))
    columns = row_columns(rows.c[TID], role, value, unit, sample_size)
    for item in state.plan.graph.of_child(table):
        if not state.came_with_parent(item):
            columns += values_referred_to(item, rows)
    return columns


def _all_rows(state: SelectionState, table: str) -> sa.Select[Any]:
    """Choose all rows of a population, for certain."""
    rows = state.sources[table].rows("population")
    return sa.select(*_row(state, table, rows, 1.0, own_hash(state, table, rows)))


def _root(
    state: SelectionState, table: TablePlan, threshold: SampleThreshold
) -> list[sa.Select[Any]]:
    rows = state.sources[table.name].rows("root")
    unit = own_hash(state, table.name, rows)
    low = _below(own_number(state, table.name, rows), threshold)
    drawn = sa.literal(threshold.drawn, sa.BigInteger)
    hubs = state.hubs.get(table.name)
    if hubs is None:
        return [
            sa.select(*_row(state, table.name, rows, threshold.probability, unit, drawn)).where(low)
        ]
    is_hub = hubs.c[TID].is_not(None)
    probability = sa.case((is_hub, 1.0), else_=threshold.probability)
    key = state.key_of(table.name, rows)
    unit = sa.case((is_hub, key_hash_sql(key, threshold.salt_of_certain(state.salt))), else_=unit)
    of_hub: sa.ColumnElement[Any] = sa.case((is_hub, sa.null()), else_=drawn)
    return [
        sa.select(*_row(state, table.name, rows, probability, unit, of_hub))
        .select_from(rows.outerjoin(hubs, hubs.c[TID] == rows.c[TID]))
        .where(sa.or_(is_hub, low))
    ]


def _child(
    state: SelectionState, table: TablePlan, threshold: SampleThreshold
) -> list[sa.Select[Any]]:
    if table.owner is None:
        raise AssertionError(f"{table.name} has no owner")
    if is_direct(state, table.owner) and threshold.drawn is None:
        return [_direct(state, table.owner, threshold)]
    return [
        _with_parents(state, table.owner, threshold),
        _without_parent(state, table.owner, threshold),
    ]


def _direct(
    state: SelectionState, item: Relationship, threshold: SampleThreshold
) -> sa.Select[Any]:
    """Choose children of a root by the root's key, which they have: no join is needed.

    With a simple random sample of roots it is, since dangling references are no part of that.
    """
    rows = state.sources[item.child].rows("child")
    value = reference_columns(state, item, rows)
    own, own_unit = own_number(state, item.child, rows), own_hash(state, item.child, rows)
    number, unit = permanent_random_sql(value, state.salt), key_hash_sql(value, state.salt)
    alone = sa.not_(refers(item, rows))
    joined: sa.FromClause = rows
    certain: _Condition | None = None
    hubs = state.hubs.get(item.parent)
    if hubs is not None:
        same = (hubs.c[f"k{i}"] == column for i, column in enumerate(value))
        joined = rows.outerjoin(hubs, sa.and_(refers(item, rows), *same))
        thinned = hubs.c.get(f"thinned_{item.number}")
        certain = hubs.c[TID].is_not(None)
        if thinned is not None:
            alone = sa.or_(alone, thinned.is_(sa.true()))
    chosen = [(alone, _below(own, threshold))]
    probability: list[tuple[_Condition, Any]] = [(alone, threshold.share)]
    units = [(alone, own_unit)]
    if certain is not None:
        chosen.append((certain, sa.true()))
        probability.append((certain, 1.0))
        units.append((certain, key_hash_sql(value, threshold.salt_of_certain(state.salt))))
    return (
        sa.select(
            *_row(
                state,
                item.child,
                rows,
                sa.case(*probability, else_=threshold.probability),
                sa.case(*units, else_=unit),
            )
        )
        .select_from(joined)
        .where(sa.case(*chosen, else_=_below(number, threshold)))
    )


def _with_parents(
    state: SelectionState, item: Relationship, threshold: SampleThreshold
) -> sa.Select[Any]:
    """Choose the children of chosen parents; of a hub, some of them."""
    rows = state.sources[item.child].rows("child")
    parents = _chosen_parents(state, item, threshold).subquery("chosen_parents")
    joined = rows.join(parents, matches(item, rows, parents))
    hubs = state.hubs.get(item.parent)
    if hubs is None or f"thinned_{item.number}" not in hubs.c:
        facts = (parents.c.probability, parents.c.unit, parents.c.sample_size)
        return sa.select(*_row(state, item.child, rows, *facts)).select_from(joined)
    thinned = hubs.c[f"thinned_{item.number}"].is_(sa.true())
    own, own_unit = own_number(state, item.child, rows), _own_unit(state, item, rows, threshold)
    return (
        sa.select(
            *_row(
                state,
                item.child,
                rows,
                sa.case((thinned, threshold.share), else_=parents.c.probability),
                sa.case((thinned, own_unit), else_=parents.c.unit),
                sa.case((thinned, sa.null()), else_=parents.c.sample_size),
            )
        )
        .select_from(joined.outerjoin(hubs, hubs.c[TID] == parents.c[TID]))
        .where(sa.case((thinned, _below(own, threshold)), else_=sa.true()))
    )


def _chosen_parents(
    state: SelectionState, item: Relationship, threshold: SampleThreshold
) -> sa.Select[Any]:
    """Return the drawn rows of a parent, with their probability, unit and sample size."""
    if item.parent in state.outputs:
        above: sa.FromClause = output_rows(state, item.parent, "parent")
        return sa.select(
            above,
            sa.literal(threshold.probability, sa.Double).label("probability"),
            drawn_unit(state.plan, state.sources[item.parent], above).label("unit"),
            sa.cast(threshold.drawn, sa.BigInteger).label("sample_size"),
        )
    chosen = state.rows[item.parent]
    above = parent_rows(state, item, "parent")
    facts = (chosen.c.probability, chosen.c.unit, chosen.c.sample_size)
    return sa.select(above, *facts).join(chosen, chosen.c[TID] == above.c[TID])


def _without_parent(
    state: SelectionState, item: Relationship, threshold: SampleThreshold
) -> sa.Select[Any]:
    """Choose children that refer to nothing by themselves; those that dangle, by what they name."""
    rows = state.sources[item.child].rows("child")
    parent = state.sources[item.parent].all_rows("parent")
    alone, value = sa.not_(refers(item, rows)), reference_columns(state, item, rows)
    own = own_number(state, item.child, rows), _own_unit(state, item, rows, threshold)
    named = permanent_random_sql(value, state.salt)
    unit = key_hash_sql(value, threshold.salt_of_others(state.salt))
    unit = sa.case((alone, own[1]), else_=unit)
    low = sa.case((alone, _below(own[0], threshold)), else_=_below(named, threshold))
    return sa.select(*_row(state, item.child, rows, threshold.share, unit)).where(
        low, ~sa.exists().select_from(parent).where(matches(item, rows, parent))
    )


def _own_unit(
    state: SelectionState, item: Relationship, rows: sa.FromClause, threshold: SampleThreshold
) -> sa.ColumnElement[int]:
    """Return the unit of children that are drawn by themselves."""
    key = state.key_of(item.child, rows)
    return key_hash_sql(key, threshold.salt_of_others(state.salt))


def tables_that_come_whole(state: SelectionState) -> set[str]:
    """Name the tables of which every row comes: chosen ones, and small ones that are not drawn.

    Raises:
        ConfigurationError: No root reaches a table that is not small, and it was not chosen.
    """
    chosen = set(state.plan.whole)
    if state.plan.is_minimal:
        return chosen
    limit = state.plan.settings.small_table_rows
    others = [
        table
        for table in state.plan.tables.values()
        if not state.is_sampled(table.name) and table.name not in chosen
    ]
    small = {table.name for table in others if _has_at_most(state, table.name, limit)}
    if large := [t.name for t in others if t.part is SamplePart.WHOLE and t.name not in small]:
        raise ConfigurationError(unreached(state.plan, large))
    return chosen | small


def unreached(plan: SamplePlan, tables: list[str]) -> str:
    """Say that tables would come whole, and with what they refer to, and what the choices are."""
    stage, names = plan.graph.stage, listed(tables)
    first, limit = tables[0], plan.settings.small_table_rows
    above = listed(dict.fromkeys(item.parent for item in plan.graph.of_child(first)))
    with_parent = f" (or make one of {above} a root, with which it is drawn)" if above else ""
    return (
        f"sample: no root reaches {names} of stage `{stage}`, which have more than {limit:,} rows "
        "(small_table_rows) and would come whole, with all that they refer to. Choose for each:\n"
        f"  roots: {{{first}: {{rate: 0.05}}}}  # drawn by itself{with_parent}\n"
        f"  whole: [{', '.join(tables)}]  # all rows\n"
        f"  small_table_rows: ...  # a number that is not below that of its rows"
    )


def _has_at_most(state: SelectionState, table: str, limit: int) -> bool:
    some = (
        sa.select(sa.literal(1)).select_from(state.sources[table].rows("counted")).limit(limit + 1)
    )
    count = sa.select(sa.func.count()).select_from(some.subquery("some"))
    return int(state.connection.scalar(count) or 0) <= limit
