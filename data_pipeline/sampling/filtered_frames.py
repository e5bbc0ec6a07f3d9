"""The rows of one frame that an instance keeps, with their roles and weights, as frames."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from data_pipeline.errors import UnsupportedDataError
from data_pipeline.instances import CopyFilter
from data_pipeline.sampling.first_rows import taken
from data_pipeline.sampling.key_hash import key_hash
from data_pipeline.sampling.plan.hubs_and_thresholds import Role
from data_pipeline.sampling.plan.weight_columns import fact_prefix
from data_pipeline.sampling.weights import FACTS, ROW_HASH, SALT
from data_pipeline.transfer.frames import from_reader, to_reader

_TYPES = {"probability": pa.float64(), "unit": pa.int64(), "sample_size": pa.int64()}


@dataclass(frozen=True)
class FilteredFrame:
    """Rows of a frame that are kept.

    Attributes:
        frame: The frame.
        rows: The numbers of the rows, in their order; None: all of them.
        roles_of_rows: For each of them its key, or the hash of the row where there is none, and
            role, probability, unit, design, sample size and reason; None: nobody asked for them.
        copied: The rows, where they are copied with other values than the frame has.
    """

    frame: Any
    rows: pa.Array | None
    roles_of_rows: pa.Table | None
    copied: Any = None

    def data(self) -> Any:
        """Return the rows."""
        if self.copied is not None:
            return self.copied
        return self.frame if self.rows is None else taken(self.frame, self.rows)

    def roles(self) -> Any:
        """Return the keys of the rows with role, probability, unit and reason."""
        roles = self._roles
        if ROW_HASH in roles.column_names:
            roles = roles.take(np.unique(self._strongest))
        return from_reader(roles.to_reader(), type(self.frame))

    def weighted(self) -> Any:
        """Return the rows with role, probability, unit and weight."""
        names = [f"{self._prefix}{name}" for name in FACTS if name != "reason"]
        facts = self._roles.select(names)
        if ROW_HASH in self._roles.column_names:
            facts = facts.take(self._strongest)
        weight = np.nan_to_num(1 / facts.column(f"{self._prefix}probability").to_numpy())
        data, facts = self.data(), facts.append_column("weight", pa.array(weight))
        prefix = fact_prefix(data.column_names if isinstance(data, pa.Table) else data.columns)
        shown = [f"{prefix}{name.removeprefix(self._prefix)}" for name in facts.column_names]
        return _beside(data, facts.rename_columns(shown))

    @property
    def _prefix(self) -> str:
        """What the names of the roles begin with."""
        return fact_prefix(self._roles.column_names[: -len(FACTS)])

    @property
    def _roles(self) -> pa.Table:
        if self.roles_of_rows is None:
            raise AssertionError("roles are there if they are asked for")
        return self.roles_of_rows

    @property
    def _strongest(self) -> npt.NDArray[np.int64]:
        """For each row the one whose role holds for all rows that are equal to it."""
        hashes = self._roles.column(ROW_HASH).to_numpy()
        probability = np.nan_to_num(self._roles.column("probability").to_numpy(), nan=-1.0)
        order = np.lexsort([-probability, hashes])
        _, first = np.unique(hashes[order], return_index=True)
        _, number = np.unique(hashes, return_inverse=True)
        strongest: npt.NDArray[np.int64] = order[first][number]
        return strongest


def filtered(
    table: object, frame: Any, primary_key: Sequence[str], keep: CopyFilter
) -> FilteredFrame:
    """Return rows that a copy filter has kept with their roles: the rule is that of the database.

    Args:
        table: The input table, for messages.
        frame: The rows.
        primary_key: Its key columns.
        keep: The filter.

    Raises:
        UnsupportedDataError: Rows cannot be told apart by the hash of their key, or of all columns.
    """
    data = to_reader(frame).read_all()
    role, probability = Role.WITNESS if keep.rate is None else Role.SAMPLED, keep.rate
    if keep.keeps_all_rows:
        role, probability = Role.CERTAIN, 1.0
    key = data.select(list(primary_key) or data.column_names)
    try:
        if not primary_key:
            key = pa.table({ROW_HASH: key_hash(key.columns, SALT)})
        unit = key_hash(key.columns, SALT)
    except UnsupportedDataError as error:
        listed = ", ".join(primary_key or data.column_names)
        raise UnsupportedDataError(f"Table `{table}` (columns {listed}): {error}") from error
    design = None if probability is None else "poisson"
    values = (role.word, probability, pa.array(unit), design, None, None)
    facts = {
        name: value if isinstance(value, pa.Array) else pa.repeat(_scalar(name, value), len(data))
        for name, value in zip(FACTS, values, strict=True)
    }
    prefix = fact_prefix(key.column_names)
    named = {f"{prefix}{name}": value for name, value in facts.items()}
    return FilteredFrame(frame, None, pa.table({**_key_columns(key), **named}))


def _scalar(name: str, value: Any) -> pa.Scalar:
    return pa.scalar(value, _TYPES.get(name, pa.string()))


def _key_columns(key: pa.Table) -> dict[str, pa.ChunkedArray]:
    """Return the columns of a key without dictionaries, which no table has."""
    return {
        field.name: column.cast(field.type.value_type)
        if pa.types.is_dictionary(field.type)
        else column
        for field, column in zip(key.schema, key.columns, strict=True)
    }


def _beside(frame: Any, columns: pa.Table) -> Any:
    """Return a frame with more columns."""
    if isinstance(frame, pa.Table):
        for name in columns.column_names:
            frame = frame.append_column(name, columns.column(name))
        return frame
    other = from_reader(columns.to_reader(), type(frame))
    if isinstance(frame, pd.DataFrame):
        return pd.concat([frame, other.set_index(frame.index)], axis=1)
    return frame.hstack(other)
