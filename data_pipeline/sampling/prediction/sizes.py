"""How large a sample is, table by table, and how each table is chosen."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import sqlalchemy as sa

from data_pipeline.database.identifiers import RelationName
from data_pipeline.instances.settings.sample import Budget
from data_pipeline.sampling.engine import Selection
from data_pipeline.sampling.plan.roots_and_children import SamplePart
from data_pipeline.sampling.plan.sample_plan import SamplePlan
from data_pipeline.store.reading import catalog_row_of

_EXTENT = sa.text("""
WITH parts AS (
    SELECT relid AS oid FROM pg_partition_tree(to_regclass(:name)) WHERE isleaf
    UNION SELECT to_regclass(:name)
), heaps AS (
    SELECT oid FROM parts
    UNION ALL SELECT reltoastrelid FROM pg_class JOIN parts USING (oid) WHERE reltoastrelid <> 0
), indexes AS (
    SELECT pg_relation_size(indexrelid) AS size FROM pg_index JOIN heaps ON indrelid = heaps.oid
)
SELECT (SELECT reltuples FROM pg_class WHERE oid = to_regclass(:name)),
    (SELECT sum(pg_total_relation_size(oid)) FROM parts),
    (SELECT array_agg(pg_relation_size(oid)) FROM heaps),
    (SELECT array_agg(size) FROM indexes WHERE size > 0),
    current_setting('block_size')::int
