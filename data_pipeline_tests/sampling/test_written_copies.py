"""Copies that are written while their rows are chosen have those that others fetch by places."""

from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from data_pipeline import ForeignKey, Stage, copy_filtered_inputs
from data_pipeline.database.connection import close_databases
from data_pipeline_tests.sampling.shop import RunFull, Shop, configured, rows, run

NAMES = ("customers", "orders", "regions", "clicks")


def made(engine: sa.Engine) -> dict[str, Any]:
    """Gives the rows of midi, and their roles."""
    tables = [f"midi_{kind}{name}" for kind in ("inputs.", "sample.inputs__") for name in NAMES]
    return {name: rows(engine, f"SELECT * FROM {name} AS t ORDER BY t") for name in tables}


ROOTS: dict[str, dict[str, Any]] = {
    "rate": {"roots": {"customers": {"rate": 0.2}}},
    "rows": {"roots": {"customers": {"rows": 12}}},
    "grandchildren": {"roots": {"regions": {"rows": 2}}},
    "masks": {
        "roots": {"customers": {"rate": 0.2}},
        "mask": {"orders": {"amount": "-amount -- x"}},
    },
    "where": {
        "roots": {"customers": {"rate": 0.4}},
        "where": {"customers": "customer % 3 > 0 -- x", "orders": "amount > 3"},
    },
    "where of the root": {
        "roots": {"customers": {"rate": 0.4}},
        "where": {"customers": "customer % 3 > 0"},
        "mask": {"orders": {"amount": "-amount"}},
    },
    "where of a child": {"roots": {"customers": {"rate": 0.4}}, "where": {"orders": "amount > 3"}},
}


@pytest.mark.parametrize("name", ROOTS)
def test_they_have_the_same_rows_and_roles(
    pipeline_database: sa.Engine, tmp_path: Path, run_full: RunFull, name: str
) -> None:
    shop = Shop(customers=60)
    shop.frames["orders"]["customer"] = shop.frames["orders"]["customer"].astype("Int64")
    shop.frames["orders"].loc[::9, "customer"] = None
    shop.frames["orders"].loc[7, "customer"] = 1_000_000
    midi: dict[str, Any] = {
        **ROOTS[name],
        "small_table_rows": 2,
        "hubs": "off",
        "pins": {"orders": [{"number": 5}, {"number": 6}]},
    }
    run_full(shop, configured(tmp_path, midi=midi))
    run(shop.assets(weights=True), "midi", configured(tmp_path, midi=midi))
    written = made(pipeline_database)
    # With a limit of the closure, nothing is written before it is known to be within it.
    by_places = configured(tmp_path, midi=midi | {"closure_limit": 1})
    run(shop.assets(weights=True), "midi", by_places)
    assert written == made(pipeline_database)
    assert len(written["midi_inputs.orders"]) > 20
    roles = {row[1] for row in written["midi_sample.inputs__orders"]}
    assert "sampled" in roles
    assert len(roles) > 1
    assert len(written["midi_sample.inputs__orders"]) == len(written["midi_inputs.orders"])


@pytest.mark.parametrize(
    ("where", "ways"),
    [
        ({"customers": "customer % 3 > 0"}, ["WRITTEN", "WRITTEN"]),
        ({"customers": "customer < extract(year FROM current_date)"}, ["CHOSEN", "CHOSEN"]),
        ({"orders": "customer IN (SELECT 1)"}, ["WRITTEN", "CHOSEN"]),
    ],
)
def test_copies_of_what_a_fixed_condition_leaves_are_written_at_once(
    pipeline_database: sa.Engine,
    tmp_path: Path,
    run_full: RunFull,
    where: dict[str, str],
    ways: list[str],
) -> None:
    shop = Shop(customers=60)
    midi: dict[str, Any] = {"roots": {"customers": {"rate": 0.4}}, "hubs": "off", "where": where}
    config = configured(tmp_path, midi=midi)
    run_full(shop, config)
    run(shop.assets(), "midi", config)
    found = rows(
        pipeline_database,
        "SELECT content ->> 'how' FROM midi_catalog.source_facts "
        "WHERE about IN ('copy of customers', 'copy of orders') ORDER BY about",
    )
    assert [way for (way,) in found] == ways


