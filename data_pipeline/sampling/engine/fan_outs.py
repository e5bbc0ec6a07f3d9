"""How many children parents have, and which roots are hubs."""

from functools import partial
from typing import Any

import sqlalchemy as sa

from data_pipeline.sampling.earlier.source_facts import listed_rows, place_text
from data_pipeline.sampling.engine.sampling_number import first_number, is_direct, own_hash
from data_pipeline.sampling.engine.selection_state import SelectionState
from data_pipeline.sampling.engine.source_tables import TID, Tid, hash_alike, matches, refers
from data_pipeline.sampling.key_hash import key_hash_sql, permanent_random_sql
from data_pipeline.sampling.plan.hubs_and_thresholds import Role, limit_of_hubs
from data_pipeline.sampling.plan.roots_and_children import SamplePart
from data_pipeline.sampling.plan.schema_graph import Relationship

_FirstReferences = list[list[list[str]]]
"""The number and the sum of the hashes of values that are referred to, and of those that are
referred to once, and most often, the first ones: how often, with the place of one reference."""

_LOOKED_AT = 100
"""So many of these are known."""

_ALWAYS_BROUGHT = 100
_SHARE_BROUGHT = 1_000

_ARE_IN_ORDER = sa.text("""
SELECT abs(correlation) > 0.9 FROM pg_stats
WHERE schemaname = :schema AND tablename = :table AND attname = :column
""")


def count_children(state: SelectionState, item: Relationship) -> None:
    """Find out how many values are referred to how often; the state then knows `fan_outs`."""
    if item.number not in state.fan_outs:
        pairs = state.fact(f"fan-outs of {item}", [item.child], [], lambda: _fan_outs(state, item))
        state.fan_outs[item.number] = dict(pairs)


def _fan_outs(state: SelectionState, item: Relationship) -> list[tuple[int, int]]:
    table = _references(state, item)
    counts = sa.select(table.c.n, sa.func.count()).group_by(table.c.n)
    return [(int(n), int(values)) for n, values in state.connection.execute(counts)]


def _references(state: SelectionState, item: Relationship) -> sa.TableClause:
    """Return each value that is referred to, with the number of references and one's place."""
    if item.number not in state.references:
        child = state.sources[item.child].rows("child")
        columns = [child.c[name] for name in item.columns]
        labels = [column.label(f"k{i}") for i, column in enumerate(columns)]
        one = sa.func.min(child.c[TID], type_=Tid()).label(TID)
        counted = sa.select(*labels, sa.func.count().label("n"), one).where(refers(item, child))
        with state.space.sorting(if_=lie_together(state, item)):
            table, _ = state.space.create(
                counted.group_by(*columns), "references", str(item.number)
            )
        state.references[item.number] = table
    return state.references[item.number]


def lie_together(state: SelectionState, item: Relationship) -> bool:
    """Whether PostgreSQL's statistics say that references to the same value lie side by side."""
    table = state.sources[item.child].table
    names = {"schema": table.schema, "table": table.name, "column": item.columns[0]}
    return bool(state.connection.scalar(_ARE_IN_ORDER, names))


def counted(
    item: Relationship, parent: sa.FromClause, references: sa.FromClause
) -> sa.ColumnElement[bool]:
    """Return condition that a row of `references` counts the children of a row of the parent."""
    pairs = enumerate(item.referenced_columns)
    return sa.and_(*(references.c[f"k{i}"] == parent.c[name] for i, name in pairs))


def limit_of(state: SelectionState, item: Relationship) -> int | None:
    """Return the number of children above which a parent is a hub of a relationship, if any is."""
    return limit_of_hubs(state.plan.settings.hubs, state.fan_outs[item.number])


def find_hubs(state: SelectionState, root: str) -> None:
    """Find the hubs of a root: rows with very many children that are sampled with it."""
    limits: dict[Relationship, int] = {}
    for child in state.plan.owned_by(root):
        if child.owner is not None:
            count_children(state, child.owner)
            if (limit := limit_of(state, child.owner)) is not None:
                limits[child.owner] = limit
    if not limits:
        return
    tables = [root, *(item.child for item in limits)]
    settings = sorted((str(item), limit) for item, limit in limits.items())
    found = state.fact(f"hubs of {root}", tables, settings, lambda: _hubs(state, root, limits))
    if not found:
        return
    names = [f"thinned_{item.number}" for item in limits]
    hubs = listed_rows(found, *names)
    rows = state.sources[root].rows_at(hubs, "root")
    keys = [column.label(f"k{i}") for i, column in enumerate(state.sources[root].key_of(rows))]
    flags = [(hubs.c[name] == "true").label(name) for name in names]
    query = sa.select(rows.c[TID], *keys, *flags).join(hubs, hubs.c[TID] == rows.c[TID])
    state.hubs[root], _ = state.space.create(query, "hubs", root)


