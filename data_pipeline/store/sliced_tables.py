"""Sliced tables: each slice is a table of its own, and a partition of the table that readers see.

In the catalog each slice has a row (`orders@2026-01-01`), with what it was made of; the table has
one too (kind `sliced`), which follows from those of its slices.
"""

import datetime as dt
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import dagster as dg
import sqlalchemy as sa

from data_pipeline.database.connection import run
from data_pipeline.database.identifiers import (
    SLICE_MARK,
    RelationName,
    StageTable,
    literal,
    quoted,
)
from data_pipeline.instances import Instance, project
from data_pipeline.instances.slice_dimensions import as_ranges, slice_dimension
from data_pipeline.store import catalog
from data_pipeline.store.catalog import CatalogRow
from data_pipeline.store.lookup import committed
from data_pipeline.transfer.stable_hash import fingerprint

COLUMN_KEY = "partition_expr"
"""The metadata of an asset that names the column, as with Dagster's own IO managers."""

_ATTACHED = """
SELECT c.relname FROM pg_inherits JOIN pg_class c ON c.oid = inhrelid
WHERE inhparent = to_regclass({relation})
"""


@dataclass(frozen=True)
class SliceBounds:
    """Which rows belong to a slice.

    Attributes:
        column: The column that says it.
        key: The key of the slice.
        start: Where its time begins; None: rows have the key itself in the column.
        end: Where it ends, which is no part of it.
    """

    column: str
    key: str
    start: dt.datetime | None = None
    end: dt.datetime | None = None

    @classmethod
    def of(cls, spec: dg.AssetSpec, key: str) -> "SliceBounds":
        """Return which rows belong to a slice of an asset.

        The column has the name of the dimension, or is that which `partition_expr` names.
        """
        _, partitions = slice_dimension(cast("dg.MultiPartitionsDefinition", spec.partitions_def))
        column = column_of(spec)
        if not isinstance(partitions, dg.TimeWindowPartitionsDefinition):
            return cls(column, key)
        window = partitions.time_window_for_partition_key(key)
        return cls(column, key, window.start, window.end)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "SliceBounds":
        """Read what `as_json` gave."""
        start, end = (
            None if data[name] is None else dt.datetime.fromisoformat(data[name])
            for name in ("start", "end")
        )
        return cls(data["column"], data["key"], start, end)

    def as_json(self) -> dict[str, Any]:
        """Return what the catalog keeps."""
        start, end = (None if at is None else at.isoformat() for at in (self.start, self.end))
        return {"column": self.column, "key": self.key, "start": start, "end": end}

    def by(self, kind: str) -> str:
        """Return how the table is cut, given the type of the column: `RANGE (day)`."""
        return f"{'LIST' if self._times(kind) is None else 'RANGE'} ({quoted(self.column)})"

    def values(self, kind: str) -> str:
        """Return the SQL of the bounds of the partition, given the type of the column."""
        if (times := self._times(kind)) is None:
            return f"FOR VALUES IN ({literal(self.key)})"
        return f"FOR VALUES FROM ({literal(times[0])}) TO ({literal(times[1])})"

    def condition(self, kind: str) -> str:
        """Return the SQL that holds for the rows of the slice, given the type of the column."""
        column = quoted(self.column)
        if (times := self._times(kind)) is None:
            return f"{column} IS NOT NULL AND {column} = {literal(self.key)}"
        start, end = map(literal, times)
        return f"{column} IS NOT NULL AND {column} >= {start} AND {column} < {end}"

    def cuts(self, kind: str) -> bool:
        """Whether a column of a type tells the slices apart: days do not tell hours."""
        times = self._times(kind)
        return times is None or times[0] != times[1]

    def overlaps(self, other: "SliceBounds", kind: str) -> bool:
        """Whether rows could belong to either of two windows, given the type of the column.

        Days in another time zone are the same dates. Keys that are no times do not overlap.
        """
        own, its = self._window(kind), other._window(kind)
        return own is not None and its is not None and own[0] < its[1] and its[0] < own[1]

    @property
    def likely_type(self) -> str:
        """The type that a column with the times of slices most likely has."""
        at = (self.start, self.end)
        is_days = all(t is not None and not (t.hour or t.minute or t.second) for t in at)
        return "date" if is_days else "timestamp with time zone"

    def _times(self, kind: str) -> tuple[str, str] | None:
        window = self._window(kind) if _PRECISION.sub("", kind) in _TIMES else None
        return window and (window[0].isoformat(), window[1].isoformat())

    def _window(self, kind: str) -> tuple[Any, Any] | None:
        if self.start is None or self.end is None:
            return None
        form = _TIMES.get(_PRECISION.sub("", kind), _TIMES["timestamp without time zone"])
        return form(self.start), form(self.end)


