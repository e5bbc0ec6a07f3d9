"""The sampled rows: of roots by the hash of their key, of children with their root."""

from typing import Any

import sqlalchemy as sa

from data_pipeline.instances.settings.sample import RootSettings
from data_pipeline.sampling.engine.sampling_number import (
    is_direct,
    own_hash,
    own_number,
    parent_rows,
    reference_columns,
)
from data_pipeline.sampling.engine.selection_state import Drawing, no_rows, row_columns
from data_pipeline.sampling.engine.source_tables import (
    TID,
    matches,
    refers,
    values_referred_to,
)
from data_pipeline.sampling.key_hash import key_hash_sql, permanent_random_sql
from data_pipeline.sampling.plan.rules import Cut, Role, check_key_of_root, rows_besides_hubs
from data_pipeline.sampling.plan.sample_plan import SamplePart, TablePlan
from data_pipeline.sampling.plan.schema_graph import Relationship

_Condition = sa.ColumnElement[bool]

_FEW = 0.2
"""Up to this share of rows, sending them to one process takes less than it saves to share a scan.

The planner, which cannot know how many rows have low hashes, would expect a third.
"""


def draw(drawing: Drawing) -> None:
    """Choose the sampled rows of all tables that do not come whole."""
    for table in drawing.plan.tables.values():
        if table.name in drawing.whole:
            continue
        if not drawing.is_sampled(table.name):
            drawing.rows[table.name], _ = drawing.space.create(no_rows(), "rows", table.name)
            continue
        cut = drawing.cuts[table.root or table.name]
        if cut.below is None:
            drawing.whole.add(table.name)
            continue
        parts = _root(drawing, table, cut) if table.owner is None else _child(drawing, table, cut)
        query = parts[0] if len(parts) == 1 else sa.union_all(*parts)
        with drawing.space.expecting_few_rows(if_=cut.share <= _FEW):
            drawing.rows[table.name], _ = drawing.space.create(query, "rows", table.name)


def find_cut(drawing: Drawing, root: str, settings: RootSettings) -> Cut:
    """Find which rows of a root are sampled.

    A number of rows is reached with the hubs, which come anyhow; of the others, those with the
    lowest hashes are a simple random sample without replacement.
    """
    if settings.rows is None:
        return Cut.of_rate(1.0 if settings.rate is None else settings.rate)
    graph = drawing.plan.graph
    check_key_of_root(f"{graph.stage}/{root}", graph.keys[root], settings.rows)
    source = drawing.sources[root].rows("root")
    others: sa.Select[Any] = sa.select(own_number(drawing, root, source).label("number"))
    count = sa.select(sa.func.count()).select_from(source)
    hubs = 0
    if (table := drawing.hubs.get(root)) is not None:
        others = others.where(~sa.exists().where(table.c[TID] == source.c[TID]))
        hubs = int(drawing.connection.scalar(sa.select(sa.func.count()).select_from(table)) or 0)
    total = int(drawing.connection.scalar(count) or 0) - hubs
    if settings.rows - hubs >= total:
        return Cut(None, 1.0, 1.0)
    wanted = rows_besides_hubs(f"{graph.stage}/{root}", settings.rows, hubs)
    last = others.order_by("number").offset(wanted - 1).limit(1)
    return Cut.of_rows(wanted, total, int(drawing.connection.execute(last).scalar_one()))


def _below(number: sa.ColumnElement[int], cut: Cut) -> _Condition:
    return number < sa.cast(sa.literal(cut.below, sa.BigInteger), sa.BigInteger)


def _row(
    drawing: Drawing,
    table: str,
    rows: sa.FromClause,
    probability: Any,
    unit: sa.ColumnElement[int],
    sample_size: sa.ColumnElement[Any] | None = None,
) -> list[sa.ColumnElement[Any]]:
    value = sa.literal(probability) if isinstance(probability, float) else probability
    role = sa.case((value == 1.0, int(Role.CERTAIN)), else_=int(Role.SAMPLED))
    columns = row_columns(rows.c[TID], role, value, unit, sample_size)
    for item in drawing.plan.graph.of_child(table):
        if not drawing.came_with_parent(item):
            columns += values_referred_to(item, rows)
    return columns


def _root(drawing: Drawing, table: TablePlan, cut: Cut) -> list[sa.Select[Any]]:
    rows = drawing.sources[table.name].rows("root")
    unit = own_hash(drawing, table.name, rows)
    low = _below(own_number(drawing, table.name, rows), cut)
    drawn = sa.literal(cut.drawn, sa.BigInteger)
    hubs = drawing.hubs.get(table.name)
    if hubs is None:
        return [
            sa.select(*_row(drawing, table.name, rows, cut.probability, unit, drawn)).where(low)
        ]
    is_hub = hubs.c[TID].is_not(None)
    probability = sa.case((is_hub, 1.0), else_=cut.probability)
    key = drawing.key_of(table.name, rows)
    unit = sa.case((is_hub, key_hash_sql(key, cut.salt_of_certain(drawing.salt))), else_=unit)
    of_hub: sa.ColumnElement[Any] = sa.case((is_hub, sa.null()), else_=drawn)
    return [
        sa.select(*_row(drawing, table.name, rows, probability, unit, of_hub))
        .select_from(rows.outerjoin(hubs, hubs.c[TID] == rows.c[TID]))
        .where(sa.or_(is_hub, low))
    ]


def _child(drawing: Drawing, table: TablePlan, cut: Cut) -> list[sa.Select[Any]]:
    if table.owner is None:
        raise AssertionError(f"{table.name} has no owner")
    if is_direct(drawing, table.owner) and cut.drawn is None:
        return [_direct(drawing, table.owner, cut)]
    return [
        _with_parents(drawing, table.owner, cut),
        _without_reference(drawing, table.owner, cut),
        _dangling(drawing, table.owner, cut),
    ]


