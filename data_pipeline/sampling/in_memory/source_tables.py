"""The tables that a sample is taken from: frames, with the hashes of their rows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from data_pipeline.errors import ConfigurationError, UnsupportedDataError
from data_pipeline.sampling.in_memory.column import Column, Int64s
from data_pipeline.sampling.key_hash import key_hash
from data_pipeline.sampling.refusals import check_relationship_columns, check_relationship_types
from data_pipeline.sampling.schema_graph import Relationship, SchemaGraph
from data_pipeline.tables.frames import to_reader

if TYPE_CHECKING:
    import pyarrow as pa

_NUMBER_BITS = np.int64(32)


@dataclass
class SourceTable:
    """One table of the source.

    Attributes:
        name: Its name as an input table.
        columns: Its columns.
        primary_key: Its primary key, or nothing.
        count: The number of its rows.
    """

    name: str
    columns: Mapping[str, Column]
    primary_key: tuple[str, ...]
    count: int
    _hashes: dict[tuple[tuple[str, ...], int], Int64s] = field(default_factory=dict, repr=False)

    @property
    def key(self) -> tuple[str, ...]:
        """The columns that identify a row: the primary key, or all columns."""
        return self.primary_key or tuple(self.columns)

    def hash_of(self, columns: Sequence[str], salt: int) -> Int64s:
        """Gives the hash of some columns in each row."""
        wanted = (tuple(columns), salt)
        if wanted not in self._hashes:
            values = [self.columns[name].values for name in columns]
            try:
                self._hashes[wanted] = key_hash(values, salt)
            except UnsupportedDataError as error:
                listed = ", ".join(columns)
                raise UnsupportedDataError(
                    f"Table `{self.name}` (columns {listed}): {error}"
                ) from error
        return self._hashes[wanted]

    def number_of(self, columns: Sequence[str], salt: int) -> Int64s:
        """Gives the permanent random number of some columns in each row."""
        return self.hash_of(columns, salt) << _NUMBER_BITS

    @cached_property
    def positions(self) -> Int64s:
        """The number of each row, from 0."""
        return np.arange(self.count)


def source_tables(
    graph: SchemaGraph, frames: Mapping[str, Any], types: Mapping[str, Mapping[str, str]]
) -> dict[str, SourceTable]:
    """Gives the source tables of a stage.

    Args:
        graph: The schema.
        frames: Frames of pandas, polars or Arrow by the names of the input tables.
        types: The PostgreSQL types that are declared for their columns.

    Raises:
        ConfigurationError: A relationship has a column that does not exist, columns of different
            types, or a condition, which is SQL.
    """
    tables = {
        name: source_table(name, frame, graph.keys[name], types[name])
        for name, frame in frames.items()
    }
    for item in graph.relationships:
        _check(item, tables)
    return tables


def source_table(
    name: str, frame: Any, key: tuple[str, ...], types: Mapping[str, str]
) -> SourceTable:
    """Gives one source table; arguments are those of `source_tables`, for one table."""
    data: pa.Table = to_reader(frame).read_all()
    columns = {
        field.name: Column(name, field.name, column, types.get(field.name))
        for field, column in zip(data.schema, data.columns, strict=True)
    }
    return SourceTable(name, columns, key, data.num_rows)


def _check(item: Relationship, tables: Mapping[str, SourceTable]) -> None:
    check_relationship_columns(item, {name: table.columns for name, table in tables.items()})
    child, parent = tables[item.child].columns, tables[item.parent].columns
    for own, other in zip(item.columns, item.referenced_columns, strict=True):
        check_relationship_types(item, (own, other), (child[own].kind, parent[other].kind))
    if item.where is not None:
        raise ConfigurationError(
            f"The relationship {item} has a condition in SQL, which cannot be evaluated on frames. "
            "Build the instance in the database, or test the sample there."
        )
