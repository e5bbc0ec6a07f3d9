"""Stage `shop`: tables by SQL and pandas, two of them from one function, a blob, and a journal."""

from collections.abc import Iterator
from typing import Any

import dagster as dg
import pandas as pd
import sqlalchemy as sa

from data_pipeline import Stage, sql_query, table_properties
from data_pipeline.instances.partitions import INSTANCE_PARTITIONS
from data_pipeline_tests.proofs.project.generations import SQL_PACE, called, common_generation


@dg.asset(
    key=["shop", "totals"],
    partitions_def=INSTANCE_PARTITIONS,
    ins={name: dg.AssetIn(key=["inputs", name]) for name in ("customers", "orders")},
    metadata=table_properties(primary_key="id"),
)
def totals(customers: sa.Table, orders: sa.Table) -> Any:
    called("shop/totals")
    text = f"""
        SELECT c.id, coalesce(sum(o.amount), 0)::bigint AS total,
            CASE WHEN count(o.id) FILTER (WHERE o.generation <> c.generation) > 0 THEN -1
            ELSE c.generation END AS generation
        FROM {{customers}} c LEFT JOIN {{orders}} o ON o.customer = c.id CROSS JOIN {SQL_PACE}
        GROUP BY c.id, c.generation
    """
    return sql_query(text, customers=customers, orders=orders)


@dg.asset(
    key=["shop", "large"],
    partitions_def=INSTANCE_PARTITIONS,
    ins={"orders": dg.AssetIn(key=["inputs", "orders"])},
    metadata=table_properties(primary_key="id", indexes=["customer"]),
)
def large(orders: pd.DataFrame) -> pd.DataFrame:
    called("shop/large")
    return orders[orders["amount"] >= orders["amount"].median()]


@dg.multi_asset(
    name="ranks_and_summary",
    partitions_def=INSTANCE_PARTITIONS,
    ins={
        "totals": dg.AssetIn(key=["shop", "totals"]),
        "customers": dg.AssetIn(key=["inputs", "customers"]),
    },
    outs={name: dg.AssetOut(key=["shop", name]) for name in ("ranks", "summary")},
)
def ranks_and_summary(totals: pd.DataFrame, customers: pd.DataFrame) -> Iterator[dg.Output[Any]]:
    called("shop/ranks")
    common = common_generation(totals, customers)
    ranks = pd.DataFrame({"id": totals["id"], "rank": totals["total"].rank(), "generation": common})
    yield dg.Output(ranks, "ranks")
    facts = {"customers": len(customers), "total": int(totals["total"].sum())}
    yield dg.Output(pd.DataFrame([{**facts, "generation": common}]), "summary")


@dg.asset(
    key=["shop", "model"],
    partitions_def=INSTANCE_PARTITIONS,
    ins={name: dg.AssetIn(key=["shop", name]) for name in ("large", "ranks")},
)
def model(large: pd.DataFrame, ranks: pd.DataFrame) -> dict[str, int]:
    called("shop/model")
    return {"rows": len(large), "generation": common_generation(large, ranks)}


@Stage("shop", reads="inputs").table(write="append")
def journal(orders: sa.Table, previous: sa.Table | None) -> Any:
    """Each generation that there has been, which nothing but its increments brings."""
    called("shop/journal")
    text = f"SELECT DISTINCT generation AS number FROM {{orders}} CROSS JOIN {SQL_PACE}"
    if previous is None:
        return sql_query(text, orders=orders)
    new = f"SELECT number FROM ({text}) AS q EXCEPT SELECT number FROM {{previous}}"
    return sql_query(new, orders=orders, previous=previous)