def test_another_mask_makes_other_copies(
    pipeline_database: sa.Engine, tmp_path: Path, run_full: RunFull
) -> None:
    shop = Shop(customers=60)
    shop.frames["regions"]["sales"] = [1, 2, 3]
    midi: dict[str, Any] = {"roots": {"customers": {"rate": 0.4}}, "small_table_rows": 2}
    run_full(shop, configured(tmp_path, midi=midi))
    for sales in ("sales", "0 * sales", "sales + 10"):
        masked = midi | {"mask": {"regions": {"sales": sales}}}
        run(shop.assets(weights=True), "midi", configured(tmp_path, midi=masked))
        of_full = f"SELECT region, {sales} FROM full_raw.regions"
        others = f"SELECT region, sales FROM midi_inputs.regions EXCEPT {of_full}"
        assert rows(pipeline_database, others) == []
        assert rows(pipeline_database, "SELECT count(*) FROM midi_inputs.regions") == [(3,)]


def test_a_root_may_become_a_child_by_another_key_than_the_primary_one(
    pipeline_database: sa.Engine, tmp_path: Path
) -> None:
    raw = Stage("raw")

    @raw.table(primary_key="id")
    def people() -> sa.TextClause:
        return sa.text("SELECT g AS id FROM generate_series(1, 300) g")

    @raw.table(primary_key="id", foreign_keys=[ForeignKey("head", "people", "id")])
    def offices() -> sa.TextClause:
        return sa.text("SELECT g AS id, g AS head, 'o' || g AS name FROM generate_series(1, 300) g")

    @raw.table(primary_key="id", foreign_keys=[ForeignKey("office", "offices", "name")])
    def budgets() -> sa.TextClause:
        return sa.text("SELECT g AS id, 'o' || g AS office FROM generate_series(1, 300) g")

    inputs = copy_filtered_inputs(stage="inputs", raw=raw.assets, weights=True)
    others: dict[str, Any] = {"small_table_rows": 0, "cover": "off"}
    for roots in ("people", "budgets"), ("people",):
        midi = {"roots": {name: {"rate": 0.2} for name in roots}, **others}
        for name in ("full", "midi"):
            run([*raw.assets, inputs], name, configured(tmp_path, midi=midi))
    without_owner = (
        "SELECT count(*), count(offices.id) FROM midi_inputs.budgets "
        "LEFT JOIN midi_inputs.offices ON office = name"
    )
    [(there, with_owner)] = rows(pipeline_database, without_owner)
    assert there == with_owner > 30


@pytest.mark.parametrize("way", [{}, {"closure_limit": 1}], ids=["written", "by places"])
def test_they_are_made_anew_with_other_settings_of_sessions(
    pipeline_database: sa.Engine,
    tmp_path: Path,
    run_full: RunFull,
    monkeypatch: pytest.MonkeyPatch,
    way: dict[str, int],
) -> None:
    shop, name = Shop(customers=60), str(pipeline_database.url.database)
    config = configured(tmp_path, midi={"roots": {"customers": {"rate": 0.2}}, **way})
    run_full(shop, config)
    places: list[Any] = []
    found: list[dict[str, Any]] = []
    for zone in (None, "Asia/Tokyo", "Asia/Tokyo", None):
        if zone is None:
            monkeypatch.delenv("PGTZ", raising=False)
        else:
            monkeypatch.setenv("PGTZ", zone)
        close_databases(name)  # as another process would connect
        run(shop.assets(weights=True), "midi", config)
        places += rows(pipeline_database, "SELECT to_regclass('midi_inputs.orders')::oid")
        found.append(made(pipeline_database))
    assert all(item == found[0] for item in found)
    default, first, second, back = places
    assert first == second  # nothing is made again where settings stay
    assert default != first != back