def _direct(drawing: Drawing, item: Relationship, cut: Cut) -> sa.Select[Any]:
    """Choose children of a root by the root's key, which they have: no join is needed.

    With a simple random sample of roots it is, since dangling references are no part of that.
    """
    rows = drawing.sources[item.child].rows("child")
    value = reference_columns(drawing, item, rows)
    own, own_unit = own_number(drawing, item.child, rows), own_hash(drawing, item.child, rows)
    number, unit = permanent_random_sql(value, drawing.salt), key_hash_sql(value, drawing.salt)
    alone = sa.not_(refers(item, rows))
    joined: sa.FromClause = rows
    certain: _Condition | None = None
    hubs = drawing.hubs.get(item.parent)
    if hubs is not None:
        same = (hubs.c[f"k{i}"] == column for i, column in enumerate(value))
        joined = rows.outerjoin(hubs, sa.and_(refers(item, rows), *same))
        thinned = hubs.c.get(f"thinned_{item.number}")
        certain = hubs.c[TID].is_not(None)
        if thinned is not None:
            alone = sa.or_(alone, thinned.is_(sa.true()))
    chosen = [(alone, _below(own, cut))]
    probability: list[tuple[_Condition, Any]] = [(alone, cut.share)]
    units = [(alone, own_unit)]
    if certain is not None:
        chosen.append((certain, sa.true()))
        probability.append((certain, 1.0))
        units.append((certain, key_hash_sql(value, cut.salt_of_certain(drawing.salt))))
    return (
        sa.select(
            *_row(
                drawing,
                item.child,
                rows,
                sa.case(*probability, else_=cut.probability),
                sa.case(*units, else_=unit),
            )
        )
        .select_from(joined)
        .where(sa.case(*chosen, else_=_below(number, cut)))
    )


def _with_parents(drawing: Drawing, item: Relationship, cut: Cut) -> sa.Select[Any]:
    """Choose the children of chosen parents; of a hub, some of them."""
    rows = drawing.sources[item.child].rows("child")
    chosen = drawing.rows[item.parent]
    above = parent_rows(drawing, item, "parent")
    parents = (
        sa.select(above, chosen.c.probability, chosen.c.unit, chosen.c.sample_size)
        .join(chosen, chosen.c[TID] == above.c[TID])
        .subquery("chosen_parents")
    )
    joined = rows.join(parents, matches(item, rows, parents))
    hubs = drawing.hubs.get(item.parent)
    if hubs is None or f"thinned_{item.number}" not in hubs.c:
        facts = (parents.c.probability, parents.c.unit, parents.c.sample_size)
        return sa.select(*_row(drawing, item.child, rows, *facts)).select_from(joined)
    thinned = hubs.c[f"thinned_{item.number}"].is_(sa.true())
    own, own_unit = own_number(drawing, item.child, rows), _own_unit(drawing, item, rows, cut)
    return (
        sa.select(
            *_row(
                drawing,
                item.child,
                rows,
                sa.case((thinned, cut.share), else_=parents.c.probability),
                sa.case((thinned, own_unit), else_=parents.c.unit),
                sa.case((thinned, sa.null()), else_=parents.c.sample_size),
            )
        )
        .select_from(joined.outerjoin(hubs, hubs.c[TID] == parents.c[TID]))
        .where(sa.case((thinned, _below(own, cut)), else_=sa.true()))
    )


def _without_reference(drawing: Drawing, item: Relationship, cut: Cut) -> sa.Select[Any]:
    rows = drawing.sources[item.child].rows("child")
    own, unit = own_number(drawing, item.child, rows), _own_unit(drawing, item, rows, cut)
    return sa.select(*_row(drawing, item.child, rows, cut.share, unit)).where(
        sa.not_(refers(item, rows)), _below(own, cut)
    )


def _dangling(drawing: Drawing, item: Relationship, cut: Cut) -> sa.Select[Any]:
    rows = drawing.sources[item.child].rows("child")
    parent = drawing.sources[item.parent].rows("parent")
    value = reference_columns(drawing, item, rows)
    unit = key_hash_sql(value, cut.salt_of_others(drawing.salt))
    return sa.select(*_row(drawing, item.child, rows, cut.share, unit)).where(
        refers(item, rows),
        _below(permanent_random_sql(value, drawing.salt), cut),
        ~sa.exists().select_from(parent).where(matches(item, rows, parent)),
    )


def _own_unit(
    drawing: Drawing, item: Relationship, rows: sa.FromClause, cut: Cut
) -> sa.ColumnElement[int]:
    """Return the unit of children that are drawn by themselves."""
    key = drawing.key_of(item.child, rows)
    return key_hash_sql(key, cut.salt_of_others(drawing.salt))


def tables_that_come_whole(drawing: Drawing) -> set[str]:
    """Name the tables of which every row comes: small ones, and such that no root can reach."""
    if drawing.plan.is_minimal:
        return set()
    limit = drawing.plan.settings.small_table_rows
    found = set()
    for table in drawing.plan.tables.values():
        few = table.part is SamplePart.REFERENCED and _has_at_most(drawing, table.name, limit)
        if few or table.part is SamplePart.WHOLE:
            found.add(table.name)
    return found


def _has_at_most(drawing: Drawing, table: str, limit: int) -> bool:
    some = sa.select(sa.literal(1)).select_from(drawing.sources[table].table).limit(limit + 1)
    count = sa.select(sa.func.count()).select_from(some.subquery("some"))
    return int(drawing.connection.scalar(count) or 0) <= limit
