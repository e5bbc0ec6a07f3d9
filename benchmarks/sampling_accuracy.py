"""How far weighted numbers of midi are from those of full."""

import math
from collections.abc import Iterator

import numpy as np
import pandas as pd
import sqlalchemy as sa

from benchmarks.gates import Gate
from benchmarks.tpch import INPUTS, Tpch

_MEASURES = {
    "orders": ("o_totalprice",),
    "lineitem": ("l_quantity", "l_extendedprice", "l_discount"),
}
_GROUPS = {
    "orders": ("o_orderstatus", "o_orderpriority", "extract(year FROM o_orderdate)"),
    "lineitem": (
        "l_returnflag || l_linestatus", "l_shipmode", "l_shipinstruct", "l_quantity",
        "extract(year FROM l_shipdate)",
    ),
}  # fmt: skip
_COLUMNS = {
    "orders": ("o_totalprice", "o_orderdate - date '1992-01-01'"),
    "lineitem": (
        "l_quantity", "l_extendedprice", "l_discount", "l_tax", "l_partkey", "l_suppkey",
        "l_shipdate - date '1992-01-01'",
    ),
}  # fmt: skip
_LEVEL = 0.05


def gates(connection: sa.Connection, tpch: Tpch) -> Iterator[Gate]:
    """Measures errors of counts, sums and means, and distances of distributions."""
    worst_global, worst_group = 0.0, 0.0
    groups = 0
    for table, measures in _MEASURES.items():
        worst_global = max(worst_global, *_errors(connection, tpch, table, measures, "true"))
        for group in _GROUPS[table]:
            errors = list(_errors(connection, tpch, table, measures, group))
            groups += len(errors)
            worst_group = max(worst_group, *errors)
    yield Gate.within("weighted count, sum, mean: worst error, all rows", worst_global, 0, 2, " %")
    name = f"weighted count, sum, mean: worst of {groups}, groups >= 1 %"
    yield Gate.within(name, worst_group, 0, 10, " %")
    yield from _distances(connection, tpch)


def _errors(
    connection: sa.Connection, tpch: Tpch, table: str, measures: tuple[str, ...], group: str
) -> Iterator[float]:
    """Return the relative errors in percent, of groups that have a hundredth of the rows."""
    full = _numbers(connection, f"{tpch.instance('full').schema(INPUTS)}.{table}", measures, group)
    weighted = f"{tpch.instance('midi').sample_schema}.{INPUTS}__{table}_weighted"
    midi = _numbers(connection, weighted, measures, group, "weight")
    full = full[full["rows"] >= 0.01 * full["rows"].sum()]
    error = 100 * (midi.reindex(full.index).fillna(0) / full - 1).abs()
    yield from error.to_numpy(dtype=float).ravel()


def _numbers(
    connection: sa.Connection,
    relation: str,
    measures: tuple[str, ...],
    group: str,
    weight: str = "1.0::float8",
) -> pd.DataFrame:
    columns = [f"sum({weight}) AS rows"]
    for name in measures:
        columns.append(f"sum({weight} * {name}::float8) AS sum_{name}")
        columns.append(f"sum({weight} * {name}::float8) / sum({weight}) AS mean_{name}")
    query = f"SELECT {group} AS key, {', '.join(columns)} FROM {relation} GROUP BY 1"
    return pd.read_sql(sa.text(query), connection).set_index("key").astype(float)


def _distances(connection: sa.Connection, tpch: Tpch) -> Iterator[Gate]:
    """Measures the largest distance of distribution functions, in units of its critical value.

    n_eff counts sampling units (Kish), since line items of an order are alike. For m columns, the
    critical value is sqrt(-ln(0.05 / 2 / m) / 2 / n_eff), which is 1.36 / sqrt(n_eff) for one.
    """
    count = sum(map(len, _COLUMNS.values()))
    factor = math.sqrt(-math.log(_LEVEL / 2 / count) / 2)
    worst, described = 0.0, ""
    for table, columns in _COLUMNS.items():
        weighted = f"{tpch.instance('midi').sample_schema}.{INPUTS}__{table}_weighted"
        units = f"SELECT sum(weight) AS w FROM {weighted} WHERE weight > 0 GROUP BY unit"
        n_eff = connection.scalar(sa.text(f"SELECT sum(w)^2 / sum(w * w) FROM ({units}) u"))
        for column in columns:
            source = f"{tpch.instance('full').schema(INPUTS)}.{table}"
            full = _distribution(connection, source, column, "1.0::float8")
            midi = _distribution(connection, weighted, column, "weight")
            values = np.union1d(full.index, midi.index)
            at = [_steps(item, values) for item in (full, midi)]
            distance = float(np.abs(at[0] - at[1]).max())
            over = distance / (factor / math.sqrt(n_eff))
            if over > worst:
                worst, described = over, f" ({column.split()[0]}: {distance:.4f})"
    name = f"weighted KS distance over its critical value, worst of {count}"
    yield Gate.within(name, worst, 0, 1, "", described)


def _distribution(connection: sa.Connection, relation: str, column: str, weight: str) -> pd.Series:
    query = (
        f"SELECT ({column})::float8 AS value, sum({weight}) AS w FROM {relation} "
        f"GROUP BY 1 HAVING sum({weight}) > 0 ORDER BY 1"
    )
    return pd.read_sql(sa.text(query), connection).set_index("value")["w"]


def _steps(weights: pd.Series, values: np.ndarray) -> np.ndarray:
    """Return a distribution function at some values."""
    cumulated = np.concatenate([[0.0], np.cumsum(weights.to_numpy()) / weights.sum()])
    return cumulated[np.searchsorted(weights.index.to_numpy(), values, side="right")]
