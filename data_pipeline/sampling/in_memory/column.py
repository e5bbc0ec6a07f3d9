"""A column of a frame, with the values that it would have in the database."""

import uuid
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from data_pipeline.errors import ConfigurationError
from data_pipeline.sampling.in_memory.stored_type import family_of, stored_type
from data_pipeline.tables.arrow_types import declared_type
from data_pipeline.tables.encode import outgoing

Int64s = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

_BY_RANK = frozenset({"text", "uuid", "bytea", "numeric"})
_SIGN = np.int64(2**63 - 1)


class Column:
    """A column, converted when it is first needed.

    Attributes:
        name: Its name.
        declared: Its PostgreSQL type.
    """

    def __init__(self, table: str, name: str, data: pa.ChunkedArray, declared: str | None) -> None:
        self.name = name
        self.declared = declared or declared_type(name, data.type)
        self._table = table
        self._data = data
        self._type = stored_type(self.declared)

    @property
    def kind(self) -> str:
        """The kind of its values.

        Raises:
            ConfigurationError: What its type makes of them, only PostgreSQL knows.
        """
        if self._type is None:
            raise self._unknown()
        return family_of(self._type)

    @cached_property
    def valid(self) -> Mask:
        """Which values are not NULL."""
        mask: Mask = self._data.is_valid().to_numpy(zero_copy_only=False)
        return mask

    @cached_property
    def values(self) -> pa.Array:
        """Its values, as they would be stored.

        Raises:
            ConfigurationError: What its type makes of them, only PostgreSQL knows.
            UnsupportedDataError: A value cannot be stored.
        """
        if self._type is None:
            raise self._unknown()
        out = outgoing(self.name, self._data.type, self._type)
        pieces, row = [], 0
        for chunk in self._data.chunks or [pa.array([], self._data.type)]:
            pieces.append(out.encode(chunk, row))
            row += len(chunk)
        values = pa.concat_arrays(pieces)
        if out.via_text:
            return self._from_text(values)
        if values.type == pa.month_day_nano_interval():
            raise self._unknown()
        if self._type.name == "bpchar":  # its padding counts for nothing
            return pc.ascii_rtrim(values, " ")
        return values

    @cached_property
    def order(self) -> Int64s:
        """Numbers that are equal and ordered as the values are in PostgreSQL (texts by code point).

        Those of NULL mean nothing.
        """
        return comparable([self])[0]

    @property
    def exact(self) -> Int64s:
        """Numbers that are equal where the texts of values are: there are two zeros as texts."""
        if self.kind != "float":
            return self.order
        doubles = self.values.cast(pa.float64()).fill_null(0.0).to_numpy(zero_copy_only=False)
        return np.where(np.signbit(doubles) & (doubles == 0), np.int64(-1), self.order)

    def _from_text(self, texts: pa.Array) -> pa.Array:
        if self.kind != "uuid":
            raise self._unknown()
        encoded = texts.dictionary_encode()
        try:
            keys = [uuid.UUID(text).bytes for text in encoded.dictionary.to_pylist()]
        except ValueError as error:
            raise ConfigurationError(
                f"Column `{self.name}` of `{self._table}` has a value that is no uuid: {error}. "
                "Correct it, or declare another type."
            ) from error
        storage = pa.array(keys, pa.binary(16)).take(encoded.indices)
        return pa.ExtensionArray.from_storage(pa.uuid(), storage)

    def _unknown(self) -> ConfigurationError:
        return ConfigurationError(
            f"Column `{self.name}` of `{self._table}` is stored as {self.declared}, and what that "
            "makes of the frame's values only PostgreSQL knows, so a sample cannot be chosen by it "
            "in memory. Convert the column in the raw asset, take it out of sample.cover.columns, "
            "or build the instance in the database."
        )


def comparable(columns: Sequence[Column]) -> list[Int64s]:
    """Gives numbers for columns of one kind that are equal and ordered as their values are.

    Those of NULL mean nothing.
    """
    if columns[0].kind in _BY_RANK:
        return _ranks([_plain(column.values) for column in columns])
    return [_numbers(column.values) for column in columns]


def _numbers(values: pa.Array) -> Int64s:
    if pa.types.is_floating(values.type):
        floats = values.cast(pa.float64()).fill_null(0.0).to_numpy(zero_copy_only=False)
        # PostgreSQL has one zero, and one NaN, which is greater than all numbers.
        bits = np.where(np.isnan(floats), np.nan, floats + 0.0).view(np.int64)
        return np.where(bits < 0, bits ^ _SIGN, bits)
    if pa.types.is_boolean(values.type):
        values = values.cast(pa.int8())
    elif pa.types.is_date(values.type):
        values = values.cast(pa.int32())
    numbers: Int64s = values.cast(pa.int64()).fill_null(0).to_numpy(zero_copy_only=False)
    return numbers


def _plain(values: Any) -> pa.Array:
    """Gives the values in a form that Arrow sorts."""
    if isinstance(values, pa.ExtensionArray):
        return values.storage
    if pa.types.is_string(values.type):
        return values.cast(pa.large_string())
    if pa.types.is_binary(values.type):
        return values.cast(pa.large_binary())
    return values


def _ranks(arrays: Sequence[pa.Array]) -> list[Int64s]:
    if pa.types.is_decimal(arrays[0].type):
        common = pa.decimal256(76, max(array.type.scale for array in arrays))
        arrays = [array.cast(common) for array in arrays]
    encoded = pa.concat_arrays(arrays).dictionary_encode()
    ranks = np.empty(max(len(encoded.dictionary), 1), np.int64)
    ranks[pc.sort_indices(encoded.dictionary).to_numpy()] = np.arange(len(encoded.dictionary))
    codes = encoded.indices.fill_null(0).to_numpy(zero_copy_only=False)
    numbers = ranks[codes]
    ends = np.cumsum([len(array) for array in arrays])[:-1]
    return list(np.split(numbers, ends))
