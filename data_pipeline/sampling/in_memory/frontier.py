"""What the rows of a table show that the sample does not show yet."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from data_pipeline.sampling.families import GROUPED, ORDERED
from data_pipeline.sampling.in_memory.column import Column, Int64s, Mask
from data_pipeline.sampling.in_memory.drawing import Drawing
from data_pipeline.sampling.in_memory.value_text import value_texts
from data_pipeline.sampling.key_hash import hash_threshold
from data_pipeline.sampling.rules import FIRST_ROWS
from data_pipeline.sampling.witnesses import Kind, Obligation


@dataclass(frozen=True)
class Frontier:
    """The rows of a table that are looked at.

    Attributes:
        rows: These rows.
        seen: The probed ones: nothing that they show needs a witness from elsewhere.
        met: The chosen rows among `rows`.
        is_first: Whether the probed rows are those that a sample would have first; else they are
            the chosen ones.
    """

    rows: Mask
    seen: Mask
    met: Mask
    is_first: bool


@dataclass(frozen=True)
class Candidates:
    """Rows with the open obligation that each satisfies; a row may be there several times.

    Attributes:
        obligations: The obligations, all of one kind.
        rows: The rows.
        numbers: The place of the obligation of each row among the obligations.
    """

    obligations: tuple[Obligation, ...]
    rows: Int64s
    numbers: Int64s


def frontier(drawing: Drawing, table: str, columns: list[Column]) -> Frontier:
    """Gives the rows of a table that may show something new; the rule is that of `in_database`."""
    source, chosen = drawing.sources[table], drawing.rows[table].mask
    if drawing.is_sampled(table) or chosen.sum() >= FIRST_ROWS:
        return Frontier(np.ones(source.count, np.bool_), chosen, chosen, is_first=False)
    below = hash_threshold(min(1.0, 2 * FIRST_ROWS / max(source.count, 1)))
    rows = np.ones(source.count, np.bool_)
    if below is None:
        return Frontier(rows, rows, chosen, is_first=True)
    seen = drawing.own_number(table) < below
    rows = seen.copy()
    for column in columns:
        rows |= _is_beyond(column, seen, drawing.plan.cover.category_limit)
    return Frontier(rows, seen, chosen & rows, is_first=True)


def has_categories(drawing: Drawing, table: str, column: Column) -> bool:
    """Whether each value of a column is to have a witness: if they are not too many."""
    if column.kind not in GROUPED:
        return False
    count = len(pd.unique(column.order[column.valid]))
    if count > drawing.plan.cover.category_limit:
        drawing.left_out[table, column.name] = count
        return False
    return True


def candidates(
    column: Column, number: int, found: Frontier, *, categories: bool
) -> Iterator[Candidates]:
    """Gives what rows of the frontier show of a column and no chosen row shows.

    Args:
        column: The column.
        number: Its place among those to be covered.
        found: The frontier.
        categories: Whether each value is to have a witness.
    """
    valid = found.rows & column.valid
    seen = found.seen & column.valid
    if categories:
        new = valid if found.is_first else valid & ~_is_seen(column, seen)
        yield _of_values(Kind.CATEGORY, number, column, new, found)
    elif column.kind in ORDERED:
        for kind in (Kind.LEAST, Kind.GREATEST):
            extreme = _extreme(column.order, kind, valid, seen, is_first=found.is_first)
            yield _of_values(kind, number, column, extreme, found)
    elif found.is_first or not seen.any():
        yield _of_all(Kind.NOT_NULL, number, column, valid, found)
    if found.is_first or not (found.seen & ~column.valid).any():
        yield _of_all(Kind.NULL, number, column, found.rows & ~column.valid, found)


def _is_beyond(column: Column, probed: Mask, limit: int) -> Mask:
    """Marks rows that show something of a column that the probed rows do not show."""
    seen = probed & column.valid
    beyond: Mask = np.zeros(len(seen), np.bool_)
    if not (probed & ~column.valid).any():
        beyond |= ~column.valid
    if not seen.any():
        return beyond | column.valid
    if column.kind not in GROUPED:
        return beyond
    order = column.order
    if len(pd.unique(order[seen])) <= limit:
        return beyond | (column.valid & ~_is_seen(column, seen))
    if column.kind in ORDERED:
        beyond |= column.valid & ((order < order[seen].min()) | (order > order[seen].max()))
    return beyond


def _is_seen(column: Column, seen: Mask) -> Mask:
    return np.isin(column.order, pd.unique(column.order[seen]))


def _extreme(order: Int64s, kind: Kind, rows: Mask, seen: Mask, *, is_first: bool) -> Mask:
    """Marks the rows with the least or greatest value, if that goes beyond the seen ones."""
    signed = order if kind is Kind.LEAST else ~order
    if not is_first and seen.any():
        rows = rows & (signed < signed[seen].min())
    if not rows.any():
        return rows
    extreme: Mask = rows & (signed == signed[rows].min())
    return extreme


def _of_values(kind: Kind, number: int, column: Column, rows: Mask, found: Frontier) -> Candidates:
    """Gives an obligation for each value (as text) of the rows, unless a chosen row has it."""
    places = np.flatnonzero(rows)
    codes, first = _first_of_each(column.exact[places]) if len(places) else (places, places)
    texts = value_texts(column, places[first])
    obligations = tuple(Obligation(kind, number, column.name, text) for text in texts)
    met = np.unique(codes[found.met[places]])
    is_open = ~np.isin(codes, met)
    return Candidates(obligations, places[is_open], codes[is_open])


def _of_all(kind: Kind, number: int, column: Column, rows: Mask, found: Frontier) -> Candidates:
    """Gives one obligation, which all the rows satisfy, unless a chosen row does."""
    places = np.flatnonzero(rows if not (rows & found.met).any() else np.zeros_like(rows))
    obligation = Obligation(kind, number, column.name)
    return Candidates((obligation,), places, np.zeros(len(places), np.int64))


def _first_of_each(values: Int64s) -> tuple[Int64s, Int64s]:
    """Numbers values from 0 on; gives where each comes first, too."""
    _, first, codes = np.unique(values, return_index=True, return_inverse=True)
    return codes, first