def column_of(spec: dg.AssetSpec) -> str:
    """Return the column that says which slice of its table a row belongs to."""
    name, _ = slice_dimension(cast("dg.MultiPartitionsDefinition", spec.partitions_def))
    said = spec.metadata.get(COLUMN_KEY)
    said = getattr(said, "value", said)
    return str(said.get(name, name) if isinstance(said, Mapping) else said or name)


_PRECISION = re.compile(r"\(\d+\)")
_TIMES: Mapping[str, Callable[[dt.datetime], dt.date]] = {
    "date": lambda at: at.date(),
    "timestamp without time zone": lambda at: at.replace(tzinfo=None),
    "timestamp with time zone": lambda at: at,
}


def bounds_of(row: CatalogRow) -> SliceBounds:
    """Return which rows belong to a slice, given its catalog row."""
    return SliceBounds.from_json(row.slice)


def build_command(instance: Instance, slices: Sequence[CatalogRow]) -> str:
    """Return the command that builds slices of a table, given their catalog rows."""
    bounds = {item.key: item for item in map(bounds_of, slices)}.values()
    order = sorted(bounds, key=lambda item: (item.start.timestamp() if item.start else 0, item.key))
    ends = {item.end for item in bounds if item.end}
    said = as_ranges((item.key, item.start in ends) for item in order)
    return f"{instance.environment}{project.command('run', instance.name, '--slices', said)}"


def drop_command(instance: Instance, whole: StageTable) -> str:
    """Return the command that drops a table with its slices, so that it can get other ones."""
    command = project.command("drop", instance.name, "--table", str(whole))
    return f"{instance.environment}{command}"


def attached(connection: sa.Connection, relation: RelationName) -> frozenset[str]:
    """Name the partitions that a sliced table has."""
    found = run(connection, _ATTACHED.format(relation=literal(relation.quoted)))
    return frozenset(name for (name,) in found)


def refresh_whole(
    connection: sa.Connection, instance: Instance, whole: StageTable, run_id: str | None
) -> CatalogRow | None:
    """Let the catalog say of a sliced table what follows from its slices.

    Slices that somebody has dropped or detached are forgotten.

    Args:
        connection: The transaction in which the slices have changed.
        instance: Whose table.
        whole: The table.
        run_id: The run that has changed them; None: none has.

    Returns:
        Its row; None where no slice is left.
    """
    schema = instance.catalog_schema
    known = catalog.slices(connection, schema, whole)
    there = attached(connection, committed(instance, whole))
    catalog.forget(connection, schema, [row.table for row in known if row.name not in there])
    rows = [row for row in known if row.name in there]
    if not rows:
        catalog.forget(connection, schema, [whole])
        return None
    row = whole_row(whole, rows, run_id)
    catalog.put(connection, schema, [row])
    return row


def whole_row(whole: StageTable, slices: Sequence[CatalogRow], run_id: str | None) -> CatalogRow:
    """Return the row of a sliced table, given those of its slices."""
    last = max(slices, key=lambda row: str(row.committed_at))
    codes: set[Any] = {code_of_slice(row) for row in slices}
    return CatalogRow(
        whole.stage,
        whole.name,
        "sliced",
        fingerprint("slices-1", {row.table.slice: row.data_version for row in slices}),
        properties=last.properties,
        slice={
            "column": bounds_of(last).column,
            "codes": [] if None in codes else sorted(codes),
            "inputs": sorted({name for row in slices for name in inputs_of_slice(row)}),
        },
        row_count=sum(row.row_count or 0 for row in slices),
        bytes=sum(row.bytes or 0 for row in slices),
        run_id=run_id or last.run_id,
        made_in=last.made_in,
        seen_in=last.seen_in,
        built_at=last.built_at,
    )


def code_of_slice(row: CatalogRow) -> str | None:
    """Return by which code a slice was made, which others may have as well; None: not known."""
    if row.code_version is None:
        return None
    # What is declared of a slice has its bounds in it.
    identity = {k: v for k, v in row.identity.items() if k not in ("source", "declared")}
    return fingerprint("slice-code-1", row.code_version, identity, row.properties)


def inputs_of_slice(row: CatalogRow) -> list[str]:
    """Return what a slice was made of, with slices named as the tables that they are of."""
    return sorted({name.partition(SLICE_MARK)[0] for name in row.inputs})
