"""What the rows of a table refer to: matching values of child and parent, NULL matching nothing."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from data_pipeline.sampling.in_memory.column import Int64s, Mask, comparable
from data_pipeline.sampling.in_memory.source_tables import SourceTable
from data_pipeline.sampling.rules import OTHER_SALT
from data_pipeline.sampling.schema_graph import Relationship

NOTHING = -1
"""Stands for no value, and for no row."""


@dataclass(frozen=True)
class References:
    """The references of one relationship.

    Attributes:
        child: The value that each row of the child refers to, as a number; `NOTHING` where it
            refers to nothing.
        parent: The value that each row of the parent is referred to by, likewise.
        one: For each value the row of the parent that stands for all that have it; `NOTHING` where
            none has it, so that references to it dangle.
        is_unique: Whether no two rows of the parent have the same value.
    """

    child: Int64s
    parent: Int64s
    one: Int64s
    is_unique: bool

    @cached_property
    def refers(self) -> Mask:
        """Which rows of the child refer to something, be it there or not."""
        refers: Mask = self.child != NOTHING
        return refers

    @cached_property
    def row(self) -> Int64s:
        """The row of the parent that each row of the child refers to, or `NOTHING`."""
        return _at(self.one, self.child)

    @cached_property
    def counts(self) -> Int64s:
        """The number of references to each value."""
        return np.bincount(self.child[self.refers], minlength=len(self.one))

    @cached_property
    def children(self) -> Int64s:
        """The number of rows that refer to each row of the parent."""
        return np.where(self.parent == NOTHING, 0, self.counts[self.parent])

    def parents_of(self, children: Int64s) -> Int64s:
        """Gives all rows of the parent that some rows of the child refer to."""
        values = self.child[children]
        values = np.unique(values[values != NOTHING])
        if self.is_unique:
            rows = self.one[values]
            there: Int64s = rows[rows != NOTHING]
            return there
        return np.flatnonzero(np.isin(self.parent, values))

    def children_of(self, parent: int) -> Int64s:
        """Gives the rows that refer to a row of the parent."""
        return np.flatnonzero(self.refers & (self.child == self.parent[parent]))


def references(item: Relationship, sources: Mapping[str, SourceTable], salt: int) -> References:
    """Gives the references of a relationship.

    Where children do not refer to a key, the row that stands for a value is the one with the lowest
    of other hashes than those that sample, so that its own chance is that of any row.
    """
    child, parent = sources[item.child], sources[item.parent]
    pairs = [
        (child.columns[own], parent.columns[other])
        for own, other in zip(item.columns, item.referenced_columns, strict=True)
    ]
    values = np.zeros(child.count + parent.count, np.int64)
    valid = np.ones(len(values), np.bool_)
    for own, other in pairs:
        numbers, distinct = _dense(np.concatenate(comparable([own, other])))
        values, _ = _dense(values * distinct + numbers)
        valid &= np.concatenate([own.valid, other.valid])
    values[~valid] = NOTHING
    values, distinct = _dense(values, NOTHING)
    of_child, of_parent = np.split(values, [child.count])
    order = np.arange(parent.count)
    if not item.refers_to_key:
        order = np.argsort(parent.hash_of(parent.key, salt ^ OTHER_SALT), kind="stable")
    order = order[of_parent[order] != NOTHING]
    one = np.full(distinct + 1, NOTHING)
    one[of_parent[order[::-1]]] = order[::-1]  # the first one is written last, and stays
    return References(of_child, of_parent, one, item.refers_to_key)


def _dense(numbers: Int64s, missing: int | None = None) -> tuple[Int64s, int]:
    """Numbers values from 0 on; gives how many there are, too."""
    codes, values = pd.factorize(numbers)
    found: Int64s = codes.astype(np.int64)
    if missing is None:
        return found, len(values)
    found[numbers == missing] = missing
    return found, len(values)


def _at(rows: Int64s, values: Int64s) -> Int64s:
    return np.where(values == NOTHING, NOTHING, rows[values])
