"""How many 95 % intervals contain the truth, for samples of a small schema by many salts.

Each of 3,000 accounts has bookings, their number is heavy-tailed, and amounts are skewed and alike
within an account.
"""

from collections import Counter
from collections.abc import Iterator

import numpy as np
import pandas as pd
import sqlalchemy as sa

from benchmarks.gates import Gate
from benchmarks.tpch import Tpch
from data_pipeline import ForeignKey
from data_pipeline.database.connection import database, run
from data_pipeline.database.identifiers import StageTable
from data_pipeline.estimates import Estimate, mean, total
from data_pipeline.instances.settings.sample import SampleSettings
from data_pipeline.sampling.engine import Selection, selection
from data_pipeline.sampling.engine.selection_state import Workspace
from data_pipeline.sampling.engine.source_tables import TID
from data_pipeline.sampling.plan.rules import design_effect, hub_limit
from data_pipeline.sampling.plan.sample_plan import SamplePlan, sample_plan
from data_pipeline.sampling.plan.schema_graph import schema_graph
from data_pipeline.store.table_properties import properties

SALTS = 1000
_SCHEMA, _WORK = "bench_accounts", "bench_accounts_work"
_DECLARED = {
    "accounts": properties(primary_key="account"),
    "bookings": properties(primary_key="booking", foreign_keys=[ForeignKey("account", "accounts")]),
}


def gates(tpch: Tpch) -> Iterator[Gate]:
    """Measures the share of intervals, and the design effect that is left with hubs."""
    bookings = _bookings()
    with database(tpch.instance("full")).engine.connect() as connection:
        run(connection, f"CREATE SCHEMA {_SCHEMA}")
        accounts = pd.DataFrame({"account": range(3_000)})
        for name, frame in (("accounts", accounts), ("bookings", bookings)):
            frame.to_sql(name, connection, schema=_SCHEMA, index=False, method="multi")
            run(connection, f"ANALYZE {_SCHEMA}.{name}")
        truth = {"total": bookings["amount"].sum(), "mean": bookings["amount"].mean()}
        truth["mean of a group"] = bookings[bookings["kind"] == "rare"]["amount"].mean()
        covered = dict.fromkeys(truth, 0)
        for salt in range(SALTS):
            for name, estimate in _estimates(connection, salt).items():
                covered[name] += estimate.low <= truth[name] <= estimate.high
        connection.rollback()
    for name, count in covered.items():
        criterion = f"95 % intervals with the truth, {name}, {SALTS} salts"
        yield Gate.within(criterion, 100 * count / SALTS, 93, 97, " %")
    parents = dict(Counter(Counter(bookings["account"]).values()))
    left, before = design_effect(parents, hub_limit(parents)), design_effect(parents)
    note = f", {before:.0f} without hubs"
    yield Gate.within("design effect with a heavy-tailed fan-out", left, 0, 25, "", note)


def _bookings() -> pd.DataFrame:
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


def _estimates(connection: sa.Connection, salt: int) -> dict[str, Estimate]:
    tables = {
        name: sa.Table(name, sa.MetaData(), schema=_SCHEMA, autoload_with=connection)
        for name in _DECLARED
    }
    with connection.begin_nested() as nested:
        chosen = selection(Workspace.open(connection, _WORK, "bench"), _plan(salt), tables)
        weighted = _weighted(chosen, "bookings")
        rare = weighted.where(sa.column("kind") == "rare")
        found = {
            "total": total(weighted, "amount", connection=connection),
            "mean": mean(weighted, "amount", connection=connection),
            "mean of a group": mean(rare, "amount", connection=connection),
        }
        nested.rollback()
    return found


def _plan(salt: int) -> SamplePlan:
    settings = SampleSettings.model_validate(
        {"roots": {"accounts": {"rate": 0.1}}, "salt": salt, "cover": "off"}
    )
    raw = {name: StageTable("raw", name) for name in _DECLARED}
    plan = sample_plan(settings, schema_graph("bench", raw, _DECLARED))
    if plan is None:
        raise AssertionError("accounts are a root")
    return plan


def _weighted(chosen: Selection, name: str) -> sa.Select[sa.Row[tuple[object, ...]]]:
    places = chosen.rows[name]
    if places is None:
        raise AssertionError(f"{name} is sampled")
    rows = chosen.sources[name].rows("data")
    columns = (rows.c[column.name] for column in chosen.sources[name].table.c)
    return sa.select(*columns, places.c.probability, places.c.unit).join(
        places, places.c[TID] == rows.c[TID]
    )