""")


@dataclass(frozen=True)
class Extent:
    """How large a table is.

    Attributes:
        rows: Its rows.
        bytes: What it takes on disk, with indexes.
        heaps: What its rows take, and what is stored beside them (TOAST).
        indexes: What each of its indexes takes.
        block: The size of the blocks that all of them consist of.
    """

    rows: float
    bytes: float
    heaps: tuple[int, ...] = ()
    indexes: tuple[int, ...] = ()
    block: int = 8192

    def bytes_of(self, rows: float) -> float:
        """Return what a copy of some rows takes, if they are as wide as the others.

        Each index has a block, however few rows there are, and each of these begins one.
        """
        share = rows / self.rows if self.rows else 0.0
        sizes = [*self.heaps, *(size - self.block for size in self.indexes)]
        blocks = sum(math.ceil(share * size / self.block) for size in sizes)
        return float((blocks + len(self.indexes)) * self.block)


@dataclass(frozen=True)
class TableSize:
    """How large a table of a sample is.

    Attributes:
        table: The table.
        how: How its rows are chosen, in words.
        rows: Its rows.
        source_rows: The rows of its source.
        bytes: What it takes on disk, with indexes, if its rows are as wide as those of the source.
        source_bytes: What the source takes.
    """

    table: str
    how: str
    rows: float
    source_rows: float
    bytes: float
    source_bytes: float

    @classmethod
    def of(cls, table: str, how: str, rows: float, source: Extent) -> "TableSize":
        """Return the size of a table of which so many rows come."""
        return cls(table, how, rows, source.rows, source.bytes_of(rows), source.bytes)

    @property
    def in_words(self) -> str:
        """The size and the share of it, as a sentence takes it."""
        share = _share(self.rows, self.source_rows)
        part = f" ({share})" if share else ""
        return f"{self.rows:,.0f} of {self.source_rows:,.0f} rows{part}, {_bytes(self.bytes)}"


def extents(connection: sa.Connection, tables: Mapping[str, sa.Table]) -> dict[str, Extent]:
    """Return how large tables are, by what is known of them; few have to be counted."""
    return {name: _extent(connection, table) for name, table in tables.items()}


def _extent(connection: sa.Connection, table: sa.Table) -> Extent:
    name = RelationName(table.schema or "public", table.name).quoted
    estimated, size, heaps, indexes, block = connection.execute(_EXTENT, {"name": name}).one()
    row = catalog_row_of(table)
    rows = estimated
    if row is not None and row.row_count is not None and row.table.name == table.name:
        rows = row.row_count  # else it is a working table with some rows of that one
    if rows < 0 or not size:  # nobody has looked at it yet, or it is a view
        rows = connection.scalar(sa.select(sa.func.count()).select_from(table)) or 0
    return Extent(float(rows), float(size), tuple(heaps), tuple(indexes or ()), block)


def sizes(connection: sa.Connection, selection: Selection) -> list[TableSize]:
    """Return the sizes of chosen tables."""
    tables = {name: source.table for name, source in selection.sources.items()}
    found = extents(connection, tables)
    return [
        TableSize.of(
            name,
            described(selection.plan, name, is_whole=chosen is None),
            _count(connection, selection, name, found[name].rows),
            found[name],
        )
        for name, chosen in selection.rows.items()
    ]


def _count(connection: sa.Connection, selection: Selection, name: str, everything: float) -> float:
    chosen, output = selection.rows[name], selection.outputs.get(name)
    if output is not None:
        return float(output.rows)
    if chosen is None:
        return everything
    return float(connection.scalar(sa.select(sa.func.count()).select_from(chosen)) or 0)


def described(plan: SamplePlan, name: str, *, is_whole: bool) -> str:
    """Say how the rows of a table are chosen.

    Args:
        plan: What they are chosen by.
        name: The table.
        is_whole: Whether all of them come.
    """
    table = plan.tables[name]
    condition = f", where {plan.where[name]}" if name in plan.where else ""
    if table.part is SamplePart.ROOT:
        return f"root: {_wanted(plan, name)}{condition}"
    if table.owner is not None:
        return f"child of {table.root}, by {table.owner}{condition}"
    if name in plan.whole:
        return f"whole: named in sample.whole{condition}"
    if table.part is SamplePart.WHOLE:
        few = "one row" if plan.is_minimal else "whole: small"
        return f"no root reaches it, {few}{condition}"
    return f"only referred to{', whole: small' if is_whole else ''}{condition}"


def _wanted(plan: SamplePlan, name: str) -> str:
    root = plan.roots[name]
    if root.rows is not None:
        return f"{root.rows:,} rows"
    if root.rate is not None:
        return f"rate {root.rate:.6g}"
    return "size minimal" if plan.is_minimal else "a rate that fits sample.size"


def as_lines(found: Sequence[TableSize]) -> list[str]:
    """Return the sizes as a table to be read, with a line for the whole."""
    every = [*found, total(found)]
    lines = [
        (
            size.table,
            f"{size.rows:,.0f}",
            f"{size.source_rows:,.0f}",
            _share(size.rows, size.source_rows),
            _bytes(size.bytes),
            size.how,
        )
        for size in every
    ]
    header = ("table", "rows", "of", "share", "bytes", "how")
    widths = [max(len(line[i]) for line in (header, *lines)) for i in range(5)]
    return [
        "  ".join(
            [line[0].ljust(widths[0]), *(line[i].rjust(widths[i]) for i in range(1, 5)), line[5]]
        ).rstrip()
        for line in (header, *lines)
    ]


def total(found: Iterable[TableSize]) -> TableSize:
    """Return the size of all tables."""
    found = list(found)
    return TableSize(
        "(all)",
        "",
        sum(size.rows for size in found),
        sum(size.source_rows for size in found),
        sum(size.bytes for size in found),
        sum(size.source_bytes for size in found),
    )


def measured(budget: Budget, found: Sequence[TableSize]) -> tuple[float, float]:
    """Return the size of tables in the unit of a budget, and what it is to be."""
    every = total(found)
    if budget.bytes is not None:
        return every.bytes, float(budget.bytes)
    wanted = budget.rows if budget.rows is not None else (budget.share or 0) * every.source_rows
    return every.rows, max(1.0, float(wanted))


def roots_have_no_more(size: float, wanted: float) -> str:
    """Say that a sample stays smaller than it is to be, though all rows of its roots come."""
    return f"its roots have no more rows: it is {size / wanted:.1%} of what is asked for"


def as_json(found: Sequence[TableSize]) -> dict[str, Any]:
    """Return the sizes as JSON can hold them, with shares."""
    return {"tables": [_json(size) for size in found], "total": _json(total(found))}


def _json(size: TableSize) -> dict[str, Any]:
    share = size.rows / size.source_rows if size.source_rows else 0.0
    counts = {
        key: round(value) if isinstance(value, float) else value
        for key, value in asdict(size).items()
    }
    return {**counts, "share": share}


def _share(rows: float, of: float) -> str:
    return f"{100 * rows / of:.1f} %" if of else ""


def _bytes(count: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if count >= 10 or unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TB"
