"""A sample of a source that has changed has the rows of a fresh draw; what is the same stays."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import pytest
import sqlalchemy as sa

from data_pipeline import instance_resources
from data_pipeline_tests.io_manager.runs import execute
from data_pipeline_tests.sampling.shop import Rows, RunFull, Shop, configured, rows, run

NAMES = ("regions", "customers", "orders", "clicks")
MIDI: dict[str, Any] = {"roots": {"customers": {"rate": 0.2}}, "small_table_rows": 2}
ORDERS: dict[str, Any] = {"roots": {"orders": {"rate": 0.1}}, "whole": ["clicks"]}
SAMPLES: dict[str, dict[str, Any]] = {
    "rate": MIDI | {"hubs": "off"},
    "hubs": MIDI,
    "rows": MIDI | {"roots": {"customers": {"rows": 30}}},
    "grandchildren": MIDI | {"roots": {"regions": {"rows": 2}}},
    "where": MIDI | {"where": {"orders": "amount > 20"}},
    "where of the root": MIDI | {"hubs": "off", "where": {"customers": "region = 'north'"}},
    "mask": MIDI | {"mask": {"orders": {"amount": "-amount"}}},
    "cut": MIDI | {**ORDERS, "cut": ["orders.customer"]},
    "follow": MIDI | {"follow": {"clicks": "customers"}, "pins": {"orders": [{"number": 5}]}},
    "referred": MIDI | ORDERS,
    "budget": MIDI | {"roots": {"customers": {}}, "size": {"rows": 500}},
    "minimal": {"roots": {"customers": {}}, "size": "minimal"},
}


def inserted(shop: Shop) -> None:
    new = pd.DataFrame({"number": [9_001, 9_002], "customer": [3, 17], "amount": [1.0, 2.0]})
    shop.frames["orders"] = pd.concat([shop.frames["orders"], new.astype({"customer": "Int64"})])


def updated(shop: Shop) -> None:
    shop.frames["orders"].loc[::50, "amount"] = 33.0


def deleted(shop: Shop) -> None:
    shop.frames["orders"] = shop.frames["orders"].drop(index=range(0, 300, 7))


def other_keys(shop: Shop) -> None:
    orders = shop.frames["orders"].reset_index(drop=True)
    orders.loc[5:20, "number"] += 5_000
    orders.loc[40:60, "customer"] = 11
    shop.frames["orders"] = orders


def a_hub(shop: Shop) -> None:
    shop.frames["orders"].loc[:399, "customer"] = 8


def extremes(shop: Shop) -> None:
    shop.frames["orders"].loc[77, "amount"] = -4.0
    shop.frames["orders"].loc[78, "amount"] = 4_000.0


def dangling(shop: Shop) -> None:
    customers = shop.frames["customers"].drop(index=[4, 5, 6])
    customers.loc[20:60, "region"] = "south"
    shop.frames["customers"] = customers


def mixed(shop: Shop) -> None:
    for change in (inserted, updated, deleted, other_keys):
        change(shop)


def heavy(shop: Shop) -> None:
    for change in (a_hub, extremes):
        change(shop)


CHANGES: list[tuple[Callable[[Shop], None], str]] = [
    (mixed, "orders"), (heavy, "orders"), (dangling, "customers"),
]  # fmt: skip


def made(engine: sa.Engine) -> dict[str, Rows]:
    """Gives the rows of midi with roles and weights."""
    tables = [f"midi_inputs.{name}" for name in NAMES]
    tables += [f"midi_sample.inputs__{name}{end}" for name in NAMES for end in ("", "_weighted")]
    return {name: rows(engine, f"SELECT t::text FROM {name} AS t ORDER BY 1") for name in tables}


def files(engine: sa.Engine) -> dict[str, Any]:
    """Gives where the rows of midi lie."""
    query = """
        SELECT relname, pg_relation_filenode(c.oid) FROM pg_class c
        JOIN pg_namespace n ON n.oid = relnamespace
        WHERE nspname IN ('midi_inputs', 'midi_sample') AND relkind = 'r'
    """
    return dict(rows(engine, query))


def versions(engine: sa.Engine) -> dict[str, Any]:
    query = "SELECT name, data_version FROM midi_catalog.tables"
    return dict(rows(engine, query))


def loaded(shop: Shop, config: str, *names: str) -> None:
    """Loads tables of full anew."""
    dg.materialize(
        shop.assets(),
        selection=dg.AssetSelection.assets(*(["raw", name] for name in names)),
        partition_key="full",
        resources=instance_resources("full", config=config),
    )


def made_shop(sample: dict[str, Any], path: Path, run_full: RunFull) -> tuple[Shop, str]:
    shop = Shop(customers=100)
    shop.frames["orders"]["customer"] = shop.frames["orders"]["customer"].astype("Int64")
    shop.frames["orders"].loc[::9, "customer"] = None
    config = configured(path, midi=sample)
    run_full(shop, config)
    run(shop.assets(weights=True), "midi", config)
    return shop, config


OFTEN = ("rate", "hubs", "rows", "where", "grandchildren", "mask", "follow")
"""Samples that differ most in how their rows are found again; `make soak` has all."""


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[] if name in OFTEN else [pytest.mark.soak]) for name in SAMPLES],
)
def test_refreshed_samples_have_the_rows_of_a_fresh_draw(
    pipeline_database: sa.Engine, tmp_path: Path, run_full: RunFull, name: str
) -> None:
    shop, config = made_shop(SAMPLES[name], tmp_path, run_full)
    for change, table in CHANGES:
        change(shop)
        loaded(shop, config, table)
        run(shop.assets(weights=True), "midi", config)
    refreshed = made(pipeline_database)
    for schema in ("midi_inputs", "midi_sample", "midi_catalog"):
        execute(pipeline_database, f"DROP SCHEMA {schema} CASCADE")
    run(shop.assets(weights=True), "midi", config)
    assert refreshed == made(pipeline_database)


@pytest.mark.parametrize(
    "name",
    [
        "rate",
        "where",
        *(pytest.param(n, marks=pytest.mark.soak) for n in ("where of the root", "rows")),
    ],
)
def test_copies_whose_rows_are_the_same_stay(
    pipeline_database: sa.Engine, tmp_path: Path, run_full: RunFull, name: str
) -> None:
    shop, config = made_shop(SAMPLES[name], tmp_path, run_full)
    before, known = files(pipeline_database), versions(pipeline_database)
    updated(shop)
    loaded(shop, config, "orders")
    run(shop.assets(weights=True), "midi", config)
    after, found = files(pipeline_database), versions(pipeline_database)
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {"orders", "inputs__orders"}
    new = {name for name in known if known[name] != found[name]}
    assert new == {"orders", "inputs__orders", "inputs__orders_weighted"}
    run(shop.assets(weights=True), "midi", config)
    assert files(pipeline_database) == after


def test_a_copy_that_somebody_has_changed_is_made_again(
    pipeline_database: sa.Engine, tmp_path: Path, run_full: RunFull
) -> None:
    shop, config = made_shop(SAMPLES["rate"], tmp_path, run_full)
    expected = made(pipeline_database)["midi_inputs.clicks"]
    execute(pipeline_database, "DELETE FROM midi_inputs.clicks")
    updated(shop)
    loaded(shop, config, "orders")
    run(shop.assets(weights=True), "midi", config)
    assert made(pipeline_database)["midi_inputs.clicks"] == expected