def _hubs(state: SelectionState, root: str, limits: dict[Relationship, int]) -> list[list[str]]:
    """Return the places of hubs, each with whether it is one of each relationship."""
    rows = state.sources[root].rows("root")
    joined: sa.FromClause = rows
    heavy: list[sa.ColumnElement[bool]] = []
    for item, limit in limits.items():
        of_item = _references(state, item)
        many = sa.select(of_item).where(of_item.c.n > limit).subquery(f"many_{item.number}")
        joined = joined.outerjoin(many, counted(item, rows, many))
        heavy.append(many.c.n.is_not(None))
    flags = (sa.cast(condition, sa.Text) for condition in heavy)
    query = sa.select(place_text(rows), *flags).select_from(joined).where(sa.or_(*heavy))
    return [list(row) for row in state.connection.execute(query)]


def count_what_is_needed(state: SelectionState) -> None:
    """Count the children for hubs, and for the witnesses of fan-outs."""
    minimal = state.plan.is_minimal
    if not minimal and state.plan.cover.fan_outs:
        for item in state.plan.graph.relationships:
            if not {item.child, item.parent} <= state.whole:
                count_children(state, item)
    if not minimal and state.plan.settings.hubs != "off":
        for table in state.plan.tables.values():
            if table.part is SamplePart.ROOT and table.name not in state.whole:
                find_hubs(state, table.name)


def add_fan_out_witnesses(state: SelectionState) -> None:
    """Add the witnesses of all relationships whose children were counted.

    With a parent of one child comes its child, and with that of the most children come these,
    unless it is a hub, or they are over a hundred and over a thousandth of their table.
    """
    for item in state.plan.graph.relationships:
        if item.number not in state.fan_outs:
            continue
        first_references(state, item)  # known also where no witness is looked for
        found = state.fact(
            f"fan-out witnesses of {item}",
            [item.child, item.parent],
            [str(state.plan.settings.hubs)],
            partial(_witnesses, state, item),
        )
        for table, rows in zip((item.parent, item.child), found, strict=True):
            if rows:
                listed = listed_rows(rows, "reason")
                state.add(table, listed, Role.WITNESS, listed.c.reason)


def _witnesses(state: SelectionState, item: Relationship) -> tuple[list[list[str]], ...]:
    """Return the places of parents, and of children, that are to be there, with their reasons."""
    parents: list[list[str]] = []
    with_children: list[list[str]] = []
    with state.space.without_nested_loops(if_=state.is_restricted(item.parent)):
        first = _first_parents(state, item)
    for children, place in sorted(first.items()):
        words = {0: "no child", 1: "one child"}.get(children, "the most children")
        row = [place, f"{words}: {item}"]
        parents.append(row)
        with_children += [row] if _brings_children(state, item, children) else []
    return parents, _children(state, item, with_children) if with_children else []


def _first_parents(state: SelectionState, item: Relationship) -> dict[int, str]:
    """Return of the parents without a child, with one, and with the most the first ones' places."""
    known = first_references(state, item)
    if known is not None and (found := _of_references(state, item, known)) is not None:
        return found
    places = {n: _first_parent(state, item, n) for n in {0, 1, _most(state, item)}}
    return {children: str(place) for children, place in places.items() if place is not None}


def first_references(state: SelectionState, item: Relationship) -> _FirstReferences | None:
    """Return what is known of references without a look at what they refer to, if that serves.

    It serves where they hash as the parent's key, and that says which parents samples have first:
    then nothing has to be counted again when the parent's rows have changed.
    """
    child, parent = (state.sources[name].table for name in (item.child, item.parent))
    above = state.plan_of(item.parent).owner
    is_drawn_with_root = above is not None and is_direct(state, above)
    if is_drawn_with_root or not (item.refers_to_key and hash_alike(item, child, parent)):
        return None
    key = list(state.plan.graph.keys[item.parent])
    about = f"first references of {item}"
    return state.fact(about, [item.child], key, partial(_first_references, state, item))


def refer_to_all(state: SelectionState, item: Relationship) -> bool:
    """Whether references lead to all rows of the parent and to nothing else: none dangles."""

    def compare() -> bool:
        known, parent = first_references(state, item), state.sources[item.parent].rows("parent")
        of_parents = own_hash(state, item.parent, parent)
        return known is not None and known[0] == _sum(state, parent, of_parents)

    return state.fact(
        f"whether references of {item} lead to all", [item.child, item.parent], [], compare
    )


