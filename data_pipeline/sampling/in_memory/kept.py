"""The rows of one frame that an instance keeps, with their roles and weights, as frames."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from data_pipeline.instances import CopyFilter
from data_pipeline.sampling.in_memory.column import Int64s
from data_pipeline.sampling.in_memory.drawing import Chosen
from data_pipeline.sampling.in_memory.source_tables import SourceTable
from data_pipeline.sampling.key_hash import key_hash
from data_pipeline.sampling.rules import Role
from data_pipeline.sampling.selection import taken
from data_pipeline.sampling.weights import ROW_HASH
from data_pipeline.tables.frames import from_reader

_SALT = 0
_FACTS = {
    "role": pa.string(),
    "probability": pa.float64(),
    "unit": pa.int64(),
    "design": pa.string(),
    "sample_size": pa.int64(),
    "reason": pa.string(),
}


@dataclass(frozen=True)
class Kept:
    """Rows of a frame that are kept.

    Attributes:
        frame: The frame.
        source: Its columns and the hashes of its rows.
        rows: The rows; None: all of them.
        facts: Their roles, probabilities, units, designs, sample sizes and reasons.
    """

    frame: Any
    source: SourceTable
    rows: Int64s | None
    facts: pa.Table

    @classmethod
    def chosen(cls, frame: Any, source: SourceTable, chosen: Chosen | None) -> "Kept":
        """Gives the rows of a sample; all of them are certain where it has no choice."""
        if chosen is None:
            return cls(frame, source, None, _alike(source, Role.CERTAIN, 1.0))
        rows = np.flatnonzero(chosen.mask)
        missing = np.isnan(chosen.probability[rows])
        size = chosen.sample_size[rows]
        values = (
            [Role(role).word for role in chosen.role[rows]],
            pa.array(chosen.probability[rows], mask=missing),
            pa.array(chosen.unit[rows], mask=missing),
            pa.array(np.where(size == 0, "poisson", "srs"), pa.string(), mask=missing),
            pa.array(size, mask=size == 0),
            chosen.reason[rows],
        )
        return cls(frame, source, rows, _table(*values))

    @classmethod
    def filtered(cls, frame: Any, source: SourceTable, keep: CopyFilter) -> "Kept":
        """Gives the rows that a copy filter has kept; the rule is that of the database."""
        if keep.keeps_all_rows:
            return cls(frame, source, None, _alike(source, Role.CERTAIN, 1.0))
        role = Role.WITNESS if keep.rate is None else Role.SAMPLED
        return cls(frame, source, None, _alike(source, role, keep.rate))

    def data(self) -> Any:
        """Gives the rows."""
        return self.frame if self.rows is None else taken(self.frame, pa.array(self.rows))

    def roles(self) -> Any:
        """Gives the keys of the rows with role, probability, unit and reason."""
        facts, rows = self.facts, self._positions
        if not self.source.primary_key:
            first = self._strongest.drop_duplicates().to_numpy()
            keys = {ROW_HASH: pa.array(self._row_hash[first])}
            facts = facts.take(pa.array(first))
        else:
            columns = self.source.columns
            keys = {name: columns[name].values.take(pa.array(rows)) for name in self.source.key}
        table = pa.table({**keys, **dict(zip(facts.column_names, facts.columns, strict=True))})
        return from_reader(table.to_reader(), type(self.frame))

    def weighted(self) -> Any:
        """Gives the rows with role, probability, unit and weight."""
        facts = self.facts.drop_columns("reason")
        if not self.source.primary_key:
            facts = facts.take(pa.array(self._strongest.to_numpy()))
        probability = facts.column("probability").to_numpy()
        weight = pa.array(np.nan_to_num(1 / probability))
        return _beside(self.data(), facts.append_column("weight", weight))

    @property
    def _positions(self) -> Int64s:
        return self.source.positions if self.rows is None else self.rows

    @property
    def _row_hash(self) -> Int64s:
        return self.source.hash_of(self.source.key, _SALT)[self._positions]

    @property
    def _strongest(self) -> "pd.Series[int]":
        """For each row the one whose facts hold for all rows that are equal to it."""
        rows = pd.DataFrame(
            {"hash": self._row_hash, "p": self.facts.column("probability").to_numpy()}
        )
        ordered = rows.sort_values("p", ascending=False, kind="stable")
        first = ordered.assign(row=ordered.index).groupby("hash")["row"].transform("first")
        return first.sort_index()


def _alike(source: SourceTable, role: Role, probability: float | None) -> pa.Table:
    """Gives the facts of rows that all have the same role; each is a unit of its own."""
    count = source.count
    unit = source.hash_of(source.key, _SALT)
    if not source.primary_key:  # the unit is the hash of the key, which is the hash of the row
        unit = key_hash([pa.array(unit)], _SALT)
    design = None if probability is None else "poisson"
    same = [[value] * count for value in (role.word, probability, design, None, None)]
    return _table(*same[:2], unit, *same[2:])


def _table(*values: Any) -> pa.Table:
    arrays = [
        value.cast(type_) if isinstance(value, pa.Array) else pa.array(value, type_)
        for value, type_ in zip(values, _FACTS.values(), strict=True)
    ]
    return pa.table(arrays, names=list(_FACTS))


def _beside(frame: Any, columns: pa.Table) -> Any:
    """Gives a frame with more columns."""
    if isinstance(frame, pa.Table):
        for name in columns.column_names:
            frame = frame.append_column(name, columns.column(name))
        return frame
    other = from_reader(columns.to_reader(), type(frame))
    if isinstance(frame, pd.DataFrame):
        return pd.concat([frame, other.set_index(frame.index)], axis=1)
    return frame.hstack(other)
