"""What is known of the values of a column without reading all of it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import sqlalchemy as sa

from data_pipeline.sampling.engine.source_tables import SourceTable
from data_pipeline.sampling.plan.schema_graph import Relationship

PROBED_ROWS = 20_000
"""About so many rows of a table are looked at, from everywhere in it."""

_COMMON = 5
"""Of values that probed rows have as often, the share is taken to be that among them."""

_STATISTICS = sa.text("""
SELECT attname, null_frac, n_distinct, most_common_freqs::float8[],
    coalesce(histogram_bounds::text::text[], most_common_vals::text::text[])
FROM pg_stats WHERE schemaname = :schema AND tablename = :table
""")


@dataclass(frozen=True)
class RowsOfUnits:
    """Rows that are chosen together.

    Attributes:
        alike: How many values they refer to, for each of them.
        overlap: How many these are for each that rows of several tables, or columns, refer to.
    """

    alike: float = 1.0
    overlap: float = 1.0


_ROWS = RowsOfUnits()


@dataclass(frozen=True)
class ColumnStatistics:
    """What PostgreSQL knows of a column.

    Attributes:
        nulls: The share of rows where it is NULL.
        values: The number of its values.
        common: The shares of rows of its most common values.
        bounds: Some of its values, of a column of numbers, with as many rows between each two.
    """

    nulls: float
    values: float
    common: tuple[float, ...] = ()
    bounds: tuple[float, ...] = ()

    def part_between(self, others: tuple[float, ...]) -> float:
        """Return the share of rows whose values are between the least and greatest of others."""
        if len(self.bounds) < 2 or not others:
            return 1.0
        steps = range(len(self.bounds))
        low, high = np.interp([others[0], others[-1]], self.bounds, list(steps))
        return float(max(high - low, 0.5) / steps[-1])

    def shown(
        self, rows: float, rate: float, units: RowsOfUnits = _ROWS, alone: float = 0.0
    ) -> tuple[float, float]:
        """Return the expected number of values that chosen rows show, and do not show.

        Args:
            rows: The rows of the table.
            rate: The share of rows that are chosen in units.
            units: What rows of a unit have in common.
            alone: The share of rows that are chosen one by one.
        """

        def missing(count: float) -> float:
            others = max(1.0, count * units.alike) * units.overlap
            return float((1 - rate) ** others * (1 - alone) ** max(1.0, count))

        rest = max(0.0, self.values - len(self.common))
        others = max(0.0, 1 - self.nulls - sum(self.common)) * rows
        missed = sum(missing(share * rows) for share in self.common)
        if rest:
            missed += rest * missing(others / rest)
        return max(0.0, self.values - missed), missed


def column_statistics(
    connection: sa.Connection, table: sa.Table, rows: float
) -> dict[str, ColumnStatistics]:
    """Return what PostgreSQL knows of the columns of a table.

    Args:
        connection: To the source.
        table: The table.
        rows: Its rows.
    """
    names = {"schema": table.schema, "table": table.name}
    found = {}
    for column, nulls, values, common, bounds in connection.execute(_STATISTICS, names):
        count = values if values >= 0 else -values * rows
        found[column] = ColumnStatistics(
            nulls, max(1.0, count), tuple(common or ()), _numbers(bounds or ())
        )
    return found


def probe(source: SourceTable, rows: float) -> sa.FromClause:
    """Return some rows (alias `s`) of a table from everywhere in it: all, if it is small."""
    percent = min(100.0, max(0.001, 100 * PROBED_ROWS / max(rows, 1)))
    return source.table.tablesample(sa.func.system(percent), name="s", seed=sa.literal(0))


def references_within(
    connection: sa.Connection, source: SourceTable, item: Relationship, rows: float
) -> ColumnStatistics | None:
    """Return what the rows of a population refer to; None where the probe finds none of them.

    The number of values follows from the d that probed rows have: n d / (n - f + f n / N), f of
    them once among n of N rows (Haas and Stokes 1998, Estimating the number of classes in a
    finite population, JASA 93(444), which PostgreSQL's ANALYZE takes, too).

    Args:
        connection: To the source.
        source: The table that refers, with its population.
        item: The relationship.
        rows: The rows of the table.
    """
    some = probe(source, rows)
    values = [some.c[name] for name in item.columns]
    refers = sa.and_(*(value.is_not(None) for value in values))
    within = source.within(some)
    counted = sa.func.count().label("times")
    each = sa.select(counted).where(*within, refers).group_by(*values).subquery("each")
    by_times = sa.select(each.c.times, sa.func.count()).group_by(each.c.times)
    found = {int(times): int(count) for times, count in connection.execute(by_times)}
    looked_at, inside = connection.execute(
        sa.select(sa.func.count(), sa.func.count().filter(sa.and_(sa.true(), *within))).select_from(
            some
        )
    ).one()
    referring, values_seen = sum(n * count for n, count in found.items()), sum(found.values())
    if not referring:
        return None
    once = found.get(1, 0)
    every = max(referring, rows * referring / looked_at)
    number = referring * values_seen / (referring - once + once * referring / every)
    common = [n / inside for n in found if n >= _COMMON for _ in range(found[n])]
    return ColumnStatistics(1 - referring / inside, max(1.0, number), tuple(common))


def _numbers(texts: Sequence[str]) -> tuple[float, ...]:
    """Return values as numbers, ascending; none where they are no numbers."""
    try:
        return tuple(sorted(float(text) for text in texts))
    except ValueError:
        return ()