def _first_references(state: SelectionState, item: Relationship) -> _FirstReferences:
    table, key = _references(state, item), state.plan.graph.keys[item.parent]
    names = item.in_order_of(key)
    value = [table.c[f"k{item.columns.index(name)}"] for name in names]
    number, hashed = permanent_random_sql(value, state.salt), key_hash_sql(value, state.salt)
    order = number.label("number"), hashed.label("hashed")
    first = sa.select(table.c.n, table.c[TID], *order).limit(_LOOKED_AT)
    one = first.where(table.c.n == 1).order_by(*order).subquery("one")
    most = first.order_by(table.c.n.desc(), *order).subquery("most")
    lists = ([[str(n), place] for n, place in _in_order(state, rows)] for rows in (one, most))
    return [_sum(state, table, hashed), *lists]


def _in_order(state: SelectionState, rows: sa.Subquery) -> list[tuple[int, str]]:
    order = (rows.c.n.desc(), rows.c.number, rows.c.hashed)
    query = sa.select(rows.c.n, place_text(rows)).order_by(*order)
    return [(n, place) for n, place in state.connection.execute(query)]


def _sum(
    state: SelectionState, rows: sa.FromClause, hashed: sa.ColumnElement[int]
) -> list[list[str]]:
    """Return the number of rows, and the sum of their hashes: few other sets of keys have both."""
    total = sa.func.sum(sa.cast(hashed, sa.Numeric))
    found = state.connection.execute(sa.select(sa.func.count(), total).select_from(rows)).one()
    return [[str(value) for value in found]]


def _of_references(
    state: SelectionState, item: Relationship, known: _FirstReferences
) -> dict[int, str] | None:
    """Return the places of the first parents by what is known of references; None: too little."""
    keys, one, most = known
    listed = listed_rows([[place] for place in sorted({place for _, place in one + most})])
    child = state.sources[item.child].rows_at(listed, "child")
    parent = state.sources[item.parent].rows("parent")
    query = sa.select(place_text(child), place_text(parent)).join(
        parent, matches(item, child, parent)
    )
    parents: dict[str, str] = {own: str(place) for own, place in state.connection.execute(query)}
    found: dict[int, str] = {}
    for rows in (one, most):
        there = [(int(n), parents[place]) for n, place in rows if place in parents]
        if not there and len(rows) == _LOOKED_AT:
            return None
        found |= dict(there[:1])
    if keys != _sum(state, parent, own_hash(state, item.parent, parent)):
        place = _first_parent(state, item, 0)
        found |= {} if place is None else {0: place}
    return found


def _most(state: SelectionState, item: Relationship) -> int:
    """Return the largest number of children; values that dangle have no parent."""
    parent = state.sources[item.parent].rows("parent")
    for children in sorted(state.fan_outs[item.number], reverse=True):
        parents = _parents(state, item, children, parent)
        if state.connection.scalar(sa.select(sa.exists(parents))):
            return children
    return 0


def _parents(
    state: SelectionState, item: Relationship, children: int, parent: sa.FromClause
) -> sa.Select[Any]:
    """Return the places of those rows of the parent that have a number of children."""
    references = _references(state, item)
    is_counted = counted(item, parent, references)
    if children == 0:
        return sa.select(parent.c[TID]).where(~sa.exists().where(is_counted))
    number = references.c.n == children
    return sa.select(parent.c[TID]).join(references, sa.and_(is_counted, number))


def _brings_children(state: SelectionState, item: Relationship, children: int) -> bool:
    """Whether a witness comes with its children: not if they are too many."""
    limit, parents = limit_of(state, item), state.fan_outs[item.number]
    if limit is not None and children > limit:
        return False
    total = sum(n * count for n, count in parents.items())
    return 0 < children <= max(_ALWAYS_BROUGHT, total // _SHARE_BROUGHT)


def _first_parent(state: SelectionState, item: Relationship, children: int) -> str | None:
    """Return the place of the parent with a number of children that samples have first."""
    parent = state.sources[item.parent].rows("parent")
    number = first_number(state, item.parent, parent)
    order = (number, own_hash(state, item.parent, parent), parent.c[TID])
    first = _parents(state, item, children, parent).order_by(*order).limit(1).subquery("first")
    place: str | None = state.connection.scalar(sa.select(place_text(first)))
    return place


def _children(
    state: SelectionState, item: Relationship, parents: list[list[str]]
) -> list[list[str]]:
    """Return the places of the children of some parents, with the reasons of these."""
    child = state.sources[item.child].rows("child")
    listed = listed_rows(parents, "reason")
    rows = state.sources[item.parent].rows_at(listed, "parent")
    chosen = sa.select(rows, listed.c.reason).join(listed, listed.c[TID] == rows.c[TID])
    # A table of its own: how few there are, the planner could only guess.
    parent, _ = state.space.create(chosen, "fan_witness")
    query = sa.select(place_text(child), parent.c.reason).where(matches(item, child, parent))
    return [list(row) for row in state.connection.execute(query)]
