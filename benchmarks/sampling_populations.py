"""Populations whose sums and means are known, with the settings that they are sampled by."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from data_pipeline import ForeignKey
from data_pipeline.database.identifiers import StageTable
from data_pipeline.instances.settings.sample import SampleSettings
from data_pipeline.sampling.key_hash import sampled_mask
from data_pipeline.sampling.plan.hubs_and_thresholds import hub_limit
from data_pipeline.sampling.plan.sample_plan import SamplePlan, sample_plan
from data_pipeline.sampling.plan.schema_graph import schema_graph
from data_pipeline.store.table_properties import Properties, properties

_NEAR = 0.04
"""How near a size is to what is wanted when no other rate is tried, as in `sampling.budget`."""


@dataclass(frozen=True)
class Population:
    """A small schema.

    Attributes:
        name: What is special about it.
        tables: Its rows.
        declared: What is declared of them.
        settings: What they are sampled by.
        measured: The table whose column `amount` is estimated, also of its `kind` rare.
        key: Its primary key.
        roots: The number of its roots; their keys begin at 0.
        rows: The rows that a sample stands for: their `key`, the key of their `root`, whether they
            are `alone`, drawn by themselves since the root is a hub, `amount` and `kind`.
        rate: The rate, or where the search for it begins.
    """

    name: str
    tables: Mapping[str, pd.DataFrame]
    declared: Mapping[str, Properties]
    settings: Mapping[str, Any]
    measured: str
    key: str
    roots: int
    rows: pd.DataFrame
    rate: float

    def plan(self, salt: int) -> SamplePlan:
        """Return what a sample of a salt is chosen by."""
        settings = SampleSettings.model_validate({**self.settings, "salt": salt, "cover": "off"})
        raw = {name: StageTable("raw", name) for name in self.declared}
        plan = sample_plan(settings, schema_graph("bench", raw, self.declared))
        if plan is None:
            raise AssertionError(f"{self.name} has a root")
        return plan

    def drawn(self, salt: int, rate: float | None = None) -> pd.DataFrame:
        """Return the random sample, with probabilities and units.

        Args:
            salt: The salt.
            rate: The rate; None: that of the population, or the one that fits its size.
        """
        if rate is None:
            rate = self._fitted(salt)
        roots = sampled_mask([pa.array(np.arange(self.roots))], rate, salt)
        alone = sampled_mask([pa.array(self.rows["key"])], rate, salt)
        is_alone = self.rows["alone"].to_numpy()
        keep = np.where(is_alone, alone, roots[self.rows["root"]])
        # Keys of one value have one hash, so what they are keys of is drawn together.
        unit = np.where(is_alone, self.rows["key"], self.rows["root"])
        return self.rows.assign(unit=unit, probability=rate)[keep]

    def _fitted(self, salt: int) -> float:
        """Return a rate at which all tables together have the size that is asked for."""
        wanted = self.settings.get("size", {}).get("rows")
        rate = self.rate
        for _ in range(8 if wanted else 0):
            roots = sampled_mask([pa.array(np.arange(self.roots))], rate, salt)
            kept = self.tables["visitors"][roots]
            size = len(kept) + kept["shop"].nunique() + roots[self.rows["root"]].sum()
            if abs(size - wanted) <= _NEAR * wanted:
                break
            rate *= wanted / size
        return rate


def populations() -> Iterator[Population]:
    """Return all of them."""
    yield _heavy_tails()
    yield _where_cut_and_follow()
    yield _budget()


def bookings() -> pd.DataFrame:
    """Return bookings of 3,000 accounts.

    Their number is heavy-tailed, and amounts are skewed and alike within an account.
    """
    random = np.random.default_rng(5)
    children = np.minimum(random.zipf(2.0, 3_000), 1_000)
    account = np.repeat(np.arange(3_000), children)
    of_account = random.normal(0, 0.5, 3_000)[account]
    return pd.DataFrame(
        {
            "booking": np.arange(len(account)),
            "account": account,
            "amount": np.exp(of_account + random.normal(0, 0.7, len(account))),
            "kind": np.where(random.random(len(account)) < 0.3, "rare", "common"),
        }
    )


def _heavy_tails() -> Population:
    rows = bookings()
    children = Counter(rows["account"])
    limit = hub_limit(dict(Counter(children.values()))) or len(rows)
    alone = rows["account"].map(children) > limit
    return Population(
        "hubs",
        {"accounts": pd.DataFrame({"account": range(3_000)}), "bookings": rows},
        {
            "accounts": properties(primary_key="account"),
            "bookings": properties(
                primary_key="booking", foreign_keys=[ForeignKey("account", "accounts")]
            ),
        },
        {"roots": {"accounts": {"rate": 0.1}}},
        "bookings",
        "booking",
        3_000,
        rows.assign(key=rows["booking"], root=rows["account"], alone=alone),
        0.1,
    )


def _where_cut_and_follow() -> Population:
    """Customers know each other; of returns the way over orders is the longer one."""
    random = np.random.default_rng(6)
    customers = pd.DataFrame({"customer": np.arange(2_000), "friend": random.permutation(2_000)})
    of_customer = random.normal(0, 0.6, 2_000)
    buyer = np.repeat(np.arange(2_000), random.geometric(0.4, 2_000))
    orders = pd.DataFrame({"number": np.arange(len(buyer)), "buyer": buyer})
    orders["day"] = random.integers(0, 100, len(orders))
    order = np.repeat(orders["number"], random.geometric(0.5, len(orders)) - 1).to_numpy()
    returns = pd.DataFrame({"return": np.arange(len(order)), "order": order})
    returns["taker"] = random.integers(0, 2_000, len(order))
    skewed = random.gamma(1.5, 1, len(order))
    returns["amount"] = np.exp(of_customer[buyer[order]]) * skewed
    returns["kind"] = np.where(random.random(len(order)) < 0.06, "rare", "common")
    rows = returns[returns["order"].isin(orders.loc[orders["day"] >= 20, "number"])]
    return Population(
        "where, cut, follow",
        {"customers": customers, "orders": orders, "returns": returns},
        {
            "customers": properties(
                primary_key="customer", foreign_keys=[ForeignKey("friend", "customers", "customer")]
            ),
            "orders": properties(
                primary_key="number", foreign_keys=[ForeignKey("buyer", "customers", "customer")]
            ),
            "returns": properties(
                primary_key="return",
                foreign_keys=[
                    ForeignKey("taker", "customers", "customer"),
                    ForeignKey("order", "orders", "number"),
                ],
            ),
        },
        {
            "roots": {"customers": {"rate": 0.15}},
            "where": {"orders": "day >= 20"},
            "cut": ["customers.friend"],
            "follow": {"returns": "orders"},
            "small_table_rows": 0,
        },
        "returns",
        "return",
        2_000,
        rows.assign(key=rows["return"], root=buyer[rows["order"]], alone=False),
        0.15,
    )


def _budget() -> Population:
    """The rate follows from a number of rows, anew for each salt; a twentieth of rows is rare."""
    random = np.random.default_rng(7)
    shop = np.repeat(np.arange(400), random.integers(1, 4, 400))
    visitor = np.repeat(np.arange(len(shop)), random.poisson(2, len(shop)))
    rows = pd.DataFrame({"sale": np.arange(len(visitor)), "visitor": visitor})
    rows["amount"] = np.exp(
        random.normal(0, 0.5, len(shop))[visitor] + random.normal(0, 0.7, len(visitor))
    )
    rows["kind"] = np.where(random.random(len(rows)) < 0.15, "rare", "common")
    visitors = pd.DataFrame({"visitor": np.arange(len(shop)), "shop": shop})
    return Population(
        "size in rows",
        {"shops": pd.DataFrame({"shop": range(400)}), "visitors": visitors, "sales": rows},
        {
            "shops": properties(primary_key="shop"),
            "visitors": properties(
                primary_key="visitor", foreign_keys=[ForeignKey("shop", "shops")]
            ),
            "sales": properties(
                primary_key="sale", foreign_keys=[ForeignKey("visitor", "visitors")]
            ),
        },
        {"roots": {"visitors": {}}, "size": {"rows": 600}, "small_table_rows": 0},
        "sales",
        "sale",
        len(shop),
        rows.assign(key=rows["sale"], root=rows["visitor"], alone=False),
        0.15,
    )
